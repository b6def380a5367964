"""Who is kept out by the security baseline hears so, wherever they knock."""

from __future__ import annotations

import pytest

from orgs.errors import NotFound, PermissionDenied
from orgs.models import PrincipalType, ResourceType, SecurityBaseline
from orgs.services.bindings import grant_role
from tests.cast import Cast


class GrantRoleTests:
    def test_an_owner_who_does_not_meet_the_baseline_gets_403_with_the_way_out(
        self, cast: Cast
    ) -> None:
        SecurityBaseline.objects.create(organization=cast.organization, mfa_required=True)
        with pytest.raises(PermissionDenied, match="requires a second factor"):
            grant_role(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                principal=(PrincipalType.USER, cast.bob.pk),
                role="ProjectViewer",
                resource=(ResourceType.PROJECT, cast.project.pk),
            )

    def test_a_stranger_still_gets_404(self, cast: Cast) -> None:
        SecurityBaseline.objects.create(organization=cast.organization, mfa_required=True)
        SecurityBaseline.objects.create(organization=cast.other_organization, mfa_required=True)
        with pytest.raises(NotFound):
            grant_role(
                actor=cast.actor(cast.charlie),
                organization_id=cast.organization.pk,
                principal=(PrincipalType.USER, cast.bob.pk),
                role="ProjectViewer",
                resource=(ResourceType.PROJECT, cast.project.pk),
            )

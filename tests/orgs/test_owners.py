from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.utils import timezone

from orgs.errors import Aborted
from orgs.models import (
    Group,
    GroupMembership,
    Organization,
    PrincipalType,
    RoleBinding,
    User,
)
from orgs.permissions import Role
from orgs.selectors.owners import owners_of
from orgs.services.bindings import bind_role
from orgs.services.owners import keeping_an_owner
from tests.cast import Cast
from tests.factories import SYSTEM, make_member


def make_owner(cast: Cast, user: User, **more: Any) -> RoleBinding:
    """A person made an owner of the cast's organization."""
    return bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, user.pk),
        role=Role.ORG_OWNER,
        resource_id=cast.organization.pk,
        **more,
    )


def unmake_owner(organization: Organization, user: User) -> None:
    """Take the role away, as services do."""
    with keeping_an_owner(organization.pk):
        RoleBinding.objects.filter(
            organization=organization, principal_id=user.pk, role=Role.ORG_OWNER
        ).delete()


def _switched_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def _without_password(user: User) -> None:
    user.set_unusable_password()
    user.save()


class LastReachableOwnerTests:
    def test_the_last_owner_stays(self, cast: Cast) -> None:
        with pytest.raises(Aborted, match="at least one owner"):
            unmake_owner(cast.organization, cast.alice)
        assert owners_of(cast.organization.pk).reachable == {cast.alice.pk}

    def test_of_two_owners_one_may_go(self, cast: Cast) -> None:
        make_owner(cast, cast.bob)
        unmake_owner(cast.organization, cast.alice)
        assert owners_of(cast.organization.pk).everybody == {cast.bob.pk}

    @pytest.mark.parametrize("lose", [_switched_off, _without_password])
    def test_who_cannot_sign_in_does_not_count(
        self, cast: Cast, lose: Callable[[User], None]
    ) -> None:
        make_owner(cast, cast.bob)
        lose(cast.bob)
        with pytest.raises(Aborted):
            unmake_owner(cast.organization, cast.alice)

    def test_a_passkey_is_a_way_in(self, cast: Cast) -> None:
        make_owner(cast, cast.bob)
        _without_password(cast.bob)
        Authenticator.objects.create(
            user=cast.bob, type=Authenticator.Type.WEBAUTHN, data={"name": "key"}
        )
        unmake_owner(cast.organization, cast.alice)
        assert owners_of(cast.organization.pk).reachable == {cast.bob.pk}

    def test_a_role_that_expires_or_has_not_begun_does_not_count(self, cast: Cast) -> None:
        later = timezone.now() + timedelta(days=30)
        make_owner(cast, cast.bob, period=(None, later))
        make_owner(cast, make_member(cast.organization), period=(later, None))
        with pytest.raises(Aborted):
            unmake_owner(cast.organization, cast.alice)

    def test_owning_through_a_group_counts_until_the_person_leaves_it(self, cast: Cast) -> None:
        group = Group.objects.create(organization=cast.organization, name="Leads")
        GroupMembership.objects.create(group=group, user=cast.bob)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, group.pk),
            role=Role.ORG_OWNER,
            resource_id=cast.organization.pk,
        )
        unmake_owner(cast.organization, cast.alice)
        with pytest.raises(Aborted), keeping_an_owner(cast.organization.pk):
            GroupMembership.objects.filter(user=cast.bob).delete()
        assert GroupMembership.objects.filter(user=cast.bob).exists()

    def test_another_organization_s_owners_do_not_count(self, cast: Cast) -> None:
        with pytest.raises(Aborted):
            unmake_owner(cast.other_organization, cast.charlie)

    def test_where_no_owner_can_come_in_already_other_changes_still_pass(self, cast: Cast) -> None:
        _switched_off(cast.alice)
        with keeping_an_owner(cast.organization.pk):
            RoleBinding.objects.filter(principal_id=cast.bob.pk).delete()
        with pytest.raises(Aborted):
            unmake_owner(cast.organization, cast.alice)

    def test_switching_the_last_owner_off_is_refused_in_any_of_their_organizations(
        self, cast: Cast
    ) -> None:
        with (
            pytest.raises(Aborted),
            keeping_an_owner(cast.organization.pk, cast.other_organization.pk),
        ):
            _switched_off(cast.alice)
        cast.alice.refresh_from_db()
        assert cast.alice.is_active

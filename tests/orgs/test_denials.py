"""Denials that nobody could ever look up, and decisions of those who are gone."""

from __future__ import annotations

import uuid

import pytest

from audit.models import INSTALLATION, AuditEvent, UnsealedEvent
from orgs.errors import NotFound, PermissionDenied
from orgs.models import Decision
from orgs.permissions import Permission, authorize
from orgs.selectors.decisions import get_decision
from orgs.services.decisions import record_denial
from orgs.services.members import remove_member
from tests.cast import Cast
from tests.pages import Browser


class MadeUpOrganizationTests:
    @pytest.mark.parametrize(
        "organization_id", [uuid.uuid4(), INSTALLATION], ids=("made up", "zeros")
    )
    def test_an_organization_that_is_not_there_gets_no_trail(
        self, cast: Cast, organization_id: uuid.UUID
    ) -> None:
        browser = Browser(cast.charlie)
        before = UnsealedEvent.objects.filter(log_id=organization_id).count()
        path = f"/admin/organizations/{organization_id}/security-baseline"
        assert browser.get(path).status_code == 404
        assert not AuditEvent.objects.filter(organization_id=organization_id).exists()
        assert UnsealedEvent.objects.filter(log_id=organization_id).count() == before
        assert not Decision.objects.filter(organization_id=organization_id).exists()

    def test_one_that_is_there_does(self, cast: Cast) -> None:
        path = f"/admin/organizations/{cast.organization.pk}/security-baseline"
        assert Browser(cast.charlie).get(path).status_code == 404
        assert Decision.objects.filter(organization_id=cast.organization.pk).exists()


class GetDecisionTests:
    def test_who_left_the_organization_learns_nothing_more_of_it(self, cast: Cast) -> None:
        organization_id = cast.organization.pk
        with pytest.raises(PermissionDenied) as caught:
            authorize(cast.actor(cast.bob), Permission.AUDIT_READ, organization_id=organization_id)
        assert caught.value.denial is not None
        decision_id = record_denial(caught.value.denial)
        assert decision_id is not None
        assert get_decision(cast.actor(cast.bob), decision_id).pk == decision_id
        alice = cast.actor(cast.alice)
        remove_member(actor=alice, organization_id=organization_id, user_id=cast.bob.pk)
        with pytest.raises(NotFound, match=str(decision_id)):
            get_decision(cast.actor(cast.bob), decision_id)
        assert get_decision(alice, decision_id).pk == decision_id

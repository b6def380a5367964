"""Denials that nobody could ever look up, and decisions of those who are gone."""

from __future__ import annotations

import uuid

import pytest

from audit.models import INSTALLATION, AuditEvent, UnsealedEvent
from orgs.models import Decision
from tests.cast import Cast
from tests.pages import Browser


class MadeUpOrganizationTests:
    @pytest.mark.parametrize("organization_id", [uuid.uuid4(), INSTALLATION], ids=str)
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

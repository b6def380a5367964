"""The commands by which an operator makes the first credentials."""

from __future__ import annotations

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from keys.services.tokens import Asker, issue_token
from orgs.models import Organization
from orgs.plans import Plan
from tests.cast import Cast


def create(*arguments: str) -> str:
    """What `create_service_account` prints."""
    out = StringIO()
    call_command("create_service_account", *arguments, stdout=out)
    return out.getvalue()


class CreateServiceAccountTests:
    def test_its_credentials_are_good_for_a_token(self, cast: Cast) -> None:
        organization = str(cast.organization.pk)
        made = json.loads(create("--organization", organization, "--name", "ci", "--json"))
        token, _ = issue_token(
            client_id=made["client_id"], client_secret=made["client_secret"], asker=Asker()
        )
        assert str(token.account_id) == made["id"]
        printed = create("--organization", organization, "--name", "ci", "--role", "OrgMember")
        assert [line.split(": ")[0] for line in printed.splitlines()] == [
            "client_id",
            "client_secret",
        ]

    def test_what_can_not_be_is_said(self, cast: Cast) -> None:
        organization = str(cast.organization.pk)
        with pytest.raises(CommandError, match="There is no organization"):
            create("--organization", str(uuid4()), "--name", "ci")
        with pytest.raises(CommandError, match="1 to 80 bytes"):
            create("--organization", organization, "--name", " ")
        Organization.objects.filter(pk=cast.organization.pk).update(plan=Plan.FREE)
        with pytest.raises(CommandError, match="Enterprise plan"):
            create("--organization", organization, "--name", "ci")

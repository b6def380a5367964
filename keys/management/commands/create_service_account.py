"""`manage.py create_service_account`: the first program that administers an organization."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.services.service_accounts import NewBinding, create_service_account
from orgs.actors import system
from orgs.errors import Refused
from orgs.models import Organization, ResourceType
from orgs.permissions import ORGANIZATION_ROLES, OWNER_ROLE


class Command(BaseCommand):
    """Makes a service account and prints its credentials, this once."""

    help = (
        "Makes a service account with a role on the organization and prints its client id and"
        " secret, which is shown this once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", required=True, type=UUID, help="its id")
        parser.add_argument("--name", required=True, help="what the program is")
        parser.add_argument(
            "--role",
            default=OWNER_ROLE.value,
            choices=sorted(role.value for role in ORGANIZATION_ROLES),
            help=f"what it may do (default: {OWNER_ROLE})",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make it.

        Raises:
            CommandError: there is no such organization, or its plan or the name does not allow it.
        """
        organization = Organization.objects.filter(pk=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']}.")
        try:
            account, secret = create_service_account(
                actor=system("operator"),
                organization_id=organization.pk,
                name=options["name"],
                role_bindings=[NewBinding(options["role"], ResourceType.ORGANIZATION)],
            )
        except Refused as error:
            raise CommandError(error.message) from error
        credentials = {"client_id": account.client_id, "client_secret": secret}
        if options["json"]:
            self.stdout.write(json.dumps({"id": str(account.pk), **credentials}))
        else:
            self.stdout.write("\n".join(f"{name}: {value}" for name, value in credentials.items()))

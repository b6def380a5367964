"""`manage.py sso_disable ORGANIZATION`: lets people in again whose identity provider does not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orgs.actors import system
from orgs.models import Organization
from sso.models import Connection
from sso.services.enforcement import relax


class Command(BaseCommand):
    """Makes every required connection of an organization optional."""

    help = "Requires an organization's single sign-on no longer; it stays on for who uses it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", type=UUID, help="the organization's id")
        parser.add_argument("--yes", action="store_true", help="do not ask first")

    def handle(self, *_: Any, organization: UUID, yes: bool, **__: Any) -> None:
        """Make them optional, all or none.

        Raises:
            CommandError: there is no such organization, or the operator thinks better of it.
        """
        found = Organization.objects.filter(pk=organization).first()
        if found is None:
            raise CommandError(f"There is no organization {organization}.")
        required = found.sso_connections.filter(state=Connection.State.ENFORCED)
        names = [connection.name for connection in required]
        if not names:
            self.stdout.write(f"{found.name} requires no single sign-on; nothing was changed.")
            return
        if not yes:
            self.stdout.write(f"Required in {found.name}: {', '.join(names)}.")
            if input("Let people in without it? Type yes: ").strip().lower() != "yes":
                raise CommandError("Nothing was changed.")
        with transaction.atomic():
            for connection in required:
                relax(
                    actor=system("operator"),
                    connection_id=connection.pk,
                    to_state=Connection.State.ACTIVE,
                )
        self.stdout.write(
            f"Optional now: {', '.join(names)}. Passwords let people of {found.name} in again; all"
            " owners are told."
        )

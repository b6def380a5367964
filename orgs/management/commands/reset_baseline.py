"""`manage.py reset_baseline ORGANIZATION`: lets people in again who locked themselves out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orgs.actors import system
from orgs.errors import Refused
from orgs.services.baseline import NO_DEMANDS, update_baseline


class Command(BaseCommand):
    """Takes every demand of an organization's security baseline away."""

    help = "Takes every demand of an organization's security baseline away."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", type=UUID, help="the organization's id")

    def handle(self, *_: Any, **options: Any) -> None:
        """Take them away.

        Raises:
            CommandError: there is no such organization.
        """
        try:
            update_baseline(
                actor=system("operator"),
                organization_id=options["organization"],
                changes=NO_DEMANDS,
            )
        except Refused as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"The organization {options['organization']} demands nothing any more.")

"""`manage.py verify_domain ORGANIZATION DOMAIN`: the operator vouches for a domain."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orgs.actors import system
from orgs.errors import Refused
from sso.services.domains import verify_domain_by_operator


class Command(BaseCommand):
    """For sites whose name servers can't be asked."""

    help = (
        "Takes a domain that an organization has claimed as proven, on the operator's word: DNS is"
        " not asked, now or later. The trail of the organization tells so."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", type=UUID, help="the organization's id")
        parser.add_argument("domain", help="a domain that it has added, such as example.com")

    def handle(self, *_: Any, **options: Any) -> None:
        """Vouch for it.

        Raises:
            CommandError: the organization has not added the domain, or another one has proven it.
        """
        try:
            domain = verify_domain_by_operator(
                actor=system("operator"),
                organization_id=options["organization"],
                name=options["domain"],
            )
        except Refused as error:
            raise CommandError(error.message) from error
        self.stdout.write(
            f"{domain.name} counts as verified for {domain.organization.name}. DNS is not asked"
            " about it any more."
        )

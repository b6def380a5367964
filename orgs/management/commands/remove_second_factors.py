"""`manage.py remove_second_factors EMAIL`: for somebody who lost app, keys and recovery codes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orgs.actors import system
from orgs.models import User
from orgs.services.accounts import remove_second_factors


class Command(BaseCommand):
    """Lets the person sign in by password alone again."""

    help = "Removes a person's authenticator app, passkeys and recovery codes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="whose second factors")

    def handle(self, *_: Any, **options: Any) -> None:
        """Remove them.

        Raises:
            CommandError: nobody has that address.
        """
        email = options["email"].strip().lower()
        user = User.objects.filter(email=email).first()
        if user is None:
            raise CommandError(f"Nobody has the e-mail address {email}.")
        count = remove_second_factors(actor=system("operator"), user=user)
        self.stdout.write(f"{email} signs in by password alone: {count} removed.")

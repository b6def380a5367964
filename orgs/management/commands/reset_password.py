"""`manage.py reset_password EMAIL`: lets somebody back in whom no mail reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orgs.actors import system
from orgs.errors import Refused
from orgs.models import User
from orgs.passwords import read_password
from orgs.services.people import change_password


class Command(BaseCommand):
    """Sets a new password and so ends all of the person's sessions."""

    help = "Sets a new password for a person; ends all their sessions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="whose password")
        parser.add_argument(
            "--password-file",
            type=Path,
            help="its first line is the password (-: standard input); otherwise you are asked",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Change it.

        Raises:
            CommandError: nobody has that address, or the password can't be used.
        """
        email = options["email"].strip().lower()
        user = User.objects.filter(email=email).first()
        if user is None:
            raise CommandError(f"Nobody has the e-mail address {email}.")
        password, is_generated = read_password(options["password_file"])
        try:
            change_password(actor=system("operator"), user=user, password=password)
        except Refused as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{email} has a new password; all sessions are ended.")
        if is_generated:
            self.stdout.write(f"Password, shown this once: {password}")
        if not user.is_active:
            self.stderr.write(
                "This account is switched off: it can't sign in until it is on again."
            )

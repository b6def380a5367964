"""`manage.py operator add|remove|list`: who looks after the installation in the browser."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orgs.actors import system
from orgs.models import User
from orgs.services.people import set_operator


class Command(BaseCommand):
    """Names operators, or takes it back."""

    help = (
        "Lets a person see the operator area (plans, organizations, health, queues), or no longer."
        " It gives no right in any organization."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["add", "remove", "list"])
        parser.add_argument("email", nargs="?", default="", help="whom; not for list")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it and say who is one.

        Raises:
            CommandError: nobody has that address.
        """
        email = options["email"].strip().lower()
        if options["verb"] == "list":
            for each in User.objects.filter(is_operator=True).order_by("email"):
                self.stdout.write(each.email)
            return
        user = User.objects.filter(email=email).first()
        if user is None:
            raise CommandError(f"Nobody has the e-mail address {email or '(none given)'}.")
        add = options["verb"] == "add"
        changed = set_operator(actor=system("operator"), user=user, is_operator=add)
        state = "an operator" if add else "no operator"
        self.stdout.write(f"{email} {'is now' if changed else 'was already'} {state}.")

"""`manage.py create_owner`: the first person of an organization, with a first project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from kms.envelope import KeyUnavailable
from orgs.actors import system
from orgs.errors import Refused
from orgs.passwords import read_password
from orgs.services.organizations import create_organization
from orgs.services.people import create_user
from projects.services import create_project


class Command(BaseCommand):
    """Makes a person, an organization that they own, and a project in it: all or nothing."""

    help = "Makes a person with an organization that they own and a first project."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="the owner's address, for the sign-in")
        parser.add_argument("--organization", required=True, help="the organization's name")
        parser.add_argument("--project", default="Default", help="the first project's name")
        parser.add_argument(
            "--password-file",
            type=Path,
            help="its first line is the password (-: standard input); otherwise you are asked",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make them.

        Raises:
            CommandError: the address is taken, a name or the password can't be used, or the
                platform was never started here.
        """
        password, is_generated = read_password(options["password_file"])
        actor = system("operator")
        try:
            with transaction.atomic():
                user = create_user(actor=actor, email=options["email"], password=password)
                organization = create_organization(
                    actor=actor, name=options["organization"], owner=user
                )
                project = create_project(
                    actor=actor, organization_id=organization.pk, name=options["project"]
                )
        except Refused as error:
            raise CommandError(error.message) from error
        except (KeyUnavailable, DatabaseError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise CommandError(
                f"{reason}. If this installation is new, start it once: manage.py up"
            ) from error
        made = {
            "email": user.email,
            "user_id": str(user.pk),
            "organization_id": str(organization.pk),
            "project_id": str(project.pk),
        }
        if is_generated:
            made["password"] = password
        if options["json"]:
            self.stdout.write(json.dumps(made))
            return
        for name, value in made.items():
            self.stdout.write(f"{name.replace('_', ' '):16} {value}")
        if is_generated:
            self.stdout.write("The password is shown this once.")

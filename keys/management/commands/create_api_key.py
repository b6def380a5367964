"""`manage.py create_api_key`: a key for a project, for scripts that set an installation up."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.services.api_keys import create_api_key
from orgs.actors import system
from orgs.errors import Refused
from orgs.permissions import ACCESS_ROLES, Role
from projects.models import Project


class Command(BaseCommand):
    """Makes a key and prints it, this once."""

    help = "Makes an API key of a project and prints its secret, which is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, type=UUID, help="the project's id")
        parser.add_argument("--name", required=True, help="what the key is for")
        parser.add_argument(
            "--role",
            action="append",
            choices=sorted(role.value for role in ACCESS_ROLES),
            help=f"what it may do, repeatable (default: {Role.PROJECT_EDITOR})",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make it.

        Raises:
            CommandError: there is no such project, or the name can't be used.
        """
        project = Project.objects.filter(pk=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        roles = [Role(name) for name in options["role"] or [Role.PROJECT_EDITOR]]
        try:
            key, secret = create_api_key(
                actor=system("operator"), project=project, name=options["name"], roles=roles
            )
        except Refused as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps({"id": str(key.pk), "api_key": secret}))
        else:
            self.stdout.write(secret)

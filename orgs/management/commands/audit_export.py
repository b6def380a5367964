"""`manage.py audit_export FILE`: the installation's audit log, or an organization's, as a file."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from orgs.actors import system
from orgs.errors import Refused
from orgs.services.audit import export_events, export_installation


class Command(BaseCommand):
    """For the operator: no API shows the installation's own log."""

    help = "Export the installation's audit log, or an organization's, for audit_verify."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="where to; it must not exist")
        parser.add_argument("--organization", type=UUID, metavar="ID", help="whose log")

    def handle(self, *_: Any, file: Path, organization: UUID | None, **__: Any) -> None:
        """Write the file, for its owner alone.

        Raises:
            CommandError: the file is there or can't be made, or there is no such organization.
        """
        actor = system("operator")
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{file} can't be made: {error.strerror}.") from error
        try:
            with os.fdopen(descriptor, "w") as output:
                if organization is None:
                    lines = export_installation(actor=actor)
                else:
                    lines = export_events(actor=actor, organization_id=organization)
                output.writelines(lines)
        except BaseException as error:
            file.unlink(missing_ok=True)
            if isinstance(error, Refused):
                raise CommandError(error.message) from error
            if isinstance(error, DatabaseError | OSError):
                reason = str(error).strip().splitlines()[0].rstrip(".")
                raise CommandError(f"{reason}.") from error
            raise

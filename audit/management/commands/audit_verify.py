"""`manage.py audit_verify FILE`: whether an export of the audit trail is whole and unchanged."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.notes import MAX_NOTE
from audit.verification import ExportError, verify


class Command(BaseCommand):
    """Reads the file alone: no database, no running platform."""

    help = "Check an exported audit trail: nothing changed, dropped, added or cut off."
    requires_system_checks: Any = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the export, as JSON lines")
        parser.add_argument(
            "--checkpoint",
            type=Path,
            metavar="NOTEFILE",
            help="a checkpoint that you kept earlier: the export has to agree with it",
        )
        parser.add_argument(
            "--public-key",
            metavar="VKEY",
            help="the log's verifier key as you know it (name+id+key)",
        )

    def handle(self, *_: Any, file: Path, **options: Any) -> None:
        checkpoint = _note(options["checkpoint"]) if options["checkpoint"] else None
        try:
            with file.open("rb") as export:
                found = verify(export, public_key=options["public_key"], checkpoint=checkpoint)
        except OSError as error:
            raise CommandError(f"{file} can't be read: {error.strerror}.") from error
        except ExportError as error:
            raise CommandError(f"{file}: {error}") from error
        self.stdout.write(
            f"{file}: {found.end - found.start} events, seq {found.start} up to {found.end}, of"
            f" the log {found.tree.origin} with {found.tree.size}. All of them are what the"
            " checkpoint states."
        )
        if found.without_body:
            self.stdout.write(
                f"Retention has deleted the content of {found.without_body} of them; their hashes"
                " are here."
            )
        if options["public_key"] is None:
            self.stdout.write(
                "The key was taken from the file itself. Compare it with the one that you know, or"
                f" name it with --public-key:\n{found.verifier}"
            )


def _note(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE + 1).decode()
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is no checkpoint: it is not UTF-8.") from error

"""`manage.py openapi`: write docs/openapi.json, or say that it is behind."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from controlplane import openapi


class Command(BaseCommand):
    help = "Writes the OpenAPI document to docs/openapi.json."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One switch."""
        parser.add_argument("--check", action="store_true", help="write nothing; fail if behind")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or compare.

        Raises:
            CommandError: with `--check`, the file is behind the views; or these say too little.
        """
        path = settings.BASE_DIR / "docs" / "openapi.json"
        try:
            text = openapi.text()
        except openapi.Incomplete as error:
            raise CommandError(f"The views don't describe themselves fully:\n{error}") from error
        if not options["check"]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise CommandError("docs/openapi.json is behind the views: run make openapi.")

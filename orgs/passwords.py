"""Passwords for commands: from a file, from a prompt, or made up; never from the command line."""

from __future__ import annotations

import getpass
import secrets
import sys
from pathlib import Path

from django.core.management.base import CommandError

GENERATED_BYTES = 18


def read_password(file: Path | None) -> tuple[str, bool]:
    """A password, and whether it was made up here and so has to be shown.

    From the file's first line (`-`: standard input); without a file from two prompts on a terminal,
    where an empty answer, or having no terminal, makes one of 144 random bits.

    Raises:
        CommandError: the file can't be read or is empty, or the two prompts differ.
    """
    if file is not None:
        return _from_file(file), False
    if sys.stdin.isatty():
        typed = getpass.getpass("Password (empty: make one up): ")
        if typed and typed != getpass.getpass("Again: "):
            raise CommandError("The two passwords differ: start again.")
        if typed:
            return typed, False
    return secrets.token_urlsafe(GENERATED_BYTES), True


def _from_file(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise CommandError(f"The password file {file} can't be read: {reason}.") from error
    password = text.split("\n", 1)[0].rstrip("\r")
    if not password:
        raise CommandError(f"The password file {file} has an empty first line.")
    return password

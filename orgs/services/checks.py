"""Rules for values that several services share."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, validate_email

from orgs.errors import InvalidArgument
from orgs.models import User

NAME_LENGTH = 512
EMAIL_LENGTH = 254

VersionCheck = Callable[[int], None]
"""Raises where an object's version, read under a lock, is not the one that the caller has seen."""


def any_version(version: int) -> None:
    """The check of who did not say which version they have seen."""


def check_name(name: str, what: str, *, limit: int = NAME_LENGTH) -> str:
    """The name without outer white space.

    Raises:
        InvalidArgument: empty, longer than `limit` characters, or with a control character.
    """
    cleaned = name.strip()
    if not 1 <= len(cleaned) <= limit or not cleaned.isprintable():
        raise InvalidArgument(
            f"The {what} name has to have 1 to {limit} printable characters;"
            f" {cleaned[:40]!r} has {len(cleaned)}."
        )
    return cleaned


def check_text(text: str, what: str, *, limit: int) -> str:
    """The text, which may be empty.

    Raises:
        InvalidArgument: longer than `limit` characters, or with a control character.
    """
    if len(text) > limit or not text.isprintable():
        raise InvalidArgument(
            f"The {what} has to have at most {limit} printable characters; {text[:40]!r} has"
            f" {len(text)}."
        )
    return text


def check_password(password: str, user: User) -> None:
    """Whether the person may use it.

    Raises:
        InvalidArgument: too short, too common, or too close to the e-mail address.
    """
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidArgument(f"This password can't be used: {' '.join(error.messages)}") from error


def check_email(email: str) -> str:
    """The address in lower case, as people are known by.

    Raises:
        InvalidArgument: not an e-mail address, or longer than 254 characters.
    """
    lower = User.objects.normalize_email(email).lower()
    try:
        validate_email(email)
        # Some letters are two in lower case.
        MaxLengthValidator(EMAIL_LENGTH)(lower)
    except ValidationError as error:
        raise InvalidArgument(
            f"{email[:EMAIL_LENGTH]!r} is no e-mail address of at most {EMAIL_LENGTH} characters."
        ) from error
    return lower

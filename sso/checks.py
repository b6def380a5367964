"""What the values of a connection may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

from django.conf import settings

from orgs.errors import InvalidArgument
from orgs.services.checks import check_name, check_text
from rest.wording import shown
from sso.models import Connection

NAME_LENGTH = 80
URL_LENGTH = 2048
ENTITY_ID_LENGTH = 1024
CLIENT_ID_LENGTH = 255
SECRET_LENGTH = 1024
ATTRIBUTE_LENGTH = 256
ATTRIBUTES = ("email", "uid", "name", "first_name", "last_name", "groups", "roles")
MAX_SESSION_HOURS = 336
MAX_CLOCK_SKEW = 300
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Checker = Callable[[object], object]


def check_https(value: object, what: str, *, limit: int = URL_LENGTH) -> str:
    """The address; empty: none is wanted.

    Where the operator allows private targets, plain http may lead to a loopback address, as with an
    identity provider that runs on the same machine for a try.

    Raises:
        InvalidArgument: not https, with user, password or fragment, or longer than `limit`.
    """
    url = check_string(value, what)
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, fits = urlsplit(""), False
    secure = parts.scheme == "https" or (
        parts.scheme == "http"
        and parts.hostname in _LOOPBACK
        and settings.TAMARACK_ALLOW_PRIVATE_TARGETS
    )
    if (
        not (secure and fits and parts.hostname)
        or parts.username is not None
        or "#" in url
        or len(url) > limit
        or re.fullmatch(r"[!-~]+", url) is None
    ):
        raise InvalidArgument(
            f"The {what} {shown(url)} has to be an address such as https://idp.example.com/sso:"
            f" https, without user, password and fragment, in ASCII, at most {limit} characters."
        )
    return url


def check_string(value: object, what: str) -> str:
    """The text without outer white space.

    Raises:
        InvalidArgument: not a text.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"The {what} has to be a text, not {shown(value)}.")
    return value.strip()


def check_entity_id(value: object, what: str = "entity ID") -> str:
    """What an identity provider calls itself; empty: not known yet.

    Raises:
        InvalidArgument: longer than 1,024 characters, with white space or control characters.
    """
    text = check_string(value, what)
    if len(text) > ENTITY_ID_LENGTH or not text.isprintable() or " " in text:
        raise InvalidArgument(
            f"The {what} {shown(text)} has to have 1 to {ENTITY_ID_LENGTH} printable characters"
            " without spaces, as the identity provider's metadata has it."
        )
    return text


def check_issuer(value: object) -> str:
    """An OpenID Connect issuer, compared as it is; empty: not known yet.

    Raises:
        InvalidArgument: not an https address without query and fragment.
    """
    issuer = check_https(value, "issuer", limit=ENTITY_ID_LENGTH)
    if "?" in issuer:
        raise InvalidArgument(f"The issuer {shown(issuer)} must not have a query.")
    return issuer


def check_flag(value: object, what: str) -> bool:
    """Yes or no.

    Raises:
        InvalidArgument: something else.
    """
    if not isinstance(value, bool):
        raise InvalidArgument(f"The {what} has to be true or false, not {shown(value)}.")
    return value


def check_number(value: object, what: str, *, low: int, high: int) -> int:
    """A whole number between `low` and `high`, both included.

    Raises:
        InvalidArgument: something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidArgument(
            f"The {what} has to be a whole number from {low} to {high}, not {shown(value)}."
        )
    return value


def check_choice(value: object, what: str, allowed: type) -> str:
    """One of the choices.

    Raises:
        InvalidArgument: something else.
    """
    values = [str(each) for each in getattr(allowed, "values", ())]
    if not isinstance(value, str) or value not in values:
        raise InvalidArgument(
            f"The {what} has to be one of {', '.join(values)}, not {shown(value)}."
        )
    return str(value)


def check_attribute_map(value: object) -> dict[str, str]:
    """Which attribute says what; one that is empty is left out: the usual names hold.

    Raises:
        InvalidArgument: an unknown field, or a name that is no text of 1 to 256 characters.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"The attribute map has to be an object, not {shown(value)}.")
    found = {}
    for field, name in value.items():
        if field not in ATTRIBUTES:
            raise InvalidArgument(
                f"The attribute map has no field {shown(field)}: it has {', '.join(ATTRIBUTES)}."
            )
        text = check_text(
            check_string(name, f"attribute for {field}"),
            f"attribute for {field}",
            limit=ATTRIBUTE_LENGTH,
        )
        if text:
            found[str(field)] = text
    return found


def check_client_id(value: object) -> str:
    """Raises InvalidArgument: longer than 255 characters, or with control characters."""
    return check_text(check_string(value, "client ID"), "client ID", limit=CLIENT_ID_LENGTH)


def check_client_secret(value: object) -> str:
    """The secret; empty: none any more.

    Raises:
        InvalidArgument: not printable ASCII of at most 1,024 characters. The message leaves the
            value out.
    """
    if not isinstance(value, str) or re.fullmatch(rf"[ -~]{{0,{SECRET_LENGTH}}}", value) is None:
        raise InvalidArgument(
            f"The client secret has to be printable ASCII of at most {SECRET_LENGTH} characters."
        )
    return value


def check_connection_name(value: object) -> str:
    """Raises InvalidArgument: not 1 to 80 printable characters."""
    return check_name(check_string(value, "connection name"), "connection", limit=NAME_LENGTH)


SAML_FIELDS: Mapping[str, Checker] = {
    "idp_entity_id": check_entity_id,
    "sso_url": partial(check_https, what="sign-in address"),
    "slo_url": partial(check_https, what="logout address"),
    "metadata_url": partial(check_https, what="metadata address"),
    "signed_part": partial(check_choice, what="signed part", allowed=Connection.SignedPart),
    "signs_requests": partial(check_flag, what="signing of requests"),
    "requires_encryption": partial(check_flag, what="demand for encryption"),
    "allows_idp_initiated": partial(check_flag, what="start at the identity provider"),
    "clock_skew_seconds": partial(
        check_number, what="clock difference in seconds", low=0, high=MAX_CLOCK_SKEW
    ),
}
OIDC_FIELDS: Mapping[str, Checker] = {
    "issuer": check_issuer,
    "client_id": check_client_id,
    "client_secret": check_client_secret,
}
COMMON_FIELDS: Mapping[str, Checker] = {
    "name": check_connection_name,
    "attribute_map": check_attribute_map,
    "provisions_people": partial(check_flag, what="making of accounts"),
    "default_role": partial(check_string, what="default role"),
    "default_project_roles": lambda value: value,
    "roles_mode": partial(check_choice, what="roles mode", allowed=Connection.RolesMode),
    "role_mappings": lambda value: value,
    "session_hours": partial(
        check_number, what="session length in hours", low=1, high=MAX_SESSION_HOURS
    ),
    "trusts_idp_mfa": partial(check_flag, what="trust in the identity provider's second factor"),
}
DECIDING = frozenset(
    {
        "idp_entity_id",
        "sso_url",
        "signed_part",
        "signs_requests",
        "requires_encryption",
        "clock_skew_seconds",
        "issuer",
        "client_id",
        "client_secret",
        "attribute_map",
        "roles_mode",
        "role_mappings",
    }
)
"""What decides whether a sign-in succeeds: a test made before holds no longer."""


def checked_fields(connection: Connection, changes: Mapping[str, object]) -> dict[str, object]:
    """The values as they are kept. Roles are checked apart: they need to know who gives them.

    Raises:
        InvalidArgument: a field that is unknown, belongs to the other protocol, or breaks its rule.
    """
    is_saml = connection.protocol == Connection.Protocol.SAML
    own, other = (SAML_FIELDS, OIDC_FIELDS) if is_saml else (OIDC_FIELDS, SAML_FIELDS)
    fields = {**COMMON_FIELDS, **own}
    found: dict[str, object] = {}
    for name, value in changes.items():
        if name in other:
            raise InvalidArgument(
                f"{name} does not belong to a connection by"
                f" {Connection.Protocol(connection.protocol).label}. Leave it out."
            )
        if name not in fields:
            raise InvalidArgument(
                f"A connection has no field {shown(name)} that can be changed: it has"
                f" {', '.join(sorted(fields))}."
            )
        found[name] = fields[name](value)
    return found

"""Settings from the environment.

Each function reads one variable and names the bad value where it can't be used. An empty variable
counts as unset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formataddr, parseaddr
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

MIN_PORT, MAX_PORT = 1024, 65535
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:.]+")
MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.\[\]:-]+")
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""One part of a host name (RFC 1035, section 2.3.1; digits first as RFC 1123 allows)."""


def text(name: str, default: str) -> str:
    """The variable's value, `default` where it is unset or empty."""
    return os.environ.get(name) or default


def secret(name: str, default: str = "") -> str:
    """`NAME`, or what is in the file that `NAME_FILE` names, which keeps it out of the environment.

    Raises:
        ImproperlyConfigured: both are set, or the file can't be read.
    """
    value, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value and file:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them.")
    if not file:
        return value or default
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}_FILE={file!r} can't be read: {error.strerror}."
        ) from error


def boolean(name: str, *, default: bool) -> bool:
    """True for 1/true/yes/on, False for 0/false/no/off, without regard to case.

    Raises:
        ImproperlyConfigured: any other value.
    """
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is not a yes or no: use true or false.")


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number between `low` and `high`, both included.

    Raises:
        ImproperlyConfigured: not a number, or outside the range.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(
            f"{name}={value!r} has to be a whole number from {low} to {high}."
        )
    return int(value)


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """One of the allowed words.

    Raises:
        ImproperlyConfigured: another word.
    """
    value = os.environ.get(name) or default
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r} has to be one of: {', '.join(allowed)}.")
    return value


def port_range(name: str, default: str) -> range:
    """`8444-8507` (both ends included) or a single port, as a `range`.

    Raises:
        ImproperlyConfigured: not a range of ports from 1024 to 65535, or one that runs backwards.
    """
    value = os.environ.get(name) or default
    match = re.fullmatch(r"([0-9]{4,5})(?:-([0-9]{4,5}))?", value)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not MIN_PORT <= first <= last <= MAX_PORT:
        raise ImproperlyConfigured(
            f"{name}={value!r} has to be a range of ports from {MIN_PORT} to {MAX_PORT},"
            f" such as {default}."
        )
    return range(first, last + 1)


def address(name: str, default: str) -> str:
    """An IP address.

    Raises:
        ImproperlyConfigured: something else, such as a host name.
    """
    value = text(name, default)
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not an IP address, such as {default}."
        ) from error


def name_servers(name: str) -> list[tuple[str, int]]:
    """`address[:port]` of name servers, separated by commas, as pairs; port 53 where none is said.

    An IPv6 address with a port stands in brackets.

    Raises:
        ImproperlyConfigured: something else, such as a host name.
    """
    found = []
    for part in filter(None, (each.strip() for each in text(name, "").split(","))):
        match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})", part)
        host = (match[1] or match[3]) if match else part
        port = int((match and (match[2] or match[4])) or 53)
        try:
            found.append((str(ip_address(host)), port))
        except ValueError:
            port = 0
        if not 1 <= port <= MAX_PORT:
            raise ImproperlyConfigured(
                f"{name}: {part!r} is not the address of a name server, such as 192.0.2.53,"
                " 192.0.2.53:5353 or [2001:db8::53]:5353."
            )
    return found


def domain(name: str, default: str, *, parts: int = 8) -> str:
    """A host name in lower case with at most `parts` parts.

    Raises:
        ImproperlyConfigured: something else.
    """
    value = text(name, default).lower()
    if not re.fullmatch(rf"{LABEL}(?:\.{LABEL}){{0,{parts - 1}}}", value):
        raise ImproperlyConfigured(
            f"{name}={value!r} has to be a name of letters, digits and hyphens, such as {default}."
        )
    return value


def https_url(name: str, default: str) -> str:
    """An `https://host[:port]` address in lower case, without path or trailing slash.

    Raises:
        ImproperlyConfigured: another scheme, no host, a path, or a port that is none.
    """
    value = (os.environ.get(name) or default).removesuffix("/")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    bracketed = f"[{host}]" if ":" in host else host
    plain = f"https://{bracketed}" + (f":{port}" if port else "")
    if not HOST.fullmatch(host) or value.lower() != plain:
        raise ImproperlyConfigured(
            f"{name}={value!r} has to look like https://host:port, nothing more."
        )
    return plain


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over.

    `implicit_tls`: TLS from the first byte; `start_tls`: asked for before anything is said.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    implicit_tls: bool
    start_tls: bool


LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def mail_server(name: str) -> MailServer | None:
    """`smtp://user:password@host:587` (STARTTLS) or `smtps://user:password@host:465`; None: unset.

    Names and passwords are percent-encoded. `?tls=false` does without TLS, on this machine only.

    Raises:
        ImproperlyConfigured: something else; the message leaves it out, it holds a password.
    """
    value = secret(name)
    if not value:
        return None
    wrong = ImproperlyConfigured(
        f"{name} can't be read: it has to look like smtp://user:password@host:587 or"
        " smtps://user:password@host:465, special characters percent-encoded."
    )
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise wrong from None
    implicit = parts.scheme == "smtps"
    tls = options.pop("tls", "true")
    if (
        parts.scheme not in {"smtp", "smtps"}
        or not HOST.fullmatch(host)
        or parts.path not in {"", "/"}
        or parts.fragment
        or options
        or tls not in {"true", "false"}
        or (parts.username is None) != (parts.password is None)
        or port == 0
    ):
        raise wrong
    if tls == "false" and (implicit or host not in LOOPBACK):
        raise ImproperlyConfigured(
            f"{name}: tls=false is only for smtp:// to a mail server on this machine; mail carries"
            " links that let people in."
        )
    return MailServer(
        host=host,
        port=port or (465 if implicit else 587),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        implicit_tls=implicit,
        start_tls=not implicit and tls == "true",
    )


def mailbox(name: str, default: str) -> str:
    """An address that mail comes from: `address` or `Name <address>`.

    Raises:
        ImproperlyConfigured: no address, several, or a line break.
    """
    value = text(name, default)
    shown, found = parseaddr(value)
    if not value.isprintable() or not MAILBOX.fullmatch(found) or value.count("@") != 1:
        raise ImproperlyConfigured(
            f"{name}={value!r} has to be one e-mail address, such as {default}."
        )
    return formataddr((shown, found))


def folder(name: str, default: Path) -> Path:
    """An absolute path; a relative one counts from the current folder."""
    return Path(os.environ.get(name) or default).expanduser().absolute()

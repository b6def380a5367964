"""What a stream's configuration may be. Unknown and missing fields are refused with their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from audit.canonical import Plain
from audit.models import Stream
from audit.streams.https import target_of
from audit.streams.targets import DeliveryFailed, Target, check, tls_context

MAX_URL = 2000
MAX_PEM = 64 * 1024
MAX_PORT = 65535
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_SECRET = re.compile(r"[!-~]{1,256}")


class BadConfiguration(Exception):
    """A field that can't be used; the text names it, its value and the rule."""


Checker = Callable[[str, object], Plain]


def checked(kind: Stream.Kind, config: Mapping[str, object]) -> dict[str, Plain]:
    """The configuration with its defaults.

    Raises:
        BadConfiguration: a field is unknown, missing or can't be used.
    """
    fields = _FIELDS[kind]
    if unknown := sorted(config.keys() - fields.keys()):
        raise BadConfiguration(
            f"A {kind.value} stream has no field {unknown[0][:80]!r}: it has"
            f" {', '.join(fields_of(kind))}."
        )
    found: dict[str, Plain] = {}
    for name, (checker, default) in fields.items():
        value = config.get(name, default)
        if value is None:
            raise BadConfiguration(f"A {kind.value} stream needs the field {name!r}.")
        found[name] = checker(name, value)
    if kind == Stream.Kind.SYSLOG and found["ca_pem"] and not found["tls"]:
        raise BadConfiguration("'ca_pem' says whom to trust over TLS, but 'tls' is false.")
    if kind == Stream.Kind.SYSLOG:
        context = tls_context("") if found["tls"] else None
        _check_host(Target(str(found["host"]), 1, context))
    return found


def fields_of(kind: Stream.Kind) -> tuple[str, ...]:
    """The fields that a configuration of that kind has."""
    return tuple(_FIELDS[kind])


def checked_secret(kind: Stream.Kind, secret: str) -> str:
    """The secret that the kind needs from its owner: storage keys have one, others none.

    Raises:
        BadConfiguration: it is missing, superfluous or can't be one. The text does not repeat it.
    """
    if kind != Stream.Kind.S3:
        if secret:
            raise BadConfiguration(f"A {kind.value} stream takes no secret from outside.")
        return ""
    if not _SECRET.fullmatch(secret):
        raise BadConfiguration(
            "An s3 stream needs the secret access key as its secret: 1 to 256 visible ASCII"
            " characters."
        )
    return secret


def _url(name: str, value: object) -> str:
    text = _text(name, value, MAX_URL)
    parts = _split(name, text)
    if parts.scheme == "http" and not settings.TAMARACK_ALLOW_PRIVATE_TARGETS:
        raise BadConfiguration(f"{name} {text[:200]!r} has to begin with https://.")
    if (
        parts.scheme not in {"https", "http"}
        or not _HOST.fullmatch(parts.hostname or "")
        or parts.username is not None
        or parts.fragment
        or not re.fullmatch(r"[!-~]+", text)
    ):
        raise BadConfiguration(
            f"{name} {text[:200]!r} is no address: it has to look like https://host[:port]/path,"
            " without user and fragment."
        )
    _check_host(target_of(parts))
    return text


def _endpoint(name: str, value: object) -> str:
    text = _url(name, value).rstrip("/")
    parts = urlsplit(text)
    if parts.path or parts.query:
        raise BadConfiguration(
            f"{name} {text[:200]!r} has to be the storage's address alone, without a path."
        )
    return text


def _split(name: str, text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _port(name, 443 if parts.port is None else parts.port)
    except ValueError as error:
        raise BadConfiguration(f"{name} {text[:200]!r} is no address: {error}.") from error
    return parts


def _check_host(target: Target) -> None:
    """Refuse at once what delivery would refuse: addresses as such, and plaintext to a name."""
    try:
        address = ip_address(target.host)
    except ValueError:
        if target.tls is None and target.host.lower() != "localhost":
            raise BadConfiguration(
                f"{target.host} is not this machine: without TLS, events go to a loopback address"
                " only."
            ) from None
        return
    try:
        check(target, address)
    except DeliveryFailed as error:
        raise BadConfiguration(str(error)) from error


def _matching(pattern: str, rule: str) -> Checker:
    compiled = re.compile(pattern)

    def checker(name: str, value: object) -> str:
        text = _text(name, value, 1024)
        if not compiled.fullmatch(text):
            raise BadConfiguration(f"{name} {text[:80]!r} can't be used: {rule}.")
        return text

    return checker


def _pem(name: str, value: object) -> str:
    text = _text(name, value, MAX_PEM)
    try:
        if not text.isascii():
            raise ValueError("not ASCII")
        tls_context(text)
    except ValueError as error:
        raise BadConfiguration(f"{name} holds no PEM certificate.") from error
    return text


def _port(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_PORT:
        raise BadConfiguration(f"{name} {str(value)[:40]!r} is no port from 1 to {MAX_PORT}.")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadConfiguration(f"{name} {str(value)[:40]!r} is neither true nor false.")
    return value


def _text(name: str, value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise BadConfiguration(f"{name} {str(value)[:40]!r} is no text.")
    if len(value) > limit:
        raise BadConfiguration(f"{name} has {len(value)} characters; {limit} is the most.")
    return value


_CA: tuple[Checker, object] = (_pem, "")
# Field to its rule and its default; None: it has to be given.
_FIELDS: dict[Stream.Kind, dict[str, tuple[Checker, object]]] = {
    Stream.Kind.WEBHOOK: {"url": (_url, None), "ca_pem": _CA},
    Stream.Kind.S3: {
        "endpoint": (_endpoint, None),
        "bucket": (
            _matching(
                r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
                "3 to 63 small letters, digits, dots and hyphens",
            ),
            None,
        ),
        "region": (
            _matching(r"[a-z0-9-]{1,64}", "1 to 64 small letters, digits and hyphens"),
            "us-east-1",
        ),
        "prefix": (
            _matching(
                r"(?!/)(?!.*(\.\.|//))[A-Za-z0-9/_.-]{0,512}",
                "up to 512 letters, digits and / _ . -, not beginning with /, without .. and //",
            ),
            "",
        ),
        "access_key_id": (
            _matching(r"[A-Za-z0-9_-]{1,128}", "1 to 128 letters, digits, _ and -"),
            None,
        ),
        "ca_pem": _CA,
    },
    Stream.Kind.SYSLOG: {
        "host": (_matching(_HOST.pattern, "a host name or an IP address"), None),
        "port": (_port, 6514),
        "tls": (_boolean, True),
        "ca_pem": _CA,
    },
}

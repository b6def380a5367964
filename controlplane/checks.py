"""Contradictions between settings, and libraries that don't fit together, as Django system checks.

A single bad value stops the settings from loading (`controlplane.env`); what only two of them
together make wrong is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from itertools import combinations
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.compatibility)
def ports(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """No port is meant for two purposes."""
    public, index, upstream = (
        (
            "TAMARACK_PUBLIC_URL",
            range(settings.TAMARACK_PUBLIC_PORT, settings.TAMARACK_PUBLIC_PORT + 1),
        ),
        ("TAMARACK_INDEX_PORTS", settings.TAMARACK_INDEX_PORTS),
        ("TAMARACK_UPSTREAM_PORTS", settings.TAMARACK_UPSTREAM_PORTS),
    )
    used = [public, upstream] + ([index] if settings.TAMARACK_ADDRESSING == "port" else [])
    found: list[CheckMessage] = []
    for (one, here), (other, there) in combinations(used, 2):
        first, last = max(here[0], there[0]), min(here[-1], there[-1])
        if first <= last:
            shared = str(first) if first == last else f"{first}-{last}"
            found.append(
                Error(
                    f"{one} and {other} both claim port {shared}.",
                    hint="Give them ranges that don't overlap.",
                    id="tamarack.E001",
                )
            )
    return found


@register(Tags.compatibility)
def addressing(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Host names per index need a domain that can have sub-domains."""
    if settings.TAMARACK_ADDRESSING != "host":
        return []
    below_public = settings.TAMARACK_INDEX_DOMAIN.endswith(f".{settings.TAMARACK_PUBLIC_HOST}")
    if settings.TAMARACK_PUBLIC_HOST_IS_SINGLE and below_public:
        return [
            Error(
                f"TAMARACK_ADDRESSING=host needs names below {settings.TAMARACK_INDEX_DOMAIN},"
                f" which do not resolve for TAMARACK_PUBLIC_URL={settings.TAMARACK_PUBLIC_URL}.",
                hint="Use TAMARACK_ADDRESSING=port, or name a domain with wildcard DNS in"
                " TAMARACK_INDEX_DOMAIN.",
                id="tamarack.E002",
            )
        ]
    return []


@register(Tags.compatibility)
def exposure(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """An address for others, but a listener for this machine alone."""
    loopback = settings.TAMARACK_BIND in {"127.0.0.1", "::1"}
    if loopback and settings.TAMARACK_PUBLIC_HOST not in {"localhost", "127.0.0.1", "::1"}:
        return [
            Warning(
                f"TAMARACK_PUBLIC_URL={settings.TAMARACK_PUBLIC_URL} is meant for other machines,"
                f" but TAMARACK_BIND={settings.TAMARACK_BIND} listens to this one only.",
                hint="Set TAMARACK_BIND=0.0.0.0, unless a proxy on this machine forwards to it.",
                id="tamarack.W001",
            )
        ]
    return []


@register(Tags.compatibility)
def sessions(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The idle limit has to come before the absolute one."""
    if settings.TAMARACK_SESSION_IDLE <= settings.SESSION_COOKIE_AGE:
        return []
    return [
        Error(
            f"TAMARACK_SESSION_IDLE={settings.TAMARACK_SESSION_IDLE} is longer than"
            f" TAMARACK_SESSION_AGE={settings.SESSION_COOKIE_AGE}, so it would never apply.",
            hint="Make the idle time the shorter one.",
            id="tamarack.E003",
        )
    ]


@register(Tags.compatibility)
def xml_libraries(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """lxml and xmlsec carry a libxml2 each; signatures work only where their versions agree."""
    import lxml.etree  # noqa: PLC0415  a broken pair must not stop the other checks

    try:
        import xmlsec  # noqa: PLC0415  raises where the versions differ
    except Exception as error:  # noqa: BLE001  xmlsec.InternalError, which can't be imported either
        reason = str(error)
    else:
        ours, theirs = lxml.etree.LIBXML_VERSION[:2], xmlsec.get_libxml_version()[:2]
        reason = "" if ours == theirs else f"libxml2 {ours} and {theirs}"
    if not reason:
        return []
    libxml = ".".join(map(str, lxml.etree.LIBXML_VERSION))
    return [
        Error(
            f"lxml {version('lxml')} (with libxml2 {libxml}) and xmlsec {version('xmlsec')} don't"
            f" fit together: {reason}.",
            hint="Install the pair that requirements.txt pins, as wheels:"
            " pip install --only-binary lxml,xmlsec -r requirements.txt",
            id="tamarack.E004",
        )
    ]

"""What an organization's security baseline demands, held against the facts of one request.

Rooms above register whom of theirs a stricter baseline would lock out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from uuid import UUID

from django.utils import timezone


@dataclass(frozen=True, slots=True)
class Facts:
    """How somebody or something came in.

    Attributes:
        ip: the client's address; empty: unknown, which meets no list of ranges.
        has_mfa: whether the person signed in with a second factor or a passkey.
        session_started_at: when the person signed in; None: not in a session.
        sso_organizations: whose single sign-on the session has a grant of, not yet over.
        idp_mfa_organizations: those of them that trust their identity provider's second factor.
    """

    ip: str = ""
    has_mfa: bool = False
    session_started_at: datetime | None = None
    sso_organizations: frozenset[UUID] = frozenset()
    idp_mfa_organizations: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Demands:
    """A baseline as values.

    Attributes:
        session_hours: since the sign-in; None: as long as the installation lets it last.
        max_key_age_days: since an API key's secret was made; None: any age.
        ip_ranges: CIDR ranges in canonical form; empty: from anywhere.
    """

    mfa_required: bool = False
    session_hours: int | None = None
    max_key_age_days: int | None = None
    ip_ranges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LockedOut:
    """Somebody or something that a baseline would keep out, and why.

    Attributes:
        kind: `user`, `service_account` or `api_key`.
    """

    kind: str
    id: UUID
    label: str
    reason: str


Probe = Callable[[UUID, Demands], Iterable[LockedOut]]
_probes: dict[str, Probe] = {}


def register_baseline_probe(name: str, probe: Probe) -> None:
    """Tell whom of a room's the demands would lock out of an organization (its id).

    Called once, when the app is ready.
    """
    _probes[name] = probe


def locked_out(organization_id: UUID, demands: Demands) -> list[LockedOut]:
    """Everybody and everything that the demands would keep out, as far as that is known."""
    found = {each for probe in _probes.values() for each in probe(organization_id, demands)}
    return sorted(found, key=lambda each: (each.kind, each.label, str(each.id), each.reason))


def is_inside(ip: str, ranges: Sequence[str]) -> bool:
    """Whether the address lies in one of the CIDR ranges; no ranges: every address does."""
    if not ranges:
        return True
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    return any(address in ip_network(each) for each in ranges)


def unmet(
    facts: Facts,
    *,
    is_person: bool,
    mfa_required: bool | None,
    session_hours: int | None,
    ip_ranges: Sequence[str] | None,
) -> str:
    """The first demand that is not met, with the way out; empty: all are.

    Session length and second factor are asked of people only.
    """
    if not is_inside(facts.ip, ip_ranges or ()):
        return (
            f"The organization lets nobody in from the address {facts.ip or '(unknown)'}. Come from"
            " one of its networks, or ask an owner to add yours."
        )
    if is_person and mfa_required and not facts.has_mfa:
        return (
            "The organization requires a second factor. Set one up under your account's security"
            " page, then sign in with it."
        )
    if is_person and session_hours is not None:
        began = facts.session_started_at
        if began is None or began + timedelta(hours=session_hours) <= timezone.now():
            return f"The organization ends every sign-in after {session_hours} h. Sign in again."
    return ""

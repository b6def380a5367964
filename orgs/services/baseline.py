"""Changing what an organization demands of everybody and everything that acts in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from uuid import UUID

from django.db import transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.baseline import Demands, LockedOut, is_inside, locked_out
from orgs.errors import FailedPrecondition, InvalidArgument, OutOfRange, no_such
from orgs.models import SecurityBaseline
from orgs.permissions import Permission, authorize
from orgs.selectors.baseline import baseline_of, demands_of
from orgs.services.checks import VersionCheck, any_version
from orgs.services.owners import lock_organization

MAX_RANGES = 100
RANGE_LENGTH = 64
SESSION_HOURS = range(1, 25)
"""Beyond a day the installation's own limit ends every sign-in."""
KEY_AGE_DAYS = range(1, 3651)
NO_DEMANDS = asdict(Demands())
"""Every field as it is where nothing is demanded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A baseline as it is after a change, or would be, and whom that keeps out."""

    baseline: SecurityBaseline
    locked_out: list[LockedOut]


@transaction.atomic
def update_baseline(
    *,
    actor: Actor,
    organization_id: UUID,
    changes: Mapping[str, Any],
    force: bool = False,
    dry_run: bool = False,
    check: VersionCheck = any_version,
) -> Outcome:
    """Change the demands; those that are not named stay. They hold from the next request on.

    Args:
        changes: fields of `Demands` to their new values.
        force: do it although it locks the actor out.
        dry_run: write nothing.
        check: raises where the version is not the one that the actor has seen; asked under a lock.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        InvalidArgument, OutOfRange: a value breaks its rule.
        FailedPrecondition: the actor itself would be locked out.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.SECURITY_MANAGE, organization_id=organization_id, what=what)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    baseline = baseline_of(organization_id)
    check(baseline.version)
    before = demands_of(baseline)
    after = replace(before, **_checked(changes))
    kept_out = locked_out(organization_id, after)
    if dry_run or after == before:
        return Outcome(_with(baseline, after), kept_out)
    if not force and not actor.is_system:
        _check_own_way_in(actor, after, kept_out)
    is_new = baseline.version == 0
    _with(baseline, after).version += 1
    baseline.save(force_insert=is_new)
    old, new = asdict(before), asdict(after)
    record(
        EventType.SECURITY_BASELINE_UPDATED,
        actor=actor,
        organization_id=organization_id,
        resource=("organization", organization_id, organization.name),
        permission=Permission.SECURITY_MANAGE,
        changes={field: (old[field], new[field]) for field in old if old[field] != new[field]},
    )
    return Outcome(baseline, kept_out)


def _with(baseline: SecurityBaseline, demands: Demands) -> SecurityBaseline:
    baseline.mfa_required = demands.mfa_required
    baseline.session_hours = demands.session_hours
    baseline.max_key_age_days = demands.max_key_age_days
    baseline.ip_ranges = list(demands.ip_ranges)
    return baseline


def _check_own_way_in(actor: Actor, demands: Demands, kept_out: Sequence[LockedOut]) -> None:
    """Let nobody lock themselves out unawares.

    Raises:
        FailedPrecondition: the actor would be.
    """
    way_out = (
        " Nothing was changed. `dry_run` lists everybody whom it would keep out; `force` does it"
        " all the same."
    )
    if not is_inside(actor.ip, demands.ip_ranges):
        raise FailedPrecondition(
            f"This would lock you out: your own address {actor.ip or '(unknown)'} is in none of"
            f" the ranges.{way_out}"
        )
    own = next((each for each in kept_out if str(each.id) == actor.id), None)
    if own is not None:
        raise FailedPrecondition(f"This would lock you out: {own.label} {own.reason}.{way_out}")


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The new values in the form that they are kept in.

    Raises:
        InvalidArgument, OutOfRange: one breaks its rule.
    """
    checked = dict(changes)
    for name, allowed in (("session_hours", SESSION_HOURS), ("max_key_age_days", KEY_AGE_DAYS)):
        value = checked.get(name)
        if value is not None and value not in allowed:
            raise OutOfRange(
                f"{name} {value} is not in {allowed[0]} to {allowed[-1]}. Leave it null for no"
                " limit."
            )
    if "ip_ranges" in checked:
        checked["ip_ranges"] = check_ranges(checked["ip_ranges"])
    return checked


def check_ranges(texts: Sequence[str]) -> tuple[str, ...]:
    """CIDR ranges in canonical form, each once: `10.1.2.3/8` is `10.0.0.0/8`, `::1` is `::1/128`.

    Raises:
        InvalidArgument: more than 100, or one that is no range.
    """
    if len(texts) > MAX_RANGES:
        raise InvalidArgument(
            f"There can be at most {MAX_RANGES} ip_ranges, not {len(texts)}. Merge neighbours."
        )
    return tuple(dict.fromkeys(str(_network(text)) for text in texts))


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        if len(text) > RANGE_LENGTH or "%" in text or not text.isascii():
            raise ValueError
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidArgument(
            f"{text[:RANGE_LENGTH]!r} is no address range. Write it like 203.0.113.0/24 or"
            " 2001:db8::/32."
        ) from None
    mapped = isinstance(network, IPv6Network) and network.network_address.ipv4_mapped
    if mapped:
        raise InvalidArgument(
            f"{text[:RANGE_LENGTH]!r} is an IPv4 range in IPv6 form. Write it in IPv4 form, like"
            " 203.0.113.0/24."
        )
    return network

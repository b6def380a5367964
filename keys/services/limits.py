"""What a key can be limited to: each value checked, then put on the key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, cast
from urllib.parse import quote
from uuid import UUID

from django.utils import timezone

from keys.models import Access, ApiKey, LeakPolicy
from keys.policies import too_old_at
from orgs import registry
from orgs.errors import InvalidArgument
from orgs.models import ResourceType
from orgs.services.baseline import check_ranges

MAX_INDEXES = 100
MAX_NAMESPACES = 50
MAX_NAMESPACE_BYTES = 4000
"""Of all names together, as they travel in a header of every call: percent-encoded, with commas."""
NAMESPACE_LENGTH = 512
MAX_RANGES = 100
MAX_YEARS = 100
DEFAULT_NAMESPACE = "__default__"
"""How clients may write the default namespace, whose name is empty."""
_FIRST_TIME = datetime(2000, 1, 1, tzinfo=UTC)

Changes = dict[str, tuple[object, object]]
"""Field to its values before and after."""


class Limits(TypedDict, total=False):
    """What is asked for; a field that is left out stays as it is.

    Attributes:
        access: a value of `Access`.
        index_ids: None: every index of the project.
        namespaces: None: every namespace.
        allowed_ips: CIDR ranges; none: from anywhere.
        leak_policy: a value of `LeakPolicy`; empty: what the project says.
        not_before, expires_at: None: no such bound.
    """

    access: str
    index_ids: Sequence[UUID] | None
    namespaces: Sequence[str] | None
    allowed_ips: Sequence[str]
    leak_policy: str
    not_before: datetime | None
    expires_at: datetime | None


def apply_limits(
    key: ApiKey, limits: Limits, *, made_at: datetime, max_age_days: int | None
) -> Changes:
    """Put the values on the key, which is saved by the caller; tells which ones changed.

    Args:
        made_at: when the key's secret was made.
        max_age_days: the organization's rule; None: there is none.

    Raises:
        InvalidArgument: a value breaks its rule.
    """
    changed: Changes = {}
    for field, check in _CHECKS.items():
        if field not in limits:
            continue
        before, after = getattr(key, field), check(key, cast("dict[str, object]", limits)[field])
        if after != before:
            changed[field] = before, after
            setattr(key, field, after)
    if {"not_before", "expires_at"} & set(changed):
        _check_period(key, too_old_at(made_at, max_age_days), max_age_days)
    return changed


def _access(_: ApiKey, value: str) -> str:
    return _one_of("access", value, Access.values)


def _leak_policy(_: ApiKey, value: str) -> str:
    return value and check_leak_policy(value)


def check_leak_policy(value: str) -> str:
    """The policy.

    Raises:
        InvalidArgument: no such policy.
    """
    return _one_of("leak_policy", value, LeakPolicy.values)


def _one_of(field: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InvalidArgument(f"{field} {value[:40]!r} is not known: use {', '.join(allowed)}.")
    return value


def _index_ids(key: ApiKey, ids: Sequence[UUID] | None) -> list[str] | None:
    if ids is None:
        return None
    unique = list(dict.fromkeys(ids))
    if not 1 <= len(unique) <= MAX_INDEXES:
        raise InvalidArgument(
            f"index_ids has {len(unique)} indexes: name 1 to {MAX_INDEXES}, or send null for every"
            " index of the project."
        )
    # What is on the key already may stay there after the index is gone; it reaches nothing.
    known = set(key.index_ids or ())
    for index_id in unique:
        if str(index_id) in known:
            continue
        found = registry.find_resource(ResourceType.INDEX, index_id)
        if found is None or found.project_id != key.project_id:
            raise InvalidArgument(
                f"index_ids {index_id} is no index of the project {key.project_id}: a key reaches"
                " indexes of its own project only. GET /indexes lists them."
            )
    return [str(index_id) for index_id in unique]


def _namespaces(_: ApiKey, names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    unique = list(dict.fromkeys("" if name == DEFAULT_NAMESPACE else name for name in names))
    if not 1 <= len(unique) <= MAX_NAMESPACES:
        raise InvalidArgument(
            f"namespaces has {len(unique)} names: name 1 to {MAX_NAMESPACES}, or send null for"
            " every namespace."
        )
    for name in unique:
        if len(name) > NAMESPACE_LENGTH or not name.isascii() or "\0" in name:
            raise InvalidArgument(
                f"namespaces {name[:40]!r} is no namespace: at most {NAMESPACE_LENGTH} ASCII"
                ' characters without NUL; "" or "__default__" is the default one.'
            )
    size = len(",".join(quote(name, safe="") for name in unique))
    if size > MAX_NAMESPACE_BYTES:
        raise InvalidArgument(
            f"namespaces has names of {size} bytes in all, percent-encoded: at most"
            f" {MAX_NAMESPACE_BYTES} together. Name fewer or shorter ones, or send null for every"
            " namespace."
        )
    return unique


def _allowed_ips(_: ApiKey, ranges: Sequence[str]) -> list[str]:
    if len(ranges) > MAX_RANGES:
        raise InvalidArgument(
            f"allowed_ips has {len(ranges)} ranges: at most {MAX_RANGES}. Join neighbours into a"
            " larger range."
        )
    return list(check_ranges(ranges))


def _time(field: str) -> Callable[[ApiKey, datetime | None], datetime | None]:
    def check(_: ApiKey, at: datetime | None) -> datetime | None:
        latest = timezone.now() + timedelta(days=365 * MAX_YEARS)
        if at is not None and not _FIRST_TIME <= at <= latest:
            raise InvalidArgument(
                f"{field} {at.isoformat()} is out of reach: use a time from 2000 on that is at most"
                f" {MAX_YEARS} years from now."
            )
        return at

    return check


def _check_period(key: ApiKey, too_old: datetime | None, max_age_days: int | None) -> None:
    ends = key.expires_at
    if ends is not None and ends <= timezone.now():
        raise InvalidArgument(
            f"The key would expire at {ends:%Y-%m-%d %H:%M} UTC, which is past: choose a later"
            " time, or none."
        )
    if ends is not None and key.not_before is not None and ends <= key.not_before:
        raise InvalidArgument(
            f"The key would expire at {ends:%Y-%m-%d %H:%M} UTC, before it begins to work at"
            f" {key.not_before:%Y-%m-%d %H:%M}: choose an expiry after not_before."
        )
    for field in ("not_before", "expires_at"):
        at = getattr(key, field)
        if too_old is not None and at is not None and at > too_old:
            raise InvalidArgument(
                f"{field} {at:%Y-%m-%d %H:%M} UTC is too late: the organization lets no key grow"
                f" older than {max_age_days} days, which this one will be at"
                f" {too_old:%Y-%m-%d %H:%M} UTC. Choose an earlier time."
            )


# Each takes what `Limits` says of its field.
_CHECKS: dict[str, Callable[[ApiKey, Any], object]] = {
    "access": _access,
    "index_ids": _index_ids,
    "namespaces": _namespaces,
    "allowed_ips": _allowed_ips,
    "leak_policy": _leak_policy,
    "not_before": _time("not_before"),
    "expires_at": _time("expires_at"),
}

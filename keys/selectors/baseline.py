"""Which keys and service accounts a stricter security baseline would stop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from keys.models import ApiKeySecret, KeyUsage
from keys.policies import too_old_at
from keys.selectors.service_accounts import accounts_locked_out
from orgs.baseline import Demands, LockedOut, is_inside, register_baseline_probe

RECENT = timedelta(days=30)


def register() -> None:
    """Called once, when the app is ready."""
    register_baseline_probe("api_keys", keys_locked_out)
    register_baseline_probe("service_accounts", accounts_locked_out)


def keys_locked_out(organization_id: UUID, demands: Demands) -> Iterator[LockedOut]:
    """Keys whose current secret is too old, and those used lately from other networks. At most two
    queries.
    """
    if demands.max_key_age_days is not None:
        yield from _too_old(organization_id, demands.max_key_age_days)
    if demands.ip_ranges:
        yield from _elsewhere(organization_id, demands.ip_ranges)


def _too_old(organization_id: UUID, days: int) -> Iterator[LockedOut]:
    now = timezone.now()
    secrets = ApiKeySecret.objects.select_related("key").filter(
        slot=ApiKeySecret.Slot.CURRENT,
        key__project__organization=organization_id,
        key__revoked_at=None,
    )
    for secret in secrets:
        ends_at = too_old_at(secret.created_at, days)
        if ends_at is not None and ends_at <= now:
            age = (now - secret.created_at).days
            yield _key(secret.key_id, secret.key.name, f"has a secret that is {age} days old")


def _elsewhere(organization_id: UUID, ranges: tuple[str, ...]) -> Iterator[LockedOut]:
    uses = KeyUsage.objects.filter(
        key__project__organization=organization_id,
        key__revoked_at=None,
        outcome=KeyUsage.Outcome.ALLOWED,
        day__gte=timezone.now().date() - RECENT,
    )
    places = uses.order_by().values_list("key_id", "key__name", "address").distinct()
    for key_id, name, address in places:
        if address and not is_inside(address, ranges):
            yield _key(key_id, name, f"was used from {address}, outside of the ranges")


def _key(key_id: UUID, name: str, reason: str) -> LockedOut:
    return LockedOut(kind="api_key", id=key_id, label=name, reason=reason)

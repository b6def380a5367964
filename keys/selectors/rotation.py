"""Reading how far a rotation has come: who still uses the old secret, and which lie idle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Max, Min, QuerySet, Sum
from django.utils import timezone

from keys.models import ApiKey, ApiKeySecret, KeyUsage, UsagePosition

MAX_USERS = 100


@dataclass(frozen=True, slots=True)
class SecretUser:
    """An address and client that showed a secret.

    Attributes:
        count: how often since the secret was replaced, or ever where it was not.
    """

    address: str
    client: str
    count: int
    last_at: datetime


def users_of(key: ApiKey) -> dict[str, list[SecretUser]]:
    """Who used each secret of the key, the latest first, by its lookup id. At most MAX_USERS of
    each, with one query for each.

    Counts are per day: of the day on which a secret was replaced, uses before count too where there
    was one after.
    """
    return {secret.lookup_id: _users(secret) for secret in key.secrets.all()}


def _users(secret: ApiKeySecret) -> list[SecretUser]:
    uses = KeyUsage.objects.filter(key_id=secret.key_id, secret=secret.lookup_id)
    if secret.replaced_at is not None:
        uses = uses.filter(last_at__gte=secret.replaced_at)
    rows = (
        uses.order_by()
        .values("address", "client")
        .annotate(times=Sum("count"), latest=Max("last_at"))
        .order_by("-latest")[:MAX_USERS]
    )
    return [SecretUser(row["address"], row["client"], row["times"], row["latest"]) for row in rows]


def idle_secrets() -> QuerySet[ApiKeySecret]:
    """Old secrets that still work and have not been used for the time set for them.

    Counted up to the time until which every log has been read; a log that is no longer read holds
    them all.
    """
    complete = UsagePosition.objects.aggregate(at=Min("complete_until"))["at"]
    waiting = ApiKeySecret.objects.filter(
        slot=ApiKeySecret.Slot.PREVIOUS,
        idle_seconds__isnull=False,
        expires_at__gt=timezone.now(),
    )
    if complete is None:
        return waiting.none()
    idle: Sequence[UUID] = [
        secret.pk
        for secret in waiting
        if _quiet_since(secret) + timedelta(seconds=secret.idle_seconds or 0) <= complete
    ]
    return ApiKeySecret.objects.filter(pk__in=idle)


def _quiet_since(secret: ApiKeySecret) -> datetime:
    times = (secret.replaced_at, secret.last_used_at)
    return max(at for at in times if at is not None)

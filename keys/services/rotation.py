"""Replacing a key's secret while those who use the old one change over."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from keys.changes import end_secret, record_key, save_key
from keys.models import ApiKey, ApiKeySecret
from keys.services.api_keys import add_secret, check_key_ceiling, lock_key
from orgs.actors import Actor
from orgs.errors import FailedPrecondition, OutOfRange
from orgs.permissions import Permission
from orgs.services.checks import VersionCheck, any_version

OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=7)
IDLE = timedelta(hours=1)
MIN_IDLE, MAX_IDLE = timedelta(minutes=5), MAX_OVERLAP


@transaction.atomic
def rotate_api_key(
    *,
    actor: Actor,
    key_id: UUID,
    overlap: timedelta = OVERLAP,
    idle: timedelta | None = IDLE,
    check: VersionCheck = any_version,
) -> tuple[ApiKey, str]:
    """A new secret for the key, told this once and never again.

    The one before goes on working until the overlap is over, or until it has not been used for a
    while, whichever is first. Never more than two work: rotating again ends the oldest at once, and
    the one that was new until now becomes the old one.

    Args:
        overlap: 0 to 7 days; 0 ends the old secret at once.
        idle: 5 minutes to 7 days without a use end it sooner; None: only the overlap counts.

    Raises:
        NotFound, PermissionDenied: no such key for the actor, it may not change it, or the key can
            do more than the actor.
        OutOfRange: a time is outside its range.
        Exception: whatever `check` raises.
    """
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise OutOfRange(
            f"An overlap of {overlap.total_seconds():.0f} s is out of range: 0 to"
            f" {MAX_OVERLAP.total_seconds():.0f} s (7 days)."
        )
    if idle is not None and not MIN_IDLE <= idle <= MAX_IDLE:
        raise OutOfRange(
            f"An idle time of {idle.total_seconds():.0f} s is out of range:"
            f" {MIN_IDLE.total_seconds():.0f} to {MAX_IDLE.total_seconds():.0f} s, or null."
        )
    key = lock_key(actor, key_id, Permission.API_KEY_UPDATE, check)
    check_key_ceiling(actor, key)
    now = timezone.now()
    key.secrets.filter(slot=ApiKeySecret.Slot.PREVIOUS).delete()
    if overlap:
        key.secrets.update(
            slot=ApiKeySecret.Slot.PREVIOUS,
            replaced_at=now,
            expires_at=now + overlap,
            idle_seconds=None if idle is None else int(idle.total_seconds()),
        )
    else:
        key.secrets.all().delete()
    text = add_secret(key)
    save_key(key)
    record_key(
        EventType.API_KEY_ROTATED,
        actor,
        key,
        Permission.API_KEY_UPDATE,
        detail={
            "expires_at": now + overlap,
            "idle_seconds": None if idle is None else int(idle.total_seconds()),
        },
    )
    return key, text


@transaction.atomic
def end_overlap(*, actor: Actor, key_id: UUID, check: VersionCheck = any_version) -> ApiKey:
    """Stop the old secret of a rotated key now.

    Raises:
        NotFound, PermissionDenied: no such key for the actor, or it may not take it out of use.
        FailedPrecondition: no old secret works any more.
        Exception: whatever `check` raises.
    """
    key = lock_key(actor, key_id, Permission.API_KEY_REVOKE, check)
    secret = key.secrets.filter(slot=ApiKeySecret.Slot.PREVIOUS).first()
    if secret is None or secret.is_over:
        raise FailedPrecondition(
            f"No old secret of the API key {key.pk} works any more: only the current one does."
        )
    end_secret(actor, secret, reason="Ended by hand", permission=Permission.API_KEY_REVOKE)
    save_key(key)
    return key

"""Counting what keys are used for: in batches, from the gateway's log, never while a call waits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Literal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.utils import timezone

from keys.models import ApiKey, ApiKeySecret, KeyUsage, UsagePosition

KEPT_DAYS = 90
MAX_ROWS_A_DAY = 1000
"""Of one key: what comes beyond is counted without address and client, so that nobody fills the
database by inventing them."""
LOG_DELAY = timedelta(minutes=1)
"""How long a call can be over before the log tells of it."""
_BATCH = 400


@dataclass(frozen=True, slots=True)
class Use:
    """One call with a key.

    Attributes:
        secret: the lookup id of the secret that was shown.
        operation: what was done, such as the name of the method.
        address: where the call came from.
        client: what the client says of itself.
        allowed: whether it was let through.
    """

    at: datetime
    key_id: UUID
    secret: str
    plane: Literal["data", "control"]
    operation: str
    index_id: UUID | None
    address: str
    client: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read: up to `offset` in the file with this inode."""

    inode: int
    offset: int


@dataclass(slots=True)
class _Total:
    count: int
    first_at: datetime
    last_at: datetime


def usage_position(source: str) -> Position | None:
    """How far the log of `source` has been counted; None: not at all yet."""
    row = UsagePosition.objects.filter(source=source).first()
    return None if row is None else Position(inode=int(row.inode), offset=row.offset)


@transaction.atomic
def record_usage(
    uses: Sequence[Use], *, source: str, before: Position | None, after: Position
) -> bool:
    """Count these calls, once: only if the log of `source` has been counted up to `before` until
    now, and then it has been up to `after`. False: it has not, and nothing is changed.

    Called with `before` equal to `after` it says that there is nothing new: only then can a secret
    be known to lie idle. Keys that are gone are left out.
    """
    if not _moved(source, before, after, _complete_until(uses, before, after)):
        return False
    cleaned = [_cleaned(use) for use in uses]
    known = set(
        ApiKey.objects.filter(pk__in={use.key_id for use in cleaned}).values_list("pk", flat=True)
    )
    counted = [use for use in cleaned if use.key_id in known]
    totals = _totals(_within_bounds(counted))
    fingerprints = sorted(totals)
    for start in range(0, len(fingerprints), _BATCH):
        _add({each: totals[each] for each in fingerprints[start : start + _BATCH]})
    _note_last_use(counted)
    return True


def _complete_until(
    uses: Sequence[Use], before: Position | None, after: Position
) -> datetime | None:
    if before == after:
        return timezone.now() - LOG_DELAY
    return max((use.at for use in uses), default=None)


def _moved(
    source: str, before: Position | None, after: Position, complete_until: datetime | None
) -> bool:
    row = UsagePosition.objects.select_for_update().filter(source=source).first()
    if row is None:
        if before is not None:
            return False
        try:
            with transaction.atomic():
                UsagePosition.objects.create(
                    source=source,
                    inode=str(after.inode),
                    offset=after.offset,
                    complete_until=complete_until or datetime.fromtimestamp(0, tz=UTC),
                )
        except IntegrityError:
            return False
        return True
    if before != Position(inode=int(row.inode), offset=row.offset):
        return False
    row.inode, row.offset = str(after.inode), after.offset
    if complete_until is not None and complete_until <= timezone.now():
        row.complete_until = max(row.complete_until, complete_until)
    row.save(update_fields=["inode", "offset", "complete_until"])
    return True


def _cleaned(use: Use) -> Use:
    """As the database can keep it: every text is the client's word."""
    try:
        address = str(ip_address(use.address))
    except ValueError:
        address = ""
    return replace(
        use,
        secret=_printable(use.secret, 10),
        operation=_printable(use.operation, 64),
        address=address,
        client=_printable(use.client, 80),
    )


def _printable(text: str, limit: int) -> str:
    return "".join(each for each in text if each.isprintable())[:limit]


Kind = tuple[UUID, str, str, str, str, str, str, str, str]
"""Everything that tells one row of counts from another, as text but for the key."""


def _kind(use: Use) -> Kind:
    return (
        use.key_id,
        use.secret,
        use.at.astimezone(UTC).date().isoformat(),
        use.plane,
        use.operation,
        str(use.index_id or ""),
        use.address,
        use.client,
        KeyUsage.Outcome.ALLOWED.value if use.allowed else KeyUsage.Outcome.DENIED.value,
    )


def _fingerprint(kind: Kind) -> str:
    return hashlib.sha256("\0".join(map(str, kind)).encode()).hexdigest()


def _within_bounds(uses: Sequence[Use]) -> Iterable[Use]:
    """The same calls, without address and client where a key has too many of those that day."""
    kinds = {_kind(use): use for use in uses}
    rows = (
        KeyUsage.objects.filter(
            key__in={use.key_id for use in uses}, day__in={kind[2] for kind in kinds}
        )
        .values("key_id", "day")
        .annotate(rows=Count("id"))
    )
    room = {
        (row["key_id"], row["day"].isoformat()): max(0, MAX_ROWS_A_DAY - row["rows"])
        for row in rows
    }
    known = set(
        KeyUsage.objects.filter(fingerprint__in=[_fingerprint(kind) for kind in kinds]).values_list(
            "fingerprint", flat=True
        )
    )
    kept = set()
    for kind in kinds:
        place = kind[0], kind[2]
        left = room.get(place, MAX_ROWS_A_DAY)
        if _fingerprint(kind) in known:
            kept.add(kind)
        elif left > 0:
            kept.add(kind)
            room[place] = left - 1
    return [use if _kind(use) in kept else replace(use, address="", client="") for use in uses]


def _totals(uses: Iterable[Use]) -> dict[str, tuple[Use, _Total]]:
    found: dict[str, tuple[Use, _Total]] = {}
    for use in uses:
        fingerprint = _fingerprint(_kind(use))
        if fingerprint not in found:
            found[fingerprint] = use, _Total(1, use.at, use.at)
            continue
        total = found[fingerprint][1]
        total.count += 1
        total.first_at = min(total.first_at, use.at)
        total.last_at = max(total.last_at, use.at)
    return found


def _add(totals: Mapping[str, tuple[Use, _Total]]) -> None:
    """Three statements: make the rows that are missing, find all, add to them.

    Always in the order of the fingerprints, so that two workers don't wait for each other.
    """
    KeyUsage.objects.bulk_create(
        [
            KeyUsage(
                key_id=use.key_id,
                secret=use.secret,
                day=use.at.astimezone(UTC).date(),
                plane=use.plane,
                operation=use.operation,
                index_id=use.index_id,
                address=use.address,
                client=use.client,
                outcome=_kind(use)[-1],
                first_at=total.first_at,
                last_at=total.last_at,
                fingerprint=fingerprint,
            )
            for fingerprint, (use, total) in totals.items()
        ],
        ignore_conflicts=True,
    )
    rows = list(
        KeyUsage.objects.select_for_update()
        .filter(fingerprint__in=list(totals))
        .order_by("fingerprint")
    )
    for row in rows:
        total = totals[row.fingerprint][1]
        row.count += total.count
        row.first_at = min(row.first_at, total.first_at)
        row.last_at = max(row.last_at, total.last_at)
    KeyUsage.objects.bulk_update(rows, ["count", "first_at", "last_at"])


def _note_last_use(uses: Sequence[Use]) -> None:
    """When, for what and from where each key was last let in, and each secret last shown."""
    latest: dict[UUID, Use] = {}
    shown: dict[str, tuple[UUID, datetime]] = {}
    for use in sorted(uses, key=lambda each: each.at):
        shown[use.secret] = use.key_id, use.at
        if use.allowed:
            latest[use.key_id] = use
    for key_id in sorted(latest):
        use = latest[key_id]
        ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=use.at), pk=key_id).update(
            last_used_at=use.at,
            last_used_operation=use.operation,
            last_used_index_id=use.index_id,
            last_used_ip=use.address,
        )
    for secret in sorted(shown):
        key_id, at = shown[secret]
        ApiKeySecret.objects.filter(
            Q(last_used_at=None) | Q(last_used_at__lt=at), lookup_id=secret, key_id=key_id
        ).update(last_used_at=at)


def forget_old_usage() -> int:
    """Remove counts of more than KEPT_DAYS ago; how many rows. Safe to run twice."""
    oldest = timezone.now().date() - timedelta(days=KEPT_DAYS)
    return KeyUsage.objects.filter(day__lt=oldest).delete()[0]

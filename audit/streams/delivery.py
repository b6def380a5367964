"""Sends each stream's events in order, at least once, without loss.

`Stream.next_seq` is the truth. It moves only when a batch was acknowledged, and only by who holds
the stream's lease, so whoever dies, the next one begins with the first event that nobody took.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from audit.models import Log, Stream
from audit.streams import s3, syslog, webhook
from audit.streams.batches import Batch, batch_from
from audit.streams.secrets import unwrapped
from audit.streams.targets import DeliveryFailed
from kms.envelope import KeyUnavailable

LEASE = timedelta(seconds=60)
"""Longer than any batch takes: one exchange ends after 10 s, resolving its host after 30."""
ROUND = timedelta(seconds=10)
"""How long one call goes on when there is always more; then it is the turn of another stream."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 900.0
"""Seconds until the next attempt: doubled with every failure, up to the longest."""

logger = logging.getLogger(__name__)

Deliverer = Callable[[Stream, str, Batch], None]
DELIVERERS: dict[str, Deliverer] = {
    Stream.Kind.WEBHOOK: webhook.deliver,
    Stream.Kind.S3: s3.deliver,
    Stream.Kind.SYSLOG: syslog.deliver,
}


def next_stream() -> UUID | None:
    """The stream whose turn it is, None while another one sends.

    One at a time: a receiver that is slow holds one worker, and never all of them.
    """
    if Stream.objects.filter(lease_until__gt=timezone.now()).exists():
        return None
    return next(iter(due_streams()), None)


def due_streams() -> list[UUID]:
    """The streams that have something to send, may send it now and that nobody sends for.

    Who has waited longest comes first.
    """
    now = timezone.now()
    size = Log.objects.filter(pk=OuterRef("log_id")).values("size")
    return list(
        _claimable(now)
        .annotate(size=Subquery(size))
        .filter(size__gt=F("next_seq"))
        .order_by("next_attempt_at", "pk")
        .values_list("pk", flat=True)
    )


def deliver(stream_id: UUID) -> int:
    """Send what the stream has not sent, until it is done, fails, or a while has passed.

    Returns:
        How many events were acknowledged; 0 also where somebody else is sending.
    """
    now = timezone.now()
    lease = uuid.uuid4()
    claimed = _claimable(now).filter(pk=stream_id)
    if not claimed.update(lease=lease, lease_until=now + LEASE):
        return 0
    sent = 0
    try:
        while timezone.now() < now + ROUND:
            stream = Stream.objects.filter(pk=stream_id, lease=lease, is_enabled=True).first()
            if stream is None:
                break
            batch = batch_from(stream.log_id, stream.next_seq)
            if batch is None:
                break
            sent += _send(stream, lease, batch)
    except (DeliveryFailed, KeyUnavailable) as error:
        _pause(stream_id, lease, str(error))
    except Exception:  # whatever it is must not be tried again without a pause
        logger.exception("Stream %s can't be served", stream_id)
        _pause(stream_id, lease, "The platform could not prepare the events; its log says why.")
    finally:
        Stream.objects.filter(pk=stream_id, lease=lease).update(lease=None, lease_until=None)
    return sent


def _claimable(now: datetime) -> QuerySet[Stream]:
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    return Stream.objects.filter(free, is_enabled=True, next_attempt_at__lte=now)


def _send(stream: Stream, lease: UUID, batch: Batch) -> int:
    """Hand the batch over and, once it is acknowledged, move on.

    Raises:
        DeliveryFailed: it was not acknowledged.
        KeyUnavailable: what it has to be signed with can't be had.
    """
    DELIVERERS[stream.kind](stream, unwrapped(stream.pk, stream.wrapped_secret), batch)
    now = timezone.now()
    moved = Stream.objects.filter(pk=stream.pk, lease=lease, next_seq=batch.start).update(
        next_seq=batch.end,
        failures=0,
        last_error="",
        last_delivered_at=now,
        next_attempt_at=now,
        lease_until=now + LEASE,
    )
    return batch.end - batch.start if moved else 0


def _pause(stream_id: UUID, lease: UUID, reason: str) -> None:
    stream = Stream.objects.filter(pk=stream_id, lease=lease).first()
    if stream is None:
        return
    stream.failures += 1
    seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(stream.failures - 1, 20))
    # Spread: streams that failed together do not come back together.
    seconds *= 0.75 + random.random() / 2  # noqa: S311  no secret
    stream.last_error = reason[:500]
    stream.next_attempt_at = timezone.now() + timedelta(seconds=seconds)
    stream.save(update_fields=["failures", "last_error", "next_attempt_at"])
    logger.warning("Stream %s waits %.0f s: %s", stream_id, seconds, reason)

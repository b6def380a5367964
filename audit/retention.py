"""Deletes events whose time is over. Their hashes stay, so everything proven stays provable."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Min, QuerySet
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent, Checkpoint, Log, SealedEvent, Stream
from audit.services import record

BATCH = 500

logger = logging.getLogger(__name__)


class _Pruner:
    """The platform's own hand."""

    kind, id, label, ip, request_id = "system", "system", "retention", "", ""


def prune_all() -> int:
    """Prune every log; one log's trouble does not stop the others.

    Returns:
        How many events were deleted.
    """
    deleted = 0
    for log_id in Log.objects.order_by("pk").values_list("pk", flat=True):
        try:
            deleted += prune(log_id)
        except Exception:  # the others have to be pruned all the same
            logger.exception("The log %s can't be pruned", log_id)
    return deleted


def prune(log_id: UUID) -> int:
    """Delete the log's oldest events, up to the first one that has to stay.

    That is the first that is young enough, or that some stream, paused ones included, has not
    delivered. Events that are not sealed are behind all of them.

    Returns:
        How many were deleted.
    """
    log = Log.objects.get(pk=log_id)
    start = log.bodies_from_seq
    end = _first_to_stay(log)
    for first in range(start, end, BATCH):
        _delete(log_id, first, min(first + BATCH, end))
    if end > start:
        cutoff = timezone.now() - timedelta(days=log.retention_days)
        old = Checkpoint.objects.filter(log_id=log_id, created_at__lt=cutoff)
        # Any of them can be signed again; the newest is asked for most.
        old.exclude(size=log.size).delete()
    return max(end - start, 0)


def _first_to_stay(log: Log) -> int:
    cutoff = timezone.now() - timedelta(days=log.retention_days)
    # Places are given in the order of sealing, which is not quite that of time.
    young = SealedEvent.objects.filter(
        log_id=log.pk,
        event_id__in=AuditEvent.objects.filter(
            organization_id=log.organization_id, time__gte=cutoff
        ).values("pk"),
    ).aggregate(first=Min("seq"))["first"]
    waiting = Stream.objects.filter(log_id=log.pk).aggregate(first=Min("next_seq"))["first"]
    return min(number for number in (young, waiting, log.size) if number is not None)


@transaction.atomic
def _delete(log_id: UUID, start: int, end: int) -> None:
    """Delete the events of the places `start` up to `end`, and say so in the same log."""
    log = Log.objects.select_for_update().get(pk=log_id)
    if log.bodies_from_seq != start:
        return
    places = SealedEvent.objects.filter(log_id=log_id, seq__gte=start, seq__lt=end)
    # Not the model's own manager, which deletes nothing.
    QuerySet(AuditEvent).filter(pk__in=list(places.values_list("event_id", flat=True))).delete()
    log.bodies_from_seq = end
    log.save(update_fields=["bodies_from_seq"])
    record(
        EventType.AUDIT_PRUNED,
        actor=_Pruner(),
        organization_id=log.organization_id,
        resource=("audit_log", log_id, "audit log"),
        detail={"from_seq": start, "end_seq": end, "days": log.retention_days},
    )

"""What the schedule asks for. Each may run twice at once or not at all: the rows are the truth."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from audit import retention, sealing
from audit.streams import delivery

logger = logging.getLogger(__name__)


@shared_task
def seal_events() -> None:
    """Put what was recorded since the last time into the logs."""
    sealing.seal_all()


@shared_task
def deliver_streams() -> None:
    """Ask for the delivery of the stream whose turn it is."""
    stream_id = delivery.next_stream()
    if stream_id is None:
        return
    try:
        deliver_stream.apply_async((str(stream_id),), expires=20)
    except OperationalError as error:
        logger.warning("The queue does not answer, the next round asks again: %s", error)


@shared_task
def deliver_stream(stream_id: str) -> None:
    """Send what the stream has not sent yet, then let the next one have its turn.

    A failure is kept in its row; the schedule repeats.
    """
    delivery.deliver(UUID(stream_id))
    deliver_streams()


@shared_task
def forget_old_events() -> None:
    """Delete the events that each log's retention is over for."""
    retention.prune_all()

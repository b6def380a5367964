"""What one delivery carries, whatever the way."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from audit import selectors
from audit.canonical import Plain
from audit.exports import entry

MAX_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """The events from `start` up to `end` of a log, and the newest checkpoint over them.

    Each entry has the event's number and chain hash: a receiver sees a gap or a changed past.
    """

    log_id: UUID
    start: int
    end: int
    entries: list[dict[str, Plain]]
    checkpoint: str


def batch_from(log_id: UUID, start: int) -> Batch | None:
    """The next events from `start` on, None where there are none yet.

    Raises:
        KeyUnavailable: the checkpoint has to be signed and the key can't be had.
    """
    size = selectors.size_of(log_id)
    end = min(size, start + MAX_EVENTS)
    if end <= start:
        return None
    return Batch(
        log_id=log_id,
        start=start,
        end=end,
        entries=[entry(*found) for found in selectors.sealed_events(log_id, start, end)],
        checkpoint=selectors.checkpoint_of(log_id, size),
    )

"""Reading the trail: events, checkpoints and proofs.

Who may read is decided by the caller (`orgs.selectors`), which names the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Max, Min, Q

from audit import merkle, notes
from audit.merkle import Node, fold, nodes_of
from audit.models import AuditEvent, Checkpoint, Log, SealedEvent, TreeNode
from audit.signing import origin_of, signing_key


class NoSuchSize(Exception):
    """A number or size beyond what the log holds; the text says what it holds."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Hashes that show something about the log at `size`, whose root is `root`."""

    size: int
    root: bytes
    hashes: list[bytes]


def hashes_of(log_id: UUID, nodes: set[Node]) -> dict[Node, bytes]:
    """The hashes of complete subtrees, in two queries.

    Raises:
        KeyError: the log has no such node: its rows are damaged.
    """
    leaves = [node.number for node in nodes if node.level == 0]
    found = {
        Node(0, seq): bytes(hashed)
        for seq, hashed in SealedEvent.objects.filter(log_id=log_id, seq__in=leaves).values_list(
            "seq", "leaf_hash"
        )
    }
    wanted = Q()
    for node in nodes:
        if node.level:
            wanted |= Q(level=node.level, index=node.number)
    if wanted:
        rows = TreeNode.objects.filter(wanted, log_id=log_id)
        for level, index, hashed in rows.values_list("level", "index", "hash"):
            found[Node(level, index)] = bytes(hashed)
    if missing := nodes - found.keys():
        raise KeyError(f"The log {log_id} has lost the hashes of {sorted(missing)[:5]}.")
    return found


def size_of(log_id: UUID) -> int:
    """How many events the log has."""
    return Log.objects.filter(pk=log_id).values_list("size", flat=True).first() or 0


def root_of(log_id: UUID, size: int) -> bytes:
    """The tree's root when the log had `size` events.

    Raises:
        NoSuchSize: it never had so many.
    """
    _check(log_id, size)
    nodes = nodes_of(0, size)
    found = hashes_of(log_id, set(nodes))
    return fold([found[node] for node in nodes])


def checkpoint_of(log_id: UUID, size: int | None = None) -> str:
    """The signed note of the log as it is now, or as it was with `size` events.

    Where none was kept for that size, it is signed now: what is stated about it is the same.

    Raises:
        NoSuchSize: the log never had so many.
        KeyUnavailable: it has to be signed and the key can't be had.
    """
    if size is None:
        size = size_of(log_id)
    kept = Checkpoint.objects.filter(log_id=log_id, size=size).values_list("note", flat=True)
    note = kept.first()
    if note is not None:
        return note
    return notes.sign(notes.Tree(origin_of(log_id), size, root_of(log_id, size)), signing_key())


def leaf_of(log_id: UUID, seq: int) -> bytes:
    """The leaf hash of event `seq`.

    Raises:
        NoSuchSize: the log has no such event.
    """
    places = SealedEvent.objects.filter(log_id=log_id, seq=seq)
    found = places.values_list("leaf_hash", flat=True).first()
    if found is None:
        raise NoSuchSize(f"The log has {size_of(log_id)} events: there is no event {seq}.")
    return bytes(found)


def inclusion_proof(log_id: UUID, seq: int, size: int | None = None) -> Proof:
    """That event `seq` is in the log of `size` events (now: None).

    Raises:
        NoSuchSize: the log has no such event or never had so many.
    """
    size = _check(log_id, size)
    if not 0 <= seq < size:
        raise NoSuchSize(f"There is no event {seq} among the first {size} of the log.")
    return _proof(log_id, size, merkle.inclusion_ranges(seq, size))


def consistency_proof(log_id: UUID, old: int, new: int | None = None) -> Proof:
    """That the log of `new` events (now: None) begins with all that it was with `old`.

    Raises:
        NoSuchSize: the log never had so many, or `old` is above `new`.
    """
    new = _check(log_id, new)
    if not 0 <= old <= new:
        raise NoSuchSize(f"A log of {new} events does not follow one of {old}.")
    return _proof(log_id, new, merkle.consistency_ranges(old, new))


def _proof(log_id: UUID, size: int, ranges: list[tuple[int, int]]) -> Proof:
    whole = nodes_of(0, size)
    found = hashes_of(log_id, merkle.needed(ranges) | set(whole))
    return Proof(
        size=size,
        root=fold([found[node] for node in whole]),
        hashes=merkle.roots(ranges, found.__getitem__),
    )


def _check(log_id: UUID, size: int | None) -> int:
    held = size_of(log_id)
    if size is None:
        return held
    if not 0 <= size <= held:
        raise NoSuchSize(f"The log has {held} events; it never had {size}.")
    return size


def range_of(log_id: UUID, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """The shortest part of the log that has all its events from `since` up to, not including,
    `until`.

    Others may lie between them: places are given in the order of sealing, not of time.
    """
    events = AuditEvent.objects.filter(organization_id=log_id)
    if since is not None:
        events = events.filter(time__gte=since)
    if until is not None:
        events = events.filter(time__lt=until)
    found = SealedEvent.objects.filter(log_id=log_id, event_id__in=events.values("pk")).aggregate(
        first=Min("seq"), last=Max("seq")
    )
    if found["first"] is None:
        return 0, 0
    return found["first"], found["last"] + 1


def sealed_events(
    log_id: UUID, start: int, end: int
) -> list[tuple[SealedEvent, AuditEvent | None]]:
    """The places `start` up to `end` with their events, None where the event is deleted."""
    places = list(
        SealedEvent.objects.filter(log_id=log_id, seq__gte=start, seq__lt=end).order_by("seq")
    )
    events = AuditEvent.objects.in_bulk([place.event_id for place in places])
    return [(place, events.get(place.event_id)) for place in places]


def places_of(events: Iterable[AuditEvent]) -> dict[UUID, SealedEvent]:
    """Where the events stand in their logs, in one query; those not sealed yet are left out."""
    found = SealedEvent.objects.filter(event_id__in=[event.pk for event in events])
    return {place.event_id: place for place in found}

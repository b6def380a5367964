"""A range of a log as JSON lines that prove themselves: `audit.verification` reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID

from audit.canonical import Plain
from audit.chain import START
from audit.documents import document_of
from audit.merkle import nodes_of
from audit.models import INSTALLATION, AuditEvent, Log, SealedEvent
from audit.selectors import (
    NoSuchSize,
    checkpoint_of,
    consistency_proof,
    hashes_of,
    sealed_events,
    size_of,
)
from audit.signing import origin_of, verifier_of
from audit.verification import FORMAT, VERSION

BATCH = 500


def export_lines(
    log_id: UUID, start: int = 0, end: int | None = None, witness_size: int | None = None
) -> Iterator[str]:
    """The events from `start` up to, not including, `end` (None: all), a line each.

    Around them stand a header and a trailer with what proves that they are exactly those events of
    the log as its newest checkpoint states it.

    Args:
        witness_size: the size of a checkpoint that the reader has kept: a proof that the log grew
            out of it is added.

    Raises:
        NoSuchSize: the log does not have those events or never had that size. Raised at once, not
            when the first line is asked for.
        KeyUnavailable: the checkpoint has to be signed and the key can't be had.
    """
    size = size_of(log_id)
    end = size if end is None else end
    if not 0 <= start <= end <= size:
        raise NoSuchSize(f"The log has the events 0 up to {size}, not {start} up to {end}.")
    header: dict[str, Plain] = {
        "format": FORMAT,
        "version": VERSION,
        "organization_id": None if log_id == INSTALLATION else str(log_id),
        "origin": origin_of(log_id),
        "public_key": str(verifier_of(log_id)),
        "from_seq": start,
        "end_seq": end,
        "tree_size": size,
        "bodies_from_seq": _bodies_from(log_id),
        "checkpoint": checkpoint_of(log_id, size),
        "chain_before": _chain_before(log_id, start).hex(),
        "left": _hashes(log_id, 0, start),
    }
    if witness_size is not None:
        proof = consistency_proof(log_id, witness_size, size)
        header["witness"] = {
            "size": witness_size,
            "hashes": [hashed.hex() for hashed in proof.hashes],
        }
    return _lines(log_id, header, start, end, size)


def _lines(
    log_id: UUID, header: dict[str, Plain], start: int, end: int, size: int
) -> Iterator[str]:
    yield _line(header)
    for first in range(start, end, BATCH):
        for place, event in sealed_events(log_id, first, min(first + BATCH, end)):
            yield _line(entry(place, event))
    yield _line(
        {
            "end": True,
            "records": end - start,
            "bodies_from_seq": _bodies_from(log_id),
            "right": _hashes(log_id, end, size),
            "checkpoint": header["checkpoint"],
        }
    )


def entry(place: SealedEvent, event: AuditEvent | None) -> dict[str, Plain]:
    """An event with its place in the log; `event` is null where it is deleted."""
    return {
        "seq": place.seq,
        "event": document_of(event) if event else None,
        "leaf_hash": bytes(place.leaf_hash).hex(),
        "chain_hash": bytes(place.chain_hash).hex(),
    }


def _line(value: dict[str, Plain]) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def _hashes(log_id: UUID, start: int, end: int) -> list[Plain]:
    nodes = nodes_of(start, end)
    found = hashes_of(log_id, set(nodes))
    return [found[node].hex() for node in nodes]


def _chain_before(log_id: UUID, start: int) -> bytes:
    if start == 0:
        return START
    return bytes(SealedEvent.objects.get(log_id=log_id, seq=start - 1).chain_hash)


def _bodies_from(log_id: UUID) -> int:
    found = Log.objects.filter(pk=log_id).values_list("bodies_from_seq", flat=True)
    return found.first() or 0

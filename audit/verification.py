"""Checks an export without the platform that made it: no database, no network, no Django.

What is checked, line by line: every event has the hash that its line says; numbers follow each
other; the chain of hashes closes; all events are of one organization; and the Merkle tree over
them, with the subtrees left and right of them, has the root that a checkpoint signed by the log's
key states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from audit import notes
from audit.canonical import Plain, canonical, parse
from audit.chain import chained
from audit.merkle import HASH_BYTES, Frontier, leaf_hash, nodes_of, verify_consistency

FORMAT = "tamarack-audit-export"
VERSION = 1
MAX_LINE = 8 * 1024 * 1024
"""Bytes of one line. A record is far smaller; a file that never ends its line is none of ours."""


class ExportError(Exception):
    """The export does not hold; the text names the line, the event and what is wrong."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was proven.

    Attributes:
        tree: the log as the export's checkpoint states it.
        start, end: the events that are in the file, from `start` up to, not including, `end`.
        without_body: how many of them were deleted by retention; only their hashes are here.
        verifier: the key that signed the checkpoint.
    """

    tree: notes.Tree
    start: int
    end: int
    without_body: int
    verifier: notes.Verifier


@dataclass(slots=True)
class _Header:
    organization_id: str | None
    origin: str
    public_key: str
    start: int
    end: int
    checkpoint: str
    chain: bytes
    left: list[bytes]
    size: int
    witness: tuple[int, list[bytes]] | None


@dataclass(slots=True)
class _State:
    """What is known while the lines pass."""

    header: _Header
    frontier: Frontier
    chain: bytes
    # The roots at the sizes that a kept checkpoint may be compared at.
    wanted: int | None
    root: bytes | None = None
    bodiless: list[tuple[int, int]] = field(default_factory=list)

    def note_root(self) -> None:
        if self.frontier.size == self.wanted:
            self.root = self.frontier.root()


def verify(
    file: BinaryIO, *, public_key: str | None = None, checkpoint: str | None = None
) -> Verified:
    """Check a whole export.

    Args:
        public_key: the log's verifier key as known from elsewhere. Without it the key that the
            file names is believed, which a forger can have made.
        checkpoint: a signed note that was kept earlier. The export has to agree with it.

    Raises:
        ExportError: something is wrong.
    """
    lines = _lines(file)
    number, first = next(lines, (1, None))
    if first is None:
        raise ExportError("The file is empty.")
    header = _header(first)
    verifier = _verifier(header, public_key)
    tree = _checkpoint(header, verifier)
    kept = _kept(checkpoint, verifier)
    state = _State(
        header=header,
        frontier=Frontier(header.start, header.left),
        chain=header.chain,
        wanted=kept.size if kept else None,
    )
    state.note_root()
    trailer = None
    for number, line in lines:
        if trailer is not None:
            raise ExportError(f"line {number}: there is something after the end of the export.")
        if line.get("end") is True:
            trailer = line
            _finish(state, number, line, tree)
        else:
            _record(state, number, line)
    if trailer is None:
        raise ExportError(
            f"line {number}: the file is cut off after {_seq(state.frontier.size)}; its header"
            f" promises the events {header.start} up to {header.end}, and an end line."
        )
    if kept is not None:
        _agree(state, kept, tree)
    return Verified(tree, header.start, header.end, len(state.bodiless), verifier)


def _lines(file: BinaryIO) -> Iterator[tuple[int, dict[str, Plain]]]:
    number = 0
    while raw := file.readline(MAX_LINE + 1):
        number += 1
        if len(raw) > MAX_LINE:
            raise ExportError(f"line {number}: it is longer than {MAX_LINE} bytes.")
        if not raw.endswith(b"\n"):
            raise ExportError(f"line {number}: the file is cut off in the middle of this line.")
        try:
            value = parse(raw.decode())
        except ValueError as error:
            raise ExportError(f"line {number}: it is no line of an export: {error}.") from error
        if not isinstance(value, dict):
            raise ExportError(f"line {number}: it is no line of an export: no object.")
        yield number, value


def _header(line: dict[str, Plain]) -> _Header:
    if line.get("format") != FORMAT or line.get("version") != VERSION:
        raise ExportError(f"line 1: it is no header of {FORMAT!r}, version {VERSION}.")
    organization_id = line.get("organization_id")
    found = _Header(
        organization_id=None if organization_id is None else _text(1, line, "organization_id"),
        origin=_text(1, line, "origin"),
        public_key=_text(1, line, "public_key"),
        start=_integer(1, line, "from_seq"),
        end=_integer(1, line, "end_seq"),
        checkpoint=_text(1, line, "checkpoint"),
        chain=_hash(1, line, "chain_before"),
        left=_hashes(1, line, "left"),
        size=_integer(1, line, "tree_size"),
        witness=None,
    )
    _integer(1, line, "bodies_from_seq")
    witness = line.get("witness")
    if witness is not None:
        if not isinstance(witness, dict):
            raise ExportError("line 1: 'witness' is no object.")
        found.witness = (_integer(1, witness, "size"), _hashes(1, witness, "hashes"))
    if not found.start <= found.end <= found.size:
        raise ExportError(
            f"line 1: it promises the events {found.start} up to {found.end} of {found.size}."
        )
    if len(found.left) != len(nodes_of(0, found.start)):
        raise ExportError("line 1: 'left' does not have the hashes of what is before the export.")
    log_id = found.organization_id or "00000000-0000-0000-0000-000000000000"
    if found.origin.rpartition("/")[2] != log_id:
        raise ExportError(
            f"line 1: the log {found.origin[:120]!r} is not that of organization {log_id[:40]!r}."
        )
    return found


def _verifier(header: _Header, public_key: str | None) -> notes.Verifier:
    try:
        named = notes.Verifier.parse(header.public_key)
    except notes.NoteError as error:
        raise ExportError(f"line 1: {error}") from error
    if public_key is None:
        verifier = named
    else:
        try:
            verifier = notes.Verifier.parse(public_key)
        except notes.NoteError as error:
            raise ExportError(f"The public key given is none: {error}") from error
        if verifier.key != named.key:
            raise ExportError(
                "line 1: the export says that another key signed it than the one given: it is not"
                " from the log that you trust."
            )
    if verifier.name != header.origin:
        raise ExportError(
            f"line 1: the export is of the log {header.origin[:120]!r}, the key is that of"
            f" {verifier.name!r}."
        )
    return verifier


def _checkpoint(header: _Header, verifier: notes.Verifier) -> notes.Tree:
    try:
        tree = notes.read(header.checkpoint, verifier)
    except notes.NoteError as error:
        raise ExportError(f"line 1: the checkpoint can't be relied on: {error}") from error
    if tree.size != header.size:
        raise ExportError(
            f"line 1: the checkpoint covers {tree.size} events, the header says {header.size}."
        )
    return tree


def _kept(checkpoint: str | None, verifier: notes.Verifier) -> notes.Tree | None:
    if checkpoint is None:
        return None
    try:
        return notes.read(checkpoint, verifier)
    except notes.NoteError as error:
        raise ExportError(f"The checkpoint given can't be relied on: {error}") from error


def _record(state: _State, number: int, line: dict[str, Plain]) -> None:
    seq, expected = _integer(number, line, "seq"), state.frontier.size
    where = f"line {number}, seq {seq}"
    if expected >= state.header.end:
        raise ExportError(
            f"{where}: the header promises no event from {state.header.end} on: it was added."
        )
    if seq < expected:
        raise ExportError(
            f"{where}: seq {expected} has to follow here: this record is repeated or out of order."
        )
    if seq > expected:
        missing = _seq_range(expected, seq)
        raise ExportError(f"{where}: {missing} missing before it: dropped or out of order.")
    leaf = _hash(number, line, "leaf_hash")
    event = line.get("event")
    if event is None:
        state.bodiless.append((number, seq))
    else:
        _check_event(state, where, event, leaf)
    state.chain = chained(state.chain, leaf)
    if state.chain != _hash(number, line, "chain_hash"):
        raise ExportError(
            f"{where}: the chain breaks here: this record or the one before it was changed."
        )
    state.frontier.append(leaf)
    state.note_root()


def _check_event(state: _State, where: str, event: Plain, leaf: bytes) -> None:
    if not isinstance(event, dict):
        raise ExportError(f"{where}: 'event' is no object.")
    if event.get("organization_id") != state.header.organization_id:
        raise ExportError(f"{where}: the record belongs to another organization.")
    try:
        hashed = leaf_hash(canonical(event))
    except ValueError as error:
        raise ExportError(f"{where}: the record was changed: {error}.") from error
    if hashed != leaf:
        raise ExportError(
            f"{where}: the record was changed: its hash is {hashed.hex()}, not {leaf.hex()}."
        )


def _finish(state: _State, number: int, line: dict[str, Plain], tree: notes.Tree) -> None:
    header, size = state.header, state.frontier.size
    if size != header.end:
        raise ExportError(
            f"line {number}: {_seq_range(size, header.end)} missing before the end: dropped."
        )
    if _integer(number, line, "records") != header.end - header.start:
        raise ExportError(f"line {number}: the end line counts other records than there are.")
    if _text(number, line, "checkpoint") != header.checkpoint:
        raise ExportError(f"line {number}: the checkpoint is not that of the header.")
    bodies_from = _integer(number, line, "bodies_from_seq")
    for where, seq in state.bodiless:
        if seq >= bodies_from:
            raise ExportError(
                f"line {where}, seq {seq}: the record has no content, though retention has"
                f" deleted none from {bodies_from} on."
            )
    nodes, right = nodes_of(size, header.size), _hashes(number, line, "right")
    if len(right) != len(nodes):
        raise ExportError(f"line {number}: 'right' lacks hashes of what is after the export.")
    rest = Frontier(size, state.frontier.hashes)
    for node, hashed in zip(nodes, right, strict=True):
        rest.append(hashed, node.level)
    if rest.root() != tree.root:
        raise ExportError(
            f"line {number}: the events {header.start} up to {header.end} are not those that the"
            " signed checkpoint states: a record was changed, dropped or added together with the"
            " hashes in the file."
        )


def _agree(state: _State, kept: notes.Tree, tree: notes.Tree) -> None:
    """Whether the export's log is the one that the kept checkpoint saw, grown since.

    Raises:
        ExportError: it is not, or the file does not hold what could show it.
    """
    if kept.size > tree.size:
        raise ExportError(
            f"The log had {kept.size} events when the checkpoint given was signed; the export"
            f" covers {tree.size}: the newest records were dropped, or the export is older than"
            " the checkpoint."
        )
    different = ExportError(
        f"The first {kept.size} events are not those that the checkpoint given was signed over:"
        " the log's past was rewritten."
    )
    if kept.size == tree.size:
        if kept.root != tree.root:
            raise different
        return
    if state.root is not None:
        if state.root != kept.root:
            raise different
        return
    witness = state.header.witness
    if witness is None or witness[0] != kept.size:
        raise ExportError(
            f"The export has nothing to compare the checkpoint given (size {kept.size}) with:"
            f" export from an event before {kept.size} on, or with witness_size={kept.size}."
        )
    if not verify_consistency(kept.size, tree.size, witness[1], kept.root, tree.root):
        raise different


def _text(number: int, line: dict[str, Plain], name: str) -> str:
    value = line.get(name)
    if not isinstance(value, str):
        raise ExportError(f"line {number}: {name!r} is no text.")
    return value


def _integer(number: int, line: dict[str, Plain], name: str) -> int:
    value = line.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ExportError(f"line {number}: {name!r} is no number from 0 on.")
    return value


def _hash(number: int, line: dict[str, Plain], name: str) -> bytes:
    return _hash_of(number, name, line.get(name))


def _hashes(number: int, line: dict[str, Plain], name: str) -> list[bytes]:
    values = line.get(name)
    if not isinstance(values, list):
        raise ExportError(f"line {number}: {name!r} is no list of hashes.")
    return [_hash_of(number, name, value) for value in values]


def _hash_of(number: int, name: str, value: Plain) -> bytes:
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    if len(found) != HASH_BYTES:
        raise ExportError(f"line {number}: {name!r} is no SHA-256 hash in hexadecimal digits.")
    return found


def _seq(size: int) -> str:
    return f"seq {size - 1}" if size else "the header"


def _seq_range(start: int, end: int) -> str:
    return f"seq {start} is" if end - start == 1 else f"seq {start} to {end - 1} are"

"""One index: the record and the engine kept in step, and the engine rebuilt when it has become
slow.

A write commits to the record (fsync), then goes to the engine, then is acknowledged. Whatever
happens in between, the record is right and the engine can be caught up from it: the same replay of
all changes after a sequence number fills an empty engine at the start, catches up a freshly built
one before it is swapped in, and repairs one that failed.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dataplane import builder, filters, hybrid
from dataplane.config import Config
from dataplane.engine import Ann, EdgeIndex, Hit, Search, Space
from dataplane.errors import exhausted, unavailable
from dataplane.record import Record
from dataplane.values import Field, Metadata, Namespace, Row, SparseVector, StoredRow

log = logging.getLogger(__name__)

REPLAY_ROWS: Final = 100
SCAN_ROWS: Final = 1_000

SMALL_BYTES: Final = 4 * 2**20
"""Vectors that are scanned without a graph in about a millisecond; as many never ask for a build.
"""
QUIET_SECONDS: Final = 2.0
"""Without a write for this long, a build starts once `SMALL_BYTES` and a twentieth of the index are
unindexed; under steady writing only once the index has doubled, so that all builds together cost
twice the last one.
"""
QUIET_SHARE: Final = 0.05
BUSY_SHARE: Final = 1.0
TICK_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 1.0
"""Searches that began on the previous engine end within it."""
LATE_INDEX_POINTS: Final = 5_000
"""Up to here a new metadata field is indexed at once; past it, by the next build: doing it here
would stall.
"""

RESERVED_MEMORY: Final = 32 * 2**20
"""Bytes of tmpfs left free. Past the end of a full tmpfs the kernel kills whoever writes to a
mapped file.
"""
INDEX_OVERHEAD: Final = 2
"""Bytes of tmpfs that one byte of vector and metadata takes, at most, with links and field indexes.
"""


class VectorIndex:
    """The operations behind the service, on values already checked. Namespace names are never
    empty.
    """

    def __init__(self, config: Config, record: Record, key: bytes) -> None:
        """`key`: the record's, handed to builders. Call `start` next."""
        self._config = config
        self._record = record
        self._key = key
        self._space = Space(config.dimension, config.metric)
        self._ann: EdgeIndex | None = None
        self._write = threading.RLock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._deleted: list[int] | None = None
        self._unindexed = 0
        self._removed = 0
        self._built = 0
        self._wants_build = False
        self._last_write = 0.0
        self._generation = 0
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin loading; `wait_ready` tells when searches are answered. Other calls are answered
        from now on.
        """
        for leftover in self._config.ram_dir.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        self._keeper.start()

    def wait_ready(self, timeout: float) -> bool:
        """Whether searches are answered within `timeout` seconds."""
        return self._ready.wait(timeout)

    def close(self) -> None:
        """Stop building and give everything back. No call may be running."""
        self._stopping.set()
        self._wake.set()
        if self._keeper.is_alive():
            self._keeper.join()
        if self._ann is not None:
            self._ann.close()
        self._record.close()

    def _keep(self) -> None:
        """The keeper thread: loads when there is no engine, builds when the engine has fallen
        behind.
        """
        while not self._stopping.is_set():
            pause = TICK_SECONDS
            try:
                if self._ann is None:
                    self._load()
                elif self._wants_build or self._is_build_due():
                    self._rebuild()
            except Exception:
                log.exception("the index could not be %s", "built" if self._ann else "loaded")
                pause = RETRY_SECONDS
            self._wake.wait(pause)
            self._wake.clear()

    def _folder(self) -> Path:
        self._generation += 1
        return self._config.ram_dir / f"{self._generation:06d}"

    def _load(self) -> None:
        """Fill an empty engine from the record; small indexes are complete in milliseconds."""
        began, folder = time.monotonic(), self._folder()
        self._check_memory(self._record.totals()[1])
        try:
            ann = EdgeIndex.create(folder, self._space, self._record.fields)
            with self._write:
                self._deleted = []
            self._catch_up(ann, 0)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._unindexed, self._built = self._record.totals()[1], 0
        log.info("loaded %d vectors in %.3f s", ann.count(), time.monotonic() - began)

    def _is_build_due(self) -> bool:
        behind = max(self._unindexed, self._removed)
        quiet = time.monotonic() - self._last_write > QUIET_SECONDS
        share = QUIET_SHARE if quiet else BUSY_SHARE
        return behind > max(SMALL_BYTES, share * self._built)

    def _rebuild(self) -> None:
        """Have a child build a new engine while this one serves, catch it up, and swap."""
        began, folder = time.monotonic(), self._folder()
        size = self._record.totals()[1]
        self._check_memory(size)
        with self._write:
            self._deleted = []
            self._unindexed = self._removed = 0
            self._wants_build = False
        order = builder.Order(
            parent=os.getpid(),
            record=str(self._config.record),
            key=self._key.hex(),
            folder=str(folder),
            dimension=self._space.dimension,
            metric=self._space.metric,
            threads=min(4, os.cpu_count() or 1),
        )
        try:
            report = builder.run(order, self._stopping.is_set)
            if report is None:
                return
            fields = {field.name: field for field in report.fields}
            ann = EdgeIndex.load(folder, self._space, fields, report.namespaces)
            old = self._ann
            self._catch_up(ann, report.seq)
        except BaseException:
            self._unindexed += size
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._write:
                self._deleted = None
        self._built = size
        log.info("built %d vectors in %.1f s", report.count, time.monotonic() - began)
        if old is not None and not self._stopping.wait(LINGER_SECONDS):
            old.retire()

    def _catch_up(self, ann: EdgeIndex, seq: int) -> None:
        """Apply all changes after `seq` to `ann`, at last with writers waiting, and make it the one
        that serves.
        """
        while not self._stopping.is_set():
            rows = self._record.changed_after(seq, REPLAY_ROWS)
            if len(rows) < REPLAY_ROWS:
                break
            self._apply(ann, rows, [])
            seq = rows[-1].seq
        if self._stopping.is_set():
            return
        with self._write:
            while rows := self._record.changed_after(seq, REPLAY_ROWS):
                self._apply(ann, rows, [])
                seq = rows[-1].seq
            self._apply(ann, [], self._deleted or [])
            self._deleted = None
            self._ann = ann
            self._ready.set()

    def _apply(self, ann: EdgeIndex, rows: Sequence[StoredRow], deleted: Sequence[int]) -> None:
        for name in {name for row in rows for name in row.metadata or ()}:
            self._know(ann, self._record.fields[name])
        ann.apply(rows, deleted)

    def _know(self, ann: EdgeIndex, field: Field) -> None:
        if not ann.lacks_index(field) or ann.count() <= LATE_INDEX_POINTS:
            ann.index_field(field)
        else:
            ann.note_field(field)
            self._wants_build = True

    def upsert(self, namespace: str, rows: Sequence[Row]) -> int:
        """Insert or replace rows of unique ids; returns the sequence number of the last one.

        Raises:
            Refusal: no memory or disk left, or the record can't be written; nothing is changed.
        """
        self._check_memory(sum(_size(row) for row in rows))
        with self._write:
            stored = self._record.upsert(namespace, rows)
            self._committed(stored, [])
            return self._record.seq

    def update(
        self,
        namespace: str,
        id: str,
        dense: array[float] | None,
        sparse: SparseVector | None,
        metadata: Metadata | None,
    ) -> int:
        """Replace the parts given of one row, merging metadata; an unknown id is no error.

        Raises:
            Refusal: as `upsert`; metadata grows too large.
        """
        with self._write:
            stored = self._record.update(
                namespace, id, dense=dense, sparse=sparse, metadata=metadata
            )
            self._committed(stored, [])
            return self._record.seq

    def update_matching(
        self, namespace: str, condition: filters.Node, metadata: Metadata, *, dry_run: bool
    ) -> int:
        """Merge metadata into every row that matches, into all or none; returns how many match.

        Raises:
            Refusal: as `update`; still loading.
        """
        with self._write:
            pks = self._all_matching(namespace, condition)
            if pks and not dry_run:
                before = self._record.seq
                self._record.set_metadata(pks, metadata)
                self._committed(self._changes(before), [])
            return len(pks)

    def delete_ids(self, namespace: str, ids: Sequence[str]) -> int:
        """Delete those ids that exist; returns the current sequence number.

        Raises:
            Refusal: the record can't be written; nothing is changed.
        """
        with self._write:
            self._committed([], self._record.delete_ids(namespace, ids))
            return self._record.seq

    def delete_matching(self, namespace: str, condition: filters.Node) -> int:
        """Delete every row that matches; returns the current sequence number.

        Raises:
            Refusal: as `delete_ids`; still loading.
        """
        with self._write:
            pks = self._all_matching(namespace, condition)
            self._record.delete_pks(pks)
            self._committed([], pks)
            return self._record.seq

    def delete_all(self, namespace: str, *, forget: bool = False) -> bool:
        """Delete every row of a namespace, with `forget` the namespace itself; False where there is
        none.

        Raises:
            Refusal: as `delete_ids`.
        """
        with self._write:
            pks = self._record.delete_all(namespace, forget=forget)
            self._committed([], pks or [])
            return pks is not None

    def create_namespace(self, name: str, schema: Sequence[str] | None) -> None:
        """Add an empty namespace that stays.

        Raises:
            Refusal: it exists, there are too many, or as `delete_ids`.
        """
        with self._write:
            self._record.create_namespace(name, schema)

    def _committed(
        self, rows: Sequence[StoredRow] | Iterator[StoredRow], deleted: Sequence[int]
    ) -> None:
        """Bring the engine up to what the record has just committed; called with the write lock
        held.
        """
        self._last_write = time.monotonic()
        ann = self._ann
        if self._deleted is not None:
            self._deleted.extend(deleted)
        if ann is None:  # loading: the replay will see these rows
            return
        try:
            batch: list[StoredRow] = []
            for row in rows:
                self._unindexed += _size(row)
                batch.append(row)
                if len(batch) == REPLAY_ROWS:
                    self._apply(ann, batch, [])
                    batch = []
            self._apply(ann, batch, deleted)
        except Exception:
            log.exception("the engine refused a committed change; reloading it from the record")
            self._ready.clear()
            self._ann = None
            ann.close()
            self._wake.set()
        self._removed += len(deleted) * (self._space.dimension or 100) * 4

    def _changes(self, seq: int) -> Iterator[StoredRow]:
        while rows := self._record.changed_after(seq, REPLAY_ROWS):
            yield from rows
            seq = rows[-1].seq

    def _check_memory(self, size: int) -> None:
        state = os.statvfs(self._config.ram_dir)
        free = state.f_bavail * state.f_frsize
        if free < size * INDEX_OVERHEAD + RESERVED_MEMORY:
            raise exhausted(
                f"The memory for this index is used up: {free >> 20} MiB are free. Nothing was"
                " changed; delete vectors, or ask the operator for more memory."
            )

    @property
    def seq(self) -> int:
        """Sequence number of the last acknowledged change."""
        return self._record.seq

    @property
    def record(self) -> Record:
        """For reads that the record answers alone."""
        return self._record

    def query(
        self,
        namespace: Namespace,
        dense: array[float] | None,
        sparse: SparseVector | None,
        condition: filters.Node | None,
        limit: int,
        effort: float,
    ) -> list[Hit]:
        """The nearest rows first; with both vectors, by the sum of both products.

        Raises:
            Refusal: UNAVAILABLE, still loading.
        """
        ann = self._engine()
        if dense is not None and sparse is not None:
            return hybrid.query(ann, namespace.id, dense, sparse, condition, limit, effort)
        vector = dense if dense is not None else sparse
        assert vector is not None  # noqa: S101  the service has checked that one is given
        return ann.query(Search(vector, namespace.id, condition, limit, effort))

    def matching(
        self, namespace: Namespace, condition: filters.Node, after: int, limit: int
    ) -> list[int]:
        """At most `limit` keys behind `after` of rows that match, ascending.

        Raises:
            Refusal: UNAVAILABLE, still loading.
        """
        return self._engine().scan(namespace.id, condition, after, limit)

    def _all_matching(self, namespace: str, condition: filters.Node) -> list[int]:
        found = self._record.namespace(namespace)
        if found is None:
            return []
        pks: list[int] = []
        while page := self.matching(found, condition, pks[-1] if pks else 0, SCAN_ROWS):
            pks.extend(page)
        return pks

    def _engine(self) -> Ann:
        if self._ann is None:
            raise unavailable(
                "The index is being loaded into memory and will answer in a few seconds; send the"
                " request again."
            )
        return self._ann


def _size(row: Row | StoredRow) -> int:
    """Roughly the bytes that a row's searchable part takes."""
    dense = len(row.dense) * 4 if row.dense is not None else 0
    return dense + (len(row.sparse.indices) * 8 if row.sparse is not None else 0) + 100

"""The durable record: one SQLCipher file that alone decides what the index holds.

It keeps the original vector bytes, metadata and a sequence number that grows with every change, so
that the engine, which keeps none of these faithfully, can be rebuilt or caught up at any time. One
connection writes; callers of the writing methods hold one lock around them (`index.VectorIndex`).
Reads go over a second, read-only connection and see every transaction that was committed before
they began.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from dataplane.change import Change, merged
from dataplane.config import Config
from dataplane.errors import already_exists, exhausted, internal, shown
from dataplane.limits import MAX_NAMESPACES
from dataplane.recordfile import (
    RecordError,
    atomic,
    connect,
    read_fields,
    rows_by_pk,
    stored_row,
)
from dataplane.schema import FORMAT, TABLES, WRITER_PRAGMAS
from dataplane.values import Field, Metadata, Namespace, Row, SparseVector, StoredRow

LAST_CHARACTER: Final = "\U0010ffff"
"""Sorts after every id: ids are ASCII, and the database compares bytes."""
STEP: Final = 500
"""Rows read, changed and written at a time by changes of many rows."""


class Record:
    """The open record of one deployment."""

    def __init__(self, path: Path, key: bytes, config: Config) -> None:
        """Open the file at `path`, creating it where there is none. `key`: 32 bytes, the raw cipher
        key.

        Raises:
            RecordError: wrong key, damaged file, or another deployment's record.
        """
        identity = {
            "format": FORMAT,
            "deployment_id": config.deployment_id,
            "dimension": str(config.dimension or 0),
            "metric": config.metric,
            "vector_type": config.vector_type,
        }
        try:
            self._writer = connect(path, key)
            for pragma in WRITER_PRAGMAS:
                self._writer.execute(pragma)
            self._create(identity)
            found = dict(self._writer.execute("SELECT name, value FROM property"))
            self._reader = connect(path, key, readonly=True)
        except sqlcipher.DatabaseError as error:
            raise RecordError(
                f"{path}: {error}. Either the key is not this record's, or the file is damaged:"
                " restore it from a backup."
            ) from error
        for name, expected in identity.items():
            if found.get(name) != expected:
                raise RecordError(
                    f"{path}: its {name} is {found.get(name)!r}, the configuration says"
                    f" {expected!r}; it is another index's record."
                )
        self._seq = int(found["seq"])
        self._read_lock = threading.Lock()
        self._fields = {field.name: field for field in read_fields(self._reader)}

    def close(self) -> None:
        """Close both connections; the writer folds its log into the file first."""
        self._reader.close()
        self._writer.close()

    @property
    def seq(self) -> int:
        """Sequence number of the last committed change; 0 in a new record."""
        return self._seq

    @property
    def fields(self) -> dict[str, Field]:
        """All metadata fields by name. Replaced, never changed in place, when a commit adds one."""
        return self._fields

    def upsert(self, namespace: str, rows: Sequence[Row]) -> list[StoredRow]:
        """Insert or wholly replace `rows` (unique ids) and return them as stored, in order.

        Raises:
            Refusal: RESOURCE_EXHAUSTED (disk full, too many namespaces) or INTERNAL (I/O error);
                nothing is changed.
        """
        with self._transaction() as change:
            owner = self._ensure_namespace(namespace)
            found = self._writer.execute(
                "SELECT id, pk FROM vector WHERE namespace = ? AND id IN (SELECT value FROM"
                " json_each(?))",
                (owner, json.dumps([row.id for row in rows])),
            )
            known: dict[str, int] = dict(found)
            stored = []
            for row in rows:
                seq = change.next_seq()
                pk = known.get(row.id, seq)
                stored.append(
                    StoredRow(pk, seq, owner, row.id, row.dense, row.sparse, row.metadata)
                )
            change.write(stored)
        return stored

    def update(
        self,
        namespace: str,
        id: str,
        *,
        dense: array[float] | None = None,
        sparse: SparseVector | None = None,
        metadata: Metadata | None = None,
    ) -> list[StoredRow]:
        """Replace the parts given, merge `metadata` key by key; an unknown id changes nothing and
        returns [].

        Raises:
            Refusal: the merged metadata is too large (INVALID_ARGUMENT), or as `upsert`.
        """
        with self._transaction() as change:
            found = self._writer.execute(
                "SELECT * FROM vector WHERE id = ? "
                "AND namespace = (SELECT id FROM namespace WHERE name = ?)",
                (id, namespace),
            )
            stored = [
                StoredRow(
                    pk=row.pk,
                    seq=change.next_seq(),
                    namespace=row.namespace,
                    id=row.id,
                    dense=row.dense if dense is None else dense,
                    sparse=row.sparse if sparse is None else sparse,
                    metadata=merged(row, metadata),
                )
                for row in map(stored_row, found.fetchall())
            ]
            change.write(stored)
        return stored

    def set_metadata(self, pks: Sequence[int], metadata: Metadata) -> None:
        """Merge `metadata` into all of `pks`, or, where one of them would grow too large, into
        none.

        Raises:
            Refusal: as `update`.
        """
        with self._transaction() as change:
            for start in range(0, len(pks), STEP):
                rows = rows_by_pk(self._writer, pks[start : start + STEP])
                change.write(
                    [
                        StoredRow(
                            row.pk,
                            change.next_seq(),
                            row.namespace,
                            row.id,
                            row.dense,
                            row.sparse,
                            merged(row, metadata),
                        )
                        for row in rows
                    ]
                )

    def delete_ids(self, namespace: str, ids: Sequence[str]) -> list[int]:
        """Delete the ids that exist and return their pks.

        Raises:
            Refusal: as `upsert`.
        """
        with self._transaction() as change:
            found = self._writer.execute(
                "SELECT pk FROM vector WHERE namespace = (SELECT id FROM namespace WHERE name = ?) "
                "AND id IN (SELECT value FROM json_each(?))",
                (namespace, json.dumps(ids)),
            )
            pks = [pk for (pk,) in found]
            change.remove(pks)
            self._forget_empty()
        return pks

    def delete_pks(self, pks: Sequence[int]) -> None:
        """Delete rows by key, all or none.

        Raises:
            Refusal: as `upsert`.
        """
        with self._transaction() as change:
            change.remove(pks)
            self._forget_empty()

    def delete_all(self, namespace: str, *, forget: bool = False) -> list[int] | None:
        """Delete every row of `namespace` (with `forget`, the namespace too) and return their pks;
        None: unknown.

        Raises:
            Refusal: as `upsert`.
        """
        with self._transaction():
            owner = self._writer.execute(
                "SELECT id FROM namespace WHERE name = ?", (namespace,)
            ).fetchone()
            if owner is None:
                return None
            pks = [
                pk
                for (pk,) in self._writer.execute(
                    "SELECT pk FROM vector WHERE namespace = ?", owner
                )
            ]
            self._writer.execute("DELETE FROM vector WHERE namespace = ?", owner)
            self._writer.execute("UPDATE namespace SET count = 0, size = 0 WHERE id = ?", owner)
            if forget:
                self._writer.execute("DELETE FROM namespace WHERE id = ?", owner)
            self._forget_empty()
        return pks

    def create_namespace(self, name: str, schema: Sequence[str] | None) -> None:
        """Add a namespace that stays when it is empty.

        Raises:
            Refusal: ALREADY_EXISTS, or as `upsert`.
        """
        with self._transaction():
            if self._writer.execute("SELECT 1 FROM namespace WHERE name = ?", (name,)).fetchone():
                raise already_exists(
                    f"Namespace {shown(name)} exists already; use it, or delete it first."
                )
            self._add_namespace(name, explicit=True, schema=schema)

    def _forget_empty(self) -> None:
        self._writer.execute("DELETE FROM namespace WHERE count = 0 AND NOT explicit")

    def _ensure_namespace(self, name: str) -> int:
        found = self._writer.execute("SELECT id FROM namespace WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found else self._add_namespace(name, explicit=False, schema=None)

    def _add_namespace(self, name: str, *, explicit: bool, schema: Sequence[str] | None) -> int:
        (count,) = self._writer.execute("SELECT count(*) FROM namespace").fetchone()
        if count >= MAX_NAMESPACES:
            raise exhausted(
                f"The index has {count} namespaces, the most it may have; delete some before adding"
                f" {shown(name)}."
            )
        added = self._writer.execute(
            "INSERT INTO namespace (name, explicit, schema) VALUES (?, ?, ?)",
            (name, explicit, None if schema is None else json.dumps(list(schema))),
        )
        return int(added.lastrowid)

    def _create(self, identity: dict[str, str]) -> None:
        with atomic(self._writer):
            if self._writer.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                return
            for statement in TABLES:
                self._writer.execute(statement)
            self._writer.executemany(
                "INSERT INTO property (name, value) VALUES (?, ?)",
                [*identity.items(), ("seq", "0")],
            )

    @contextmanager
    def _transaction(self) -> Iterator[Change]:
        change = Change(self._writer, self._seq, self._fields)
        try:
            with atomic(self._writer):
                yield change
                change.finish()
        except sqlcipher.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlcipher.SQLITE_FULL:
                raise exhausted(
                    "The disk that holds this index is full. Nothing was changed: delete vectors,"
                    " or ask the operator for space, and send the request again."
                ) from error
            raise internal(
                f"The index could not be written ({error}). Nothing was changed; send the request"
                " again, and tell the operator if it keeps failing."
            ) from error
        self._seq, self._fields = change.seq, change.fields

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._read_lock:
            try:
                return list(self._reader.execute(sql, parameters).fetchall())
            except sqlcipher.Error as error:
                raise internal(
                    f"The index could not be read ({error}); tell the operator."
                ) from error

    def namespace(self, name: str) -> Namespace | None:
        """The namespace of that name, None where there is none."""
        found = self._read(
            "SELECT id, name, count, size, schema FROM namespace WHERE name = ?", (name,)
        )
        return _namespace(found[0]) if found else None

    def namespaces(self, prefix: str = "", after: str = "", limit: int = -1) -> list[Namespace]:
        """Namespaces by name in byte order, behind `after`; `limit` -1: all."""
        found = self._read(
            "SELECT id, name, count, size, schema FROM namespace "
            "WHERE name > ? AND name >= ? AND name < ? ORDER BY name LIMIT ?",
            (after, prefix, prefix + LAST_CHARACTER, limit),
        )
        return [_namespace(row) for row in found]

    def count_namespaces(self, prefix: str = "") -> int:
        """How many namespaces have names that start with `prefix`."""
        sql = "SELECT count(*) FROM namespace WHERE name >= ? AND name < ?"
        return int(self._read(sql, (prefix, prefix + LAST_CHARACTER))[0][0])

    def totals(self) -> tuple[int, int]:
        """Vectors and their bytes, over all namespaces."""
        count, size = self._read(
            "SELECT ifnull(sum(count), 0), ifnull(sum(size), 0) FROM namespace"
        )[0]
        return int(count), int(size)

    def fetch(self, namespace: int, ids: Sequence[str]) -> list[StoredRow]:
        """The rows of those ids that exist, in no particular order."""
        found = self._read(
            "SELECT * FROM vector WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))",
            (namespace, json.dumps(list(ids))),
        )
        return [stored_row(row) for row in found]

    def by_pks(self, pks: Sequence[int]) -> list[StoredRow]:
        """The rows of those keys that exist, in ascending order of key."""
        with self._read_lock:
            return rows_by_pk(self._reader, pks)

    def list_ids(self, namespace: int, prefix: str, after: str, limit: int) -> list[str]:
        """At most `limit` ids in byte order that start with `prefix` and come behind `after`."""
        found = self._read(
            "SELECT id FROM vector WHERE namespace = ? AND id > ? AND id >= ? AND id < ? ORDER BY"
            " id LIMIT ?",
            (namespace, after, prefix, prefix + LAST_CHARACTER, limit),
        )
        return [id for (id,) in found]

    def changed_after(self, seq: int, limit: int) -> list[StoredRow]:
        """At most `limit` rows last changed after `seq`, oldest change first."""
        found = self._read("SELECT * FROM vector WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [stored_row(row) for row in found]


def _namespace(row: Sequence[Any]) -> Namespace:
    id, name, count, size, schema = row
    return Namespace(id, name, count, size, None if schema is None else tuple(json.loads(schema)))

"""What one transaction on the record adds: rows, sequence numbers, metadata fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any, Final

import orjson

from dataplane.errors import invalid, shown
from dataplane.filters import INDEXED_STRING
from dataplane.limits import MAX_METADATA_BYTES
from dataplane.values import Field, Metadata, MetadataValue, StoredRow

RECOUNT: Final = """UPDATE namespace
    SET count = count + :sign * part.rows, size = size + :sign * part.bytes
    FROM (
        SELECT namespace AS owner, count(*) AS rows, sum(size) AS bytes FROM vector
        WHERE pk IN (SELECT value FROM json_each(:pks)) GROUP BY namespace
    ) AS part
    WHERE namespace.id = part.owner"""
"""Takes some rows out of their namespaces' counts (`sign` -1, before they change) or into them (1,
after it). One statement for all: triggers for each row took a third of an upsert.
"""


class Change:
    """One transaction's sequence numbers and the metadata fields it adds."""

    def __init__(self, connection: Any, seq: int, fields: dict[str, Field]) -> None:
        self._connection = connection
        self._before = seq
        self.seq = seq
        self.fields = fields
        self._last_field = len(fields)  # ids have no gaps: fields are never removed

    def next_seq(self) -> int:
        """The number of the next row changed."""
        self.seq += 1
        return self.seq

    def write(self, rows: Sequence[StoredRow]) -> None:
        """Insert `rows`, or replace those whose keys exist."""
        self._note_fields(rows)
        pks = json.dumps([row.pk for row in rows])
        self._connection.execute(RECOUNT, {"sign": -1, "pks": pks})
        self._connection.executemany(
            "INSERT INTO vector (pk, namespace, id, seq, metadata, sparse, dense) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (pk) DO UPDATE SET seq = excluded.seq, "
            "metadata = excluded.metadata, sparse = excluded.sparse, dense = excluded.dense",
            [
                (
                    row.pk,
                    row.namespace,
                    row.id,
                    row.seq,
                    encode_metadata(row.metadata),
                    row.sparse and row.sparse.to_bytes(),
                    row.dense and row.dense.tobytes(),
                )
                for row in rows
            ],
        )
        self._connection.execute(RECOUNT, {"sign": 1, "pks": pks})

    def remove(self, pks: Sequence[int]) -> None:
        """Delete the rows of those keys that exist."""
        listed = json.dumps(list(pks))
        self._connection.execute(RECOUNT, {"sign": -1, "pks": listed})
        self._connection.execute(
            "DELETE FROM vector WHERE pk IN (SELECT value FROM json_each(?))", (listed,)
        )

    def _note_fields(self, rows: Sequence[StoredRow]) -> None:
        """Add what `rows` show of metadata fields to the table."""
        fresh: dict[str, Field] = {}
        for row in rows:
            for name, value in (row.metadata or {}).items():
                before = fresh.get(name) or self.fields.get(name)
                if before is None:
                    self._last_field += 1
                field = _widened(before or Field(self._last_field, name), value)
                if field is not before:
                    fresh[name] = field
        if fresh:
            self._connection.executemany(
                "INSERT INTO field (id, name, strings, texts, numbers) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET strings = excluded.strings, "
                "texts = excluded.texts, numbers = excluded.numbers",
                [astuple(field) for field in fresh.values()],
            )
            self.fields = {**self.fields, **fresh}

    def finish(self) -> None:
        """Note the last number used, inside the transaction."""
        if self.seq != self._before:
            self._connection.execute(
                "UPDATE property SET value = ? WHERE name = 'seq'", (str(self.seq),)
            )


def _widened(field: Field, value: MetadataValue) -> Field:
    """`field` with the kinds of `value` among its own; the same object where they are already."""
    if isinstance(value, list):
        for item in value:
            field = _widened(field, item)
        return field
    if isinstance(value, float):
        return field if field.numbers else replace(field, numbers=True)
    if isinstance(value, bool) or len(value) <= INDEXED_STRING:
        return field if field.strings else replace(field, strings=True)
    return field if field.texts else replace(field, texts=True)


def encode_metadata(metadata: Metadata | None) -> str | None:
    """The JSON that is stored, and whose UTF-8 bytes the size limit counts; None for none."""
    return orjson.dumps(metadata).decode() if metadata else None


def merged(row: StoredRow, metadata: Metadata | None) -> Metadata | None:
    """A row's metadata with `metadata` laid over it.

    Raises:
        Refusal: INVALID_ARGUMENT, it would exceed the size limit.
    """
    if not metadata:
        return row.metadata
    result = {**(row.metadata or {}), **metadata}
    size = len((encode_metadata(result) or "").encode())
    if size > MAX_METADATA_BYTES:
        raise invalid(
            f"Metadata of vector {shown(row.id)} would take {size} bytes, the limit is"
            f" {MAX_METADATA_BYTES}; keep large texts elsewhere and store a reference."
        )
    return result

"""The record's file: how servers and builders open it and read rows from it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from sqlcipher3 import dbapi2 as sqlcipher

from dataplane.schema import PRAGMAS
from dataplane.values import Field, SparseVector, StoredRow

KEY_BYTES: Final = 32


class RecordError(Exception):
    """The file can't be opened as this deployment's record; the message says why and what to do."""


def connect(path: Path, key: bytes, *, readonly: bool = False) -> Any:
    """A connection in autocommit mode, its key set but not yet tried. `key`: 32 bytes."""
    if len(key) != KEY_BYTES:
        raise RecordError(f"{path}: the data key has {len(key)} bytes; AES-256 takes {KEY_BYTES}.")
    connection = sqlcipher.connect(
        f"{path.as_uri()}?mode={'ro' if readonly else 'rwc'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10,
    )
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


@contextmanager
def atomic(connection: Any) -> Iterator[None]:
    """One write transaction: all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def read_fields(connection: Any) -> list[Field]:
    """All fields, oldest first."""
    found = connection.execute("SELECT id, name, strings, texts, numbers FROM field ORDER BY id")
    return [Field(id, name, *map(bool, kinds)) for id, name, *kinds in found]


def read_rows(connection: Any) -> Iterator[StoredRow]:
    """Every row, in ascending order of key."""
    return map(stored_row, connection.execute("SELECT * FROM vector ORDER BY pk"))


def read_seq(connection: Any) -> int:
    """Sequence number of the last change that this connection sees."""
    return int(connection.execute("SELECT value FROM property WHERE name = 'seq'").fetchone()[0])


def rows_by_pk(connection: Any, pks: Iterable[int]) -> list[StoredRow]:
    """The rows of those keys that exist, in ascending order of key."""
    found = connection.execute(
        "SELECT * FROM vector WHERE pk IN (SELECT value FROM json_each(?)) ORDER BY pk",
        (json.dumps(list(pks)),),
    )
    return [stored_row(row) for row in found.fetchall()]


def stored_row(row: Sequence[Any]) -> StoredRow:
    """A row of the table as a value."""
    pk, namespace, id, seq, metadata, sparse, raw, _size = row
    dense = None
    if raw is not None:
        dense = array("f")
        dense.frombytes(raw)
    return StoredRow(
        pk,
        seq,
        namespace,
        id,
        dense,
        None if sparse is None else SparseVector.from_bytes(sparse),
        None if metadata is None else orjson.loads(metadata),
    )

"""Tables of the record. The database itself holds the invariants, except the counts and sizes of
namespaces, which change with their rows in one transaction (`change.Change`).
"""

from __future__ import annotations

from typing import Final

FORMAT: Final = "1"

PRAGMAS: Final = (
    "PRAGMA cipher_log_level = none",  # else a wrong key prints an error of its own on stderr
    "PRAGMA cipher_page_size = 16384",  # against 4096: 1.5 times the write throughput
)
WRITER_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # fsync before a commit returns
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)


TABLES: Final = (
    """CREATE TABLE property (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE namespace (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE CHECK (name <> ''),
        explicit INTEGER NOT NULL CHECK (explicit IN (0, 1)),
        schema TEXT,
        count INTEGER NOT NULL DEFAULT 0 CHECK (count >= 0),
        size INTEGER NOT NULL DEFAULT 0 CHECK (size >= 0)
    )""",
    """CREATE TABLE vector (
        pk INTEGER PRIMARY KEY,
        namespace INTEGER NOT NULL REFERENCES namespace (id),
        id TEXT NOT NULL CHECK (id <> ''),
        seq INTEGER NOT NULL UNIQUE,
        metadata TEXT,
        sparse BLOB,
        dense BLOB,
        size INTEGER NOT NULL GENERATED ALWAYS AS (
            octet_length(id) + ifnull(octet_length(metadata), 0)
            + ifnull(octet_length(sparse), 0) + ifnull(octet_length(dense), 0)
        ) VIRTUAL,
        UNIQUE (namespace, id),
        CHECK (dense IS NOT NULL OR sparse IS NOT NULL)
    )""",
    """CREATE TABLE field (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        strings INTEGER NOT NULL CHECK (strings IN (0, 1)),
        texts INTEGER NOT NULL CHECK (texts IN (0, 1)),
        numbers INTEGER NOT NULL CHECK (numbers IN (0, 1))
    )""",
)

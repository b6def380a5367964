"""Upserts that are safe on the disk when they are acknowledged, against plain SQLite's.

Plain SQLite stores the same rows in one table with the same index, write-ahead log and an fsync
before each commit returns; it neither encrypts nor indexes vectors.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from benchmarks.data import DIMENSION, Data, make
from benchmarks.engines import ram_folder
from benchmarks.measure import Line, Sizes, interleaved, percentile, ratio
from benchmarks.servers import BATCH, TEXT, disk_folder, index_server, vectors
from dataplane.config import Config, filesystem_of
from dataplane.index import VectorIndex
from dataplane.record import Record
from dataplane.values import Metadata, Row
from protos.generated import vector_service_pb2 as pb
from tests.dataplane.support import Client, running_stack

NAMESPACE = "bench"
KEY_BYTES = 32
METADATA: Metadata = {"share": 5.0, "text": TEXT}
Write = Callable[[int], object]
"""Writes batch number n, BATCH rows whose ids no earlier batch had."""


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    data = make(sizes.of(10_000, 2_000), queries=1)
    with ExitStack() as stack:
        folder = stack.enter_context(disk_folder())
        servers = stack.enter_context(running_stack())
        server = stack.enter_context(index_server(servers, folder / "server"))
        sides = {
            "sqlite": _sqlite(folder / "plain.db", data),
            "record": stack.enter_context(_record(folder, data)),
            "index": stack.enter_context(_index(folder, data)),
            "grpc": _grpc(server.client(), data),
        }
        batches = sizes.of(60, 20)
        measured = {name: _p50(write, batches) for name, write in sides.items()}
        p50 = interleaved(measured, sizes.rounds)
        detail: dict[str, float | int | str] = {
            f"{name}_p50_ms": round(statistics.median(all_) * 1e3, 2) for name, all_ in p50.items()
        }
        detail |= {"batch": BATCH, "dimension": DIMENSION, "filesystem": filesystem_of(folder)}
        return [
            ratio(
                "durable upsert of 100 (encrypted record), p50 against plain SQLite",
                p50["record"],
                p50["sqlite"],
                limit=2,
                detail=detail,
            ),
            ratio(
                "the same, searchable too when acknowledged",
                p50["index"],
                p50["sqlite"],
                detail=detail,
            ),
            ratio("the same over gRPC and mutual TLS", p50["grpc"], p50["sqlite"], detail=detail),
        ]


def _p50(write: Write, batches: int) -> Callable[[], float]:
    numbers = count()

    def measure() -> float:
        took = []
        for _ in range(batches):
            number = next(numbers)
            began = time.perf_counter()
            write(number)
            took.append(time.perf_counter() - began)
        return percentile(took, 0.5)

    return measure


def _sqlite(path: Path, data: Data) -> Write:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "pragma journal_mode = wal",
        "pragma synchronous = full",
        "create table record (seq integer primary key, ns text, id text, vec blob, meta text)",
        "create unique index record_id on record (ns, id)",
    ):
        connection.execute(statement)
    upsert = (
        "insert into record (ns, id, vec, meta) values (?, ?, ?, ?)"
        " on conflict (ns, id) do update set vec = excluded.vec, meta = excluded.meta"
    )

    def write(number: int) -> None:
        rows = [(NAMESPACE, row.id, row.dense, json.dumps(row.metadata)) for row in batches(number)]
        connection.execute("begin immediate")
        connection.executemany(upsert, rows)
        connection.execute("commit")

    batches = _batches(data)
    return write


def _batches(data: Data) -> Callable[[int], list[Row]]:
    """Rows of batch n; the vectors come round again, the ids do not."""
    dense = [array("f", vector.tobytes()) for vector in data.vectors]

    def batch(number: int) -> list[Row]:
        first = number * BATCH
        return [
            Row(f"doc{each:08d}", dense[each % len(dense)], None, METADATA)
            for each in range(first, first + BATCH)
        ]

    return batch


def _config(folder: Path, ram: Path) -> Config:
    files = dict.fromkeys(("certificate", "private_key", "trust_bundle", "socket"), folder)
    return Config(
        organization_id="org",
        project_id="project",
        index_id="index",
        deployment_id="deployment",
        trust_domain="tamarack.internal",
        dimension=DIMENSION,
        metric="cosine",
        vector_type="dense",
        listen="127.0.0.1:1",
        record=folder / "record.db",
        ram_dir=ram,
        key_service="unix:/none",
        **files,
    )


@contextmanager
def _record(folder: Path, data: Data) -> Iterator[Write]:
    """The record alone: encryption, counts, and the commit that is synced."""
    home = folder / "record"
    home.mkdir()
    config = _config(home, home)
    record = Record(config.record, os.urandom(KEY_BYTES), config)
    batches = _batches(data)
    try:
        yield lambda number: record.upsert(NAMESPACE, batches(number))
    finally:
        record.close()


@contextmanager
def _index(folder: Path, data: Data) -> Iterator[Write]:
    """Record and engine, as behind the service."""
    home = folder / "index"
    home.mkdir()
    key, ram = os.urandom(KEY_BYTES), ram_folder()
    config = _config(home, ram)
    index = VectorIndex(config, Record(config.record, key, config), key)
    index.start()
    assert index.wait_ready(30)
    batches = _batches(data)
    try:
        yield lambda number: index.upsert(NAMESPACE, batches(number))
    finally:
        index.close()
        shutil.rmtree(ram)


def _grpc(client: Client, data: Data) -> Write:
    """The whole way, as the gateway calls it."""
    numbers = len(data.vectors) // BATCH
    ready = [vectors(data, n * BATCH, (n + 1) * BATCH) for n in range(numbers)]

    def write(number: int) -> None:
        batch = ready[number % numbers]
        for offset, vector in enumerate(batch):
            vector.id = f"doc{number * BATCH + offset:08d}"
        client.call("Upsert", pb.UpsertRequest(vectors=batch, namespace=NAMESPACE))

    return write

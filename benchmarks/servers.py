"""Index servers of the product, as processes, filled with test data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import DIMENSION, Data
from dataplane.config import filesystem_of
from protos.generated import vector_service_pb2 as pb
from tests.dataplane.support import Client, IndexServer, Stack, new_index_server, wait_until

BATCH = 100
ROOT = Path(__file__).parents[1]


@contextmanager
def disk_folder() -> Iterator[Path]:
    """A new folder on a real disk, where an fsync costs what it costs."""
    parent = Path(tempfile.gettempdir())
    if filesystem_of(parent) in {"tmpfs", "ramfs"}:
        parent = ROOT
    folder = Path(tempfile.mkdtemp(prefix="tmrk-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def index_server(stack: Stack, folder: Path) -> Iterator[IndexServer]:
    """A cosine index, started and serving."""
    server = new_index_server(stack, folder, dimension=DIMENSION)
    try:
        yield server.start()
    finally:
        server.stop()


def vectors(data: Data, start: int, stop: int, prefix: str = "doc") -> list[pb.Vector]:
    """Rows of `data` as clients send them, with a number and a text as metadata."""
    found = []
    for number in range(start, stop):
        vector = pb.Vector(id=f"{prefix}{number:08d}", values=data.vectors[number])
        vector.metadata.fields["share"].number_value = int(data.share[number])
        vector.metadata.fields["text"].string_value = TEXT
        found.append(vector)
    return found


TEXT = "lorem ipsum dolor sit amet " * 4


def fill(client: Client, data: Data, count: int) -> None:
    """Upsert the first `count` rows."""
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        client.call("Upsert", pb.UpsertRequest(vectors=vectors(data, start, stop)))


def rebuilt(server: IndexServer, seconds: float) -> None:
    """Start it again and wait until one build holds everything.

    While it was being filled it built when it had doubled, and left the last few percent for later.
    """
    server.stop()
    before = builds(server)
    server.start()
    wait_until(lambda: builds(server) > before, "the index has been built", seconds)


def builds(server: IndexServer) -> int:
    """How many times it has built its index so far."""
    return sum(str(line["message"]).startswith("built ") for line in server.log_lines())

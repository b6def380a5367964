"""Queries while a real index server rebuilds its index in the background and changes over to it."""

from __future__ import annotations

import threading
import time
from array import array
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path

from benchmarks.data import TOP, Data, make
from benchmarks.measure import Line, Sizes, percentile
from benchmarks.servers import BATCH, builds, disk_folder, fill, index_server, rebuilt, vectors
from protos.generated import vector_service_pb2 as pb
from tests.dataplane.support import Client, IndexServer, running_stack

BUILD_SECONDS = 240.0
AFTER_SECONDS = 3.0
WRITE_PAUSE, ROWS_A_WRITE = 0.2, 10
GROWTH = 0.1
"""More than the share of new vectors at which a quiet index is rebuilt."""
SPARE = 10_000
"""Rows to write during the build."""


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    count = sizes.of(100_000, 30_000)
    grown = round(count * (1 + GROWTH))
    data = make(grown + SPARE)
    with ExitStack() as stack:
        servers = stack.enter_context(running_stack())
        server = stack.enter_context(index_server(servers, stack.enter_context(disk_folder())))
        fill(server.client(), data, count)
        rebuilt(server, BUILD_SECONDS)
        client, before = server.client(), builds(server)
        queries = Queries(client, data)
        queries.ask_for(sizes.of(10, 3))
        idle, queries.seconds = queries.seconds, []
        for start in range(count, grown, BATCH):
            client.call("Upsert", pb.UpsertRequest(vectors=vectors(data, start, start + BATCH)))
        written = Writes(server, data, grown)
        written.start()
        began = time.monotonic()
        while builds(server) == before:
            queries.ask_for(0.2)
            assert time.monotonic() - began < BUILD_SECONDS, "the index was not built in time"
        queries.ask_for(AFTER_SECONDS)
        written.end()
        return [_line(idle, queries.seconds, written, grown)]


class Queries:
    """One client that queries without pause; `seconds` of every call."""

    def __init__(self, client: Client, data: Data) -> None:
        """Over `client`."""
        self._client = client
        self._requests = cycle(
            [
                pb.QueryRequest(vector=array("f", query.tobytes()), top_k=TOP)
                for query in data.queries
            ]
        )
        self.seconds: list[float] = []

    def ask_for(self, seconds: float) -> None:
        """Ask for so long."""
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            found = self._client.call("Query", next(self._requests))
            self.seconds.append(time.perf_counter() - began)
            assert len(found.matches) == TOP


class Writes(threading.Thread):
    """Another client that writes a little from when the build has begun, to be replayed into it."""

    def __init__(self, server: IndexServer, data: Data, first: int) -> None:
        """Rows of `data` from `first` on."""
        super().__init__(daemon=True)
        self._server, self._data, self._first = server, data, first
        self._ended = threading.Event()
        self.rows = 0

    def run(self) -> None:
        """Wait for the builder process, then write until the end."""
        assert self._server.process is not None
        while not _children(self._server.process.pid) and not self._ended.wait(0.05):
            pass
        client = self._server.client()
        while not self._ended.wait(WRITE_PAUSE) and self.rows + ROWS_A_WRITE <= SPARE:
            start = self._first + self.rows
            rows = vectors(self._data, start, start + ROWS_A_WRITE)
            client.call("Upsert", pb.UpsertRequest(vectors=rows))
            self.rows += ROWS_A_WRITE

    def end(self) -> None:
        """Stop, and see that it did write."""
        self._ended.set()
        self.join()
        assert self.rows, "nothing was written during the build"


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def _line(idle: list[float], took: list[float], written: Writes, count: int) -> Line:
    return Line(
        "worst query while the index is rebuilt",
        max(took) * 1e3,
        "ms",
        limit=100,
        detail={
            "vectors": count,
            "rows_written_meanwhile": written.rows,
            "queries": len(took),
            "p50_ms": round(percentile(took, 0.5) * 1e3, 2),
            "p99_ms": round(percentile(took, 0.99) * 1e3, 2),
            "idle_p50_ms": round(percentile(idle, 0.5) * 1e3, 2),
            "idle_p99_ms": round(percentile(idle, 0.99) * 1e3, 2),
            "idle_worst_ms": round(max(idle) * 1e3, 2),
        },
    )

"""The overview of an organization that has 1,000 indexes, against one that has 10.

Each size has a database (SQLite) and a process of its own. Measured is the whole path of a request
in process, from the session to the page.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

from benchmarks.measure import Line, Sizes, interleaved, percentile, ratio

FEW, MANY, MANY_QUICK = 10, 1_000, 200


def run(sizes: Sizes) -> list[Line]:
    """The line of this benchmark."""
    many = sizes.of(MANY, MANY_QUICK)
    requests = sizes.of(60, 20)
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(_site(count))
            for name, count in (("few", FEW), ("many", many))
        }
        found = interleaved(
            {name: lambda pipe=pipe: _slowest(pipe, requests) for name, pipe in sides.items()},  # type: ignore[misc]
            sizes.rounds,
        )
    detail = {
        f"{name}_ms": round(1000 * percentile(times, 0.5), 2) for name, times in found.items()
    }
    return [
        ratio(
            f"overview of an organization, p95 with {many:,} indexes against {FEW}",
            found["many"],
            found["few"],
            limit=1.5,
            detail=detail,
        )
    ]


def _slowest(pipe: Connection, requests: int) -> float:
    """Seconds that 95 of 100 requests do not exceed."""
    pipe.send(requests)
    answer: float = pipe.recv()
    return answer


@contextmanager
def _site(indexes: int) -> Iterator[Connection]:
    """A process that answers for an organization of that size."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as home:
        process = context.Process(target=_serve, args=(theirs, indexes, home), daemon=True)
        process.start()
        theirs.close()  # so that a process that ends ends the waiting for it
        try:
            ours.recv()
            yield ours
        finally:
            process.kill()
            process.join()


def _serve(pipe: Connection, indexes: int, home: str) -> None:
    """Fill the database, say so, then answer as long as somebody asks."""
    os.environ.update(DJANGO_SETTINGS_MODULE="tests.settings", TAMARACK_HOME=home)
    os.environ.pop("DATABASE_URL", None)
    from benchmarks import overview_rows  # noqa: PLC0415  settings have to be named first

    filled = overview_rows.fill(indexes)
    pipe.send("ready")
    while True:
        times = []
        for _ in range(pipe.recv()):
            began = time.perf_counter()
            answer = filled.browser.get(filled.path)
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.content[:300]
        pipe.send(percentile(times, 0.95))

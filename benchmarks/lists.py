"""Pages of the Admin API's lists where an organization has 100,000 rows, against one that has 100.

Each size has a database and a process of its own, so that a query which reads more than it has to
is slow with the many rows and fast with the few. Asked for are pages of 100 rows out of the whole
length of the list. On SQLite, and on PostgreSQL too where DATABASE_URL is set.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks.measure import Line, Sizes, interleaved, percentile, ratio

if TYPE_CHECKING:
    from django.test import Client

    from benchmarks.list_rows import Filled

FEW, MANY, MANY_QUICK = 100, 100_000, 2_000
PAGE = 100
KEPT = 40
"""Pages of a list that are asked for again and again, spread over its length."""
LISTS = {
    "projects": "/admin/projects",
    "API keys": "/admin/projects/{project}/api-keys",
    "role bindings": "/admin/role-bindings",
    "audit events": "/admin/audit/events",
}


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    lines = _measured("SQLite", "", sizes)
    url = os.environ.get("DATABASE_URL", "")
    return lines + (_measured("PostgreSQL", url, sizes) if url else [])


def _measured(name: str, url: str, sizes: Sizes) -> list[Line]:
    with ExitStack() as stack:
        few = stack.enter_context(_platform(FEW, url))
        many = stack.enter_context(_platform(sizes.of(MANY, MANY_QUICK), url))
        lines = []
        for title in LISTS:
            found = interleaved(
                {
                    "few": lambda title=title: few.slowest(title, sizes.of(60, 40)),  # type: ignore[misc]
                    "many": lambda title=title: many.slowest(title, sizes.of(60, 40)),  # type: ignore[misc]
                },
                sizes.rounds,
            )
            lines.append(
                ratio(
                    f"list of {title}, {name}, p95 with {sizes.of(MANY, MANY_QUICK):,} rows"
                    f" against {FEW}",
                    found["many"],
                    found["few"],
                    limit=1.5,
                    detail={
                        f"{side}_ms": round(1000 * percentile(times, 0.5), 2)
                        for side, times in found.items()
                    },
                )
            )
        return lines


class Platform:
    """The process that answers for one size."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def slowest(self, title: str, requests: int) -> float:
        """Seconds that 95 of 100 requests for a page of the list do not exceed."""
        self._pipe.send((title, requests))
        answer: float = self._pipe.recv()
        return answer


@contextmanager
def _platform(rows: int, url: str) -> Iterator[Platform]:
    """A process with a database that holds `rows` rows of everything."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with _database(url, rows) as own, tempfile.TemporaryDirectory() as home:
        process = context.Process(target=_serve, args=(theirs, rows, home, own), daemon=True)
        process.start()
        theirs.close()  # so that a process that ends ends the waiting for it
        try:
            ours.recv()
            yield Platform(ours)
        finally:
            process.kill()
            process.join()


@contextmanager
def _database(url: str, rows: int) -> Iterator[str]:
    """The address of a new database on the server at `url`; empty for SQLite."""
    if not url:
        yield ""
        return
    import psycopg  # noqa: PLC0415  needed for PostgreSQL only

    parts = urlsplit(url)
    name = f"bench_lists_{rows}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(parts._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _serve(pipe: Connection, rows: int, home: str, url: str) -> None:
    """Fill the database, say so, then answer as long as somebody asks."""
    os.environ.update(
        DJANGO_SETTINGS_MODULE="controlplane.settings",
        TAMARACK_HOME=home,
        TAMARACK_API_RATE="1000000",
    )
    os.environ.pop("DATABASE_URL", None)
    if url:
        os.environ["DATABASE_URL"] = url
    from benchmarks import list_rows  # noqa: PLC0415  settings have to be named first

    filled = list_rows.fill(rows)
    pages = {title: _pages(filled, path) for title, path in LISTS.items()}
    pipe.send("ready")
    while True:
        title, requests = pipe.recv()
        choice = random.Random(title)  # noqa: S311  no secret
        times = [_get(filled.client, choice.choice(pages[title]))[0] for _ in range(requests)]
        pipe.send(percentile(times, 0.95))


def _pages(filled: Filled, path: str) -> list[str]:
    """The addresses of about KEPT pages of the list, evenly spread over all that are full."""
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        address = f"{path.format(project=filled.project_id)}?limit={PAGE}"
        if token:
            address += f"&paginationToken={token}"
        _, body = _get(filled.client, address)
        if len(body["data"]) == PAGE:
            found.append(address)
        token = body["pagination"] and body["pagination"]["next"]
    return found[:: max(1, len(found) // KEPT)]


def _get(client: Client, address: str) -> tuple[float, Any]:
    """Seconds until the answer was there, and its body."""
    began = time.perf_counter()
    answer = client.get(address)
    elapsed = time.perf_counter() - began
    assert answer.status_code == 200, (address, answer.status_code, answer.content[:300])
    return elapsed, answer.json()

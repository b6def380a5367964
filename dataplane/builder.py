"""The child process that turns a record into a searchable shard, so that the serving process never
stands still.

    python -m dataplane.builder        an order as one JSON line on stdin, a report as one JSON line
        on stdout

It opens the record read-only, in one transaction, and dies with the process that started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from dataplane.config import Metric
from dataplane.engine import EdgeIndex, Space
from dataplane.hardening import die_with_parent, harden
from dataplane.recordfile import connect, read_fields, read_rows, read_seq
from dataplane.values import Field

NICENESS: Final = 10
BATCH: Final = 1_000


class BuildError(Exception):
    """The child ended without a shard; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. `folder` must not exist; `threads` build the graph."""

    parent: int
    record: str
    key: str
    folder: str
    dimension: int | None
    metric: Metric
    threads: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was built: a snapshot of the record after change `seq`."""

    seq: int
    count: int
    namespaces: list[int]
    fields: list[Field]


def build(order: Order) -> Report:
    """Build the shard in this process."""
    connection = connect(Path(order.record), bytes.fromhex(order.key), readonly=True)
    connection.execute("BEGIN")
    seq = read_seq(connection)
    fields = read_fields(connection)
    index = EdgeIndex.create(
        Path(order.folder),
        Space(order.dimension, order.metric),
        {field.name: field for field in fields},
        order.threads,
    )
    rows, count = read_rows(connection), 0
    while batch := list(islice(rows, BATCH)):
        index.apply(batch, [])
        count += len(batch)
    connection.close()
    index.optimize()
    return Report(seq, count, sorted(index.namespaces), fields)


def run(order: Order, stopping: Callable[[], bool]) -> Report | None:
    """Have a child build; None where `stopping` said so before it was done.

    Raises:
        BuildError: the child failed.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "dataplane.builder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[
            1
        ],  # where this package is found, whatever the server's own folder is
    ) as child:
        text: str | None = json.dumps(
            asdict(order)
        )  # over a pipe: a key is no argument and no variable
        while True:
            try:
                out, err = child.communicate(text, timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                text = None
                if stopping():
                    child.kill()
    if stopping():
        return None
    if child.returncode != 0:
        raise BuildError(f"exit status {child.returncode}: {err.strip()[-500:]}")
    raw = json.loads(out)
    return Report(
        raw["seq"], raw["count"], raw["namespaces"], [Field(**field) for field in raw["fields"]]
    )


def main() -> int:
    """Carry out the order on stdin."""
    harden()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the server blocks what it listens for
    order = Order(**json.loads(sys.stdin.read()))
    die_with_parent(order.parent)
    os.nice(NICENESS)
    report = build(order)
    sys.stdout.write(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

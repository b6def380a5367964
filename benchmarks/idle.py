"""What an index server costs that nobody asks anything: memory, and time until it serves."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.data import DIMENSION
from benchmarks.measure import Line, Sizes
from benchmarks.servers import disk_folder
from tests.dataplane.support import new_index_server, running_stack

QUIET_SECONDS = 3.0
START_SECONDS = 30.0


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    ready: list[float] = []
    memory: dict[str, list[float]] = {}
    with ExitStack() as stack:
        servers = stack.enter_context(running_stack())
        folder = stack.enter_context(disk_folder())
        for number in range(sizes.rounds):
            server = new_index_server(servers, folder / str(number), dimension=DIMENSION)
            began = time.perf_counter()
            process = server.spawn()
            _wait_for(server.log, b'"serving deployment ', began + START_SECONDS)
            ready.append(time.perf_counter() - began)
            assert server.health() == 1, "it said that it serves"
            assert server.client().stats().dimension == DIMENSION
            time.sleep(QUIET_SECONDS)
            for name, value in _memory(process.pid).items():
                memory.setdefault(name, []).append(value)
            server.stop()
    megabytes = {name: statistics.median(values) for name, values in memory.items()}
    resident = memory["Rss"]
    return [
        Line(
            "idle index server, resident memory",
            megabytes["Rss"],
            "MB",
            min(resident),
            max(resident),
            limit=60,
            detail={name: round(value, 1) for name, value in megabytes.items()},
        ),
        Line(
            "index server ready after its start",
            statistics.median(ready),
            "s",
            min(ready),
            max(ready),
            limit=0.5,
        ),
    ]


def _wait_for(log: Path, words: bytes, deadline: float) -> None:
    while words not in log.read_bytes():
        assert time.perf_counter() < deadline, log.read_text()
        time.sleep(0.002)


def _memory(pid: int) -> dict[str, float]:
    """MB (10^6 bytes): `Rss`, and where the kernel tells, `Pss` and `Uss` (private pages)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            found = {"Rss": int(line.split()[1]) * 1024 / 1e6}
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:  # the process hides its memory from everybody but root
        return found
    pages = {
        name: int(rest.split()[0]) * 1024 / 1e6
        for line in rollup.splitlines()[1:]
        for name, _, rest in [line.partition(":")]
    }
    return found | {"Pss": pages["Pss"], "Uss": pages["Private_Clean"] + pages["Private_Dirty"]}

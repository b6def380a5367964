"""Measures the budgets and says which are kept: `python -m benchmarks [NAME ...] [--quick]`.

Exit status: 0 where every budget measured is kept, 1 where one is missed or could not be measured.
Each benchmark runs in a process of its own. The results are also written as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Line, machine
from benchmarks.runner import run_alone

RESULTS = Path(__file__).parent / "results"
BENCHMARKS = {
    "search": "in-process queries against hnswlib and pgvector, recall under filters",
    "wrapper": "queries over gRPC against queries in process",
    "writes": "acknowledged upserts against plain SQLite",
    "rebuild": "the longest wait of a query while the index is rebuilt",
    "idle": "memory and start of an index server without work",
    "gateway": "authenticated calls through Envoy against the same Envoy without authentication",
    "keys": "checking an API key against SHA-256 and a dictionary",
    "permissions": "a permission check against pycasbin",
    "lists": "lists of the Admin API with 100,000 rows against lists with 100",
    "overview": "the page of an organization with 1,000 indexes against one with 10",
    "platform": "from POST /indexes to Ready; from a key's revocation to its refusal",
}


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(line: Line) -> tuple[str, str, str, str, str]:
    """The line's cells."""
    unit = "" if line.unit == "x" else f" {line.unit}"
    spread = (
        "" if line.low is None or line.high is None else f"{number(line.low)}-{number(line.high)}"
    )
    budget = "" if line.limit is None else f"{'≥' if line.at_least else '≤'} {line.limit:g}{unit}"
    verdict = {True: "pass", False: "MISSED", None: ""}[line.passed]
    return line.what, f"{number(line.value)}{unit}", spread, budget, verdict


def show(lines: Sequence[Line]) -> None:
    """Print the table."""
    rows = [("what", "measured", "range", "budget", ""), *map(row, lines)]
    widths = [max(len(each[column]) for each in rows) for column in range(5)]
    for each in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(each, widths, strict=True)).rstrip()
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the performance budgets.",
        epilog="\n".join(f"  {name:10}{what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the benchmarks themselves"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    facts = machine()
    print(
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']},"
        f" load {facts['load_before']:.2f}\n"
    )
    lines: list[Line] = []
    seconds: dict[str, float] = {}
    problems: dict[str, str] = {}
    for name in options.names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name]} …", file=sys.stderr, flush=True)
        found, seconds[name], problem = run_alone(name, options.quick)
        lines += found
        if problem:
            problems[name] = problem
            print(problem, file=sys.stderr)
    show(lines)
    missed = [line.what for line in lines if line.passed is False]
    report = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": {**facts, "load_after": os.getloadavg()[0]},
        "seconds": seconds,
        "lines": [{**asdict(line), "passed": line.passed} for line in lines],
        "problems": problems,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    measured = sum(line.passed is not None for line in lines)
    print(f"\n{measured - len(missed)} of {measured} budgets kept; {path.relative_to(Path.cwd())}")
    for name in problems:
        print(f"{name} could not be measured; the reason is above.")
    if options.quick:
        print("A quick run: the sizes are too small for its numbers to mean much.")
    return 1 if missed or problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Queries in process: speed at equal recall, and recall under filters."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from google.protobuf.struct_pb2 import Struct

from benchmarks.data import Data, make, recall
from benchmarks.engines import Hnswlib, Ours, Pgvector
from benchmarks.measure import Line, Sizes, interleaved, ratio
from dataplane import filters
from dataplane.engine import EFFORT

RECALL = 0.95
FILTERED_RECALL = 0.98
WIDTHS = (16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256)


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    data = make(sizes.of(100_000, 40_000))
    exact = data.nearest()
    lines: list[Line] = []
    with ExitStack() as stack:
        ours = Ours(data)
        stack.callback(ours.close)
        hnswlib = Hnswlib(data)
        postgres = Pgvector(data)
        stack.callback(postgres.close)
        lines += _speed(ours, hnswlib, postgres, exact, sizes)
        lines += _filters(ours, data)
    return lines


def _speed(
    ours: Ours, hnswlib: Hnswlib, postgres: Pgvector, exact: list[set[int]], sizes: Sizes
) -> list[Line]:
    detail: dict[str, float | int | str] = {}
    for name, engine in (("ours", ours), ("hnswlib", hnswlib), ("pgvector", postgres)):
        width, reached = _narrowest(engine, exact, RECALL)
        detail |= {f"{name}_ef": width, f"{name}_recall": round(reached, 4)}
    sides = {
        "ours": _rate(ours.run, len(exact)),
        "hnswlib": _rate(hnswlib.run, len(exact)),
        "pgvector": _rate(postgres.run, len(exact)),
    }
    found = interleaved(sides, sizes.rounds)
    detail |= {f"{name}_qps": round(statistics.median(rates)) for name, rates in found.items()}
    return [
        ratio(
            "query in process, recall@10 ≥ .95, against hnswlib",
            found["ours"],
            found["hnswlib"],
            limit=0.8,
            at_least=True,
            detail=detail,
        ),
        ratio(
            "the same against pgvector",
            found["ours"],
            found["pgvector"],
            limit=9,
            at_least=True,
            detail=detail,
        ),
        _as_served(ours, hnswlib, exact, sizes),
    ]


def _as_served(ours: Ours, hnswlib: Hnswlib, exact: list[set[int]], sizes: Sizes) -> Line:
    """Indexes search wider than the budget's recall asks for: what hnswlib makes of that recall."""
    ours.set_width(EFFORT)
    reached = recall(ours.run(), exact)
    width, rival = _narrowest(hnswlib, exact, reached - 0.0005)
    found = interleaved(
        {"ours": _rate(ours.run, len(exact)), "hnswlib": _rate(hnswlib.run, len(exact))},
        sizes.rounds,
    )
    return ratio(
        "the same as served by default, against hnswlib at that recall",
        found["ours"],
        found["hnswlib"],
        detail={
            "ours_ef": EFFORT,
            "ours_recall": round(reached, 4),
            "hnswlib_ef": width,
            "hnswlib_recall": round(rival, 4),
            **{f"{name}_qps": round(statistics.median(rates)) for name, rates in found.items()},
        },
    )


def _narrowest(engine: Any, exact: list[set[int]], wanted: float) -> tuple[int, float]:
    """The smallest width whose recall is `wanted`, left set, and that recall."""
    reached = 0.0
    for width in WIDTHS:
        engine.set_width(width)
        reached = recall(engine.run(), exact)
        if reached >= wanted:
            return width, reached
    raise AssertionError(f"recall {reached:.4f} at width {WIDTHS[-1]}, wanted {wanted:.4f}")


def _rate(answer_all: Callable[[], object], count: int) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        answer_all()
        return count / (time.perf_counter() - began)

    return measure


def _filters(ours: Ours, data: Data) -> list[Line]:
    """Recall and median time of the filters, searched as the server does by default."""
    cases = {
        "1 %": ({"share": {"$lt": 1}}, data.share < 1),
        "10 %": ({"share": {"$lt": 10}}, data.share < 10),
        "50 %": ({"share": {"$lt": 50}}, data.share < 50),
        "correlated 10 %": ({"cluster": {"$eq": 3}}, data.cluster % 10 == 3),
        "correlated 50 %": ({"cluster": {"$lt": 5}}, data.cluster % 10 < 5),
    }
    lines = []
    for name, (condition, mask) in cases.items():
        message = Struct()
        message.update(condition)
        searches = ours.searches(filters.parse(message))
        took = []
        found = []
        for search in searches:
            began = time.perf_counter()
            found += ours.answers([search])
            took.append(time.perf_counter() - began)
        lines.append(
            Line(
                f"recall@10 under a filter, {name}",
                recall(found, data.nearest(mask)),
                limit=FILTERED_RECALL,
                at_least=True,
                detail={
                    "p50_ms": round(statistics.median(took) * 1e3, 3),
                    "matching": int(mask.sum()),
                },
            )
        )
    return lines

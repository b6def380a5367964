"""What the server must answer, in plain Python: filters and scores by their definition."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any


def matches(condition: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a record with `metadata` passes a Pinecone filter."""
    for key, value in condition.items():
        if key == "$and":
            passed = all(matches(part, metadata) for part in value)
        elif key == "$or":
            passed = any(matches(part, metadata) for part in value)
        elif isinstance(value, dict):
            passed = all(
                _holds(metadata.get(key), name, operand) for name, operand in value.items()
            )
        else:
            passed = _holds(metadata.get(key), "$eq", value)
        if not passed:
            return False
    return True


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _holds(found: Any, name: str, operand: Any) -> bool:
    if name == "$exists":
        return (found is not None) is operand
    if name in {"$ne", "$nin"}:
        return not _holds(found, "$eq" if name == "$ne" else "$in", operand)
    if name == "$in":
        return any(_same(found, each) for each in operand)
    if name == "$eq":
        return _same(found, operand)
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return is_number and COMPARISONS[name](found, operand)


def _same(found: Any, operand: Any) -> bool:
    if isinstance(found, list):
        return operand in found
    if isinstance(found, bool) or isinstance(operand, bool):
        return found is operand
    if isinstance(found, str) or isinstance(operand, str):
        return isinstance(found, str) and found == operand
    return found is not None and found == operand


def score(metric: str, a: list[float], b: list[float]) -> float:
    """Pinecone's score: larger is nearer, except euclidean, which is the squared distance."""
    product = sum(x * y for x, y in zip(a, b, strict=True))
    if metric == "dotproduct":
        return product
    if metric == "cosine":
        return product / (math.hypot(*a) * math.hypot(*b))
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def nearest(metric: str, query: list[float], rows: dict[str, list[float]]) -> list[str]:
    """Ids, nearest first."""
    scored = ((score(metric, query, values), id) for id, values in rows.items())
    return [id for _, id in sorted(scored, reverse=metric != "euclidean")]

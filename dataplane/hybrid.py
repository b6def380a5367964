"""Dense and sparse together: the rows with the largest sum of both products.

Neither list alone holds the winners, so both are widened until no row outside them can win (the
threshold algorithm of Fagin, Lotem and Naor): a row in neither list scores at most the last score
of each.
"""

from __future__ import annotations

from array import array
from typing import Final

from dataplane.engine import Ann, Hit, Search
from dataplane.filters import Node
from dataplane.values import SparseVector

FIRST_WIDTH: Final = 100
LAST_WIDTH: Final = 20_000
"""Where widening ends, at the cost of exactness: twice the most that can be asked for."""


def query(
    ann: Ann,
    namespace: int,
    dense: array[float],
    sparse: SparseVector,
    condition: Node | None,
    limit: int,
    effort: float,
) -> list[Hit]:
    """The `limit` best rows by dense product plus sparse product; rows without a sparse match count
    0 for it.
    """
    width = max(FIRST_WIDTH, 2 * limit)
    while True:
        by_dense = ann.query(Search(dense, namespace, condition, width, effort))
        by_sparse = ann.query(Search(sparse, namespace, condition, width, effort))
        best = _summed(ann, namespace, dense, sparse, by_dense, by_sparse)[:limit]
        if len(by_dense) < width or width >= LAST_WIDTH:
            return best
        unseen_sparse = by_sparse[-1].score if len(by_sparse) == width else 0.0
        unseen = by_dense[-1].score + max(0.0, unseen_sparse)
        if len(best) == limit and best[-1].score >= unseen:
            return best
        width = min(4 * width, LAST_WIDTH)


def _summed(
    ann: Ann,
    namespace: int,
    dense: array[float],
    sparse: SparseVector,
    by_dense: list[Hit],
    by_sparse: list[Hit],
) -> list[Hit]:
    """The union of both lists with full scores, best first; equal scores in order of insertion."""
    rows = {hit.pk: hit for hit in (*by_dense, *by_sparse)}
    products = {hit.pk: hit.score for hit in by_dense}
    overlaps = {hit.pk: hit.score for hit in by_sparse}
    if lacking := frozenset(rows.keys() - products.keys()):
        found = ann.query(Search(dense, namespace, None, len(lacking), only=lacking))
        products.update((hit.pk, hit.score) for hit in found)
    if lacking := frozenset(rows.keys() - overlaps.keys()):
        found = ann.query(Search(sparse, namespace, None, len(lacking), only=lacking))
        overlaps.update((hit.pk, hit.score) for hit in found)
    summed = [
        Hit(pk, hit.id, products.get(pk, 0.0) + overlaps.get(pk, 0.0)) for pk, hit in rows.items()
    ]
    return sorted(summed, key=lambda hit: (-hit.score, hit.pk))

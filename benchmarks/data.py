# mypy: disable-error-code="import-not-found"
# numpy is installed for the benchmarks only, not where the types are checked.
"""Clustered test vectors with exact answers: a Gaussian mixture with clusters of Zipf's sizes.

The correlated filter takes whole clusters: it is the one that breaks graph indexes, and that a
uniform filter alone does not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

DIMENSION = 384
TOP = 10
CLUSTERS, LATENT = 500, 48


@dataclass(frozen=True)
class Data:
    """`vectors` (n, 384) and `queries` (m, 384): unit float32. `share` (n): uniform integers 0-99.
    `cluster` (n): of each vector.
    """

    vectors: Any
    queries: Any
    share: Any
    cluster: Any

    def nearest(self, mask: Any = None) -> list[set[int]]:
        """Of each query the exact TOP by inner product, among the rows of `mask`."""
        rows = np.arange(len(self.vectors)) if mask is None else np.nonzero(mask)[0]
        scores = self.queries @ self.vectors[rows].T
        best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        return [set(rows[found].tolist()) for found in best]


def make(count: int, queries: int = 500, seed: int = 7) -> Data:
    """The same data for the same arguments."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, CLUSTERS + 1) ** 0.7
    weights /= weights.sum()
    centres = random.normal(size=(CLUSTERS, LATENT))
    spectrum = 1 / np.sqrt(np.arange(1, LATENT + 1))
    spread = random.normal(size=(LATENT, DIMENSION)) * spectrum[:, None]

    def draw(number: int) -> tuple[Any, Any]:
        cluster = random.choice(CLUSTERS, size=number, p=weights)
        latent = centres[cluster] + 0.55 * random.normal(size=(number, LATENT))
        points = latent @ spread + 0.15 * random.normal(size=(number, DIMENSION))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return points.astype(np.float32), cluster

    vectors, cluster = draw(count)
    wanted, _ = draw(queries)
    return Data(vectors, wanted, random.integers(0, 100, size=count), cluster)


def recall(found: list[list[int]], exact: list[set[int]]) -> float:
    """The share of the exact answers that were found, 0-1."""
    hits = sum(len(expected.intersection(ids)) for ids, expected in zip(found, exact, strict=True))
    return hits / (TOP * len(exact))

"""The search index in memory: a Qdrant Edge shard on tmpfs. It is disposable; the record is what
lasts.

What the engine can't be trusted with stays outside it: original values (it normalises under
cosine), string ids and their order, booleans, and durability (it never syncs). Points carry the
record's integer key and the encoded metadata of `filters.payload`; ids lie beside the shard, where
they are read faster. Every call holds the interpreter lock from start to end, so calls exclude each
other without a lock of ours, work is done in small steps, and building a graph is another process's
job.
"""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

import qdrant_edge as qe

from dataplane import filters
from dataplane.config import Metric
from dataplane.identifiers import Identifiers
from dataplane.values import Field, SparseVector, StoredRow

DENSE: Final = ""
SPARSE: Final = "sparse"
NAMESPACE: Final = "ns"

DISTANCES: Final = {
    "cosine": qe.Distance.Cosine,
    "dotproduct": qe.Distance.Dot,
    "euclidean": qe.Distance.Euclid,
}

GRAPH_LINKS: Final = 16
BUILD_EFFORT: Final = 100
FULL_SCAN_VECTORS: Final = 26_000
"""A filter that leaves fewer is answered by scanning what it leaves: exact, and 3 ms at 384
dimensions."""
EFFORT: Final = 64
FILTERED_EFFORT: Final = 320
FILTERED: Final = qe.AcornSearchParams(enable=True, max_selectivity=0.9)
"""Filters that leave more walk the graph, which loses its way where they follow the vectors.
Measured at 100,000 vectors: recall .985 and more at every selectivity, correlated or not, in 1-2
ms; without ACORN .75-.95, and at effort 128 still .97 where a filter excludes the query's own
surroundings."""

MAX_INDEXED_FIELDS: Final = 64
"""Filters on further fields are answered exactly, by looking at every record."""
STEP_FLOATS: Final = 40_000
STEP_POINTS: Final = 100


class Hit(NamedTuple):
    """A point found. `score` is larger for nearer points, except under euclidean: a squared
    distance.
    """

    pk: int
    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for and among which points. `effort` scales the width of the graph search, 1 is
    normal.
    """

    vector: array[float] | SparseVector
    namespace: int
    condition: filters.Node | None
    limit: int
    effort: float = 1.0
    only: frozenset[int] | None = None


class Ann(Protocol):
    """All that the index server asks of a search engine (besides building one from rows:
    `EdgeIndex.create`).
    """

    def apply(self, rows: Sequence[StoredRow], deleted: Sequence[int]) -> None:
        """Insert or replace `rows`, then remove the keys `deleted`; unknown ones are ignored."""

    def query(self, search: Search) -> list[Hit]:
        """The nearest points first, at most `search.limit`."""

    def scan(self, namespace: int, condition: filters.Node, after: int, limit: int) -> list[int]:
        """At most `limit` keys behind `after` that match exactly, ascending."""

    def count(self) -> int:
        """Points held."""

    def close(self) -> None:
        """Give up the memory."""


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors' geometry: `dimension` None means sparse only; a dotproduct space holds both
    kinds.
    """

    dimension: int | None
    metric: Metric

    @property
    def has_sparse(self) -> bool:
        """Whether records may carry sparse values."""
        return self.metric == "dotproduct"


class EdgeIndex:
    """One shard in a folder of its own."""

    def __init__(
        self,
        shard: qe.EdgeShard,
        folder: Path,
        space: Space,
        fields: Mapping[str, Field],
        namespaces: set[int],
        ids: Identifiers,
    ) -> None:
        """Use `create` or `load`."""
        self._shard = shard
        self._folder = folder
        self._space = space
        self._fields = dict(fields)
        self._namespaces = namespaces
        self._ids = ids
        self._indexed: set[str] = set(shard.info().payload_schema)
        self._step = max(1, min(STEP_POINTS, STEP_FLOATS // (space.dimension or 1)))

    @classmethod
    def create(
        cls, folder: Path, space: Space, fields: Mapping[str, Field], threads: int = 1
    ) -> Self:
        """An empty shard in the new folder `folder`, with an index for each of `fields`.

        `threads` is for `optimize` only.
        """
        folder.mkdir(mode=0o700)
        sparse = {SPARSE: qe.EdgeSparseVectorParams()} if space.has_sparse else None
        dense = None
        kilobytes = 1
        if space.dimension is not None:
            dense = qe.EdgeVectorParams(size=space.dimension, distance=DISTANCES[space.metric])
            kilobytes = max(1, FULL_SCAN_VECTORS * space.dimension * 4 // 1024)
        shard = qe.EdgeShard.create(
            str(folder),
            qe.EdgeConfig(
                vectors=dense,
                sparse_vectors=sparse,
                wal_enabled=False,
                max_search_threads=1,
                hnsw_config=qe.HnswIndexConfig(
                    m=GRAPH_LINKS,
                    ef_construct=BUILD_EFFORT,
                    full_scan_threshold=kilobytes,
                    max_indexing_threads=threads,
                ),
                optimizers=qe.EdgeOptimizersConfig(
                    default_segment_number=1, max_segment_size=100_000_000, indexing_threshold=1
                ),
            ),
        )
        index = cls(shard, folder, space, fields, set(), Identifiers())
        index._create_index(NAMESPACE, _integers())
        index._create_index(filters.PRESENT, _integers())
        for field in fields.values():
            index.index_field(field)
        return index

    @classmethod
    def load(
        cls, folder: Path, space: Space, fields: Mapping[str, Field], namespaces: Iterable[int]
    ) -> Self:
        """A shard that was built from rows with these `fields` and of these `namespaces`."""
        ids = Identifiers.take(folder)
        shard = qe.EdgeShard.load(str(folder), None)
        return cls(shard, folder, space, fields, set(namespaces), ids)

    def index_field(self, field: Field) -> None:
        """Note `field` and index it, as far as its values and the number of fields ask for an
        index.
        """
        self._fields[field.name] = field
        for key, params in _wanted(field):
            if key not in self._indexed:
                self._create_index(key, params)

    def lacks_index(self, field: Field) -> bool:
        """Whether `index_field` would have to build one."""
        return any(key not in self._indexed for key, _ in _wanted(field))

    def note_field(self, field: Field) -> None:
        """Know `field` without an index; filters on it look at every record."""
        self._fields[field.name] = field

    def _create_index(self, key: str, params: qe.PayloadSchemaParams) -> None:
        self._shard.update(qe.UpdateOperation.create_field_index(key, params))
        self._indexed.add(key)

    def apply(self, rows: Sequence[StoredRow], deleted: Sequence[int]) -> None:
        """See `Ann`. Every field of `rows` has to be known by now."""
        for start in range(0, len(rows), self._step):
            points = [self._point(row) for row in rows[start : start + self._step]]
            self._shard.update(qe.UpdateOperation.upsert_points(points))
        for start in range(0, len(deleted), STEP_POINTS):
            keys: list[qe.PointId] = list(deleted[start : start + STEP_POINTS])
            self._shard.update(qe.UpdateOperation.delete_points(keys))

    def _point(self, row: StoredRow) -> qe.Point:
        self._namespaces.add(row.namespace)
        self._ids.add(row.pk, row.id)
        vector: dict[str, qe.NamedVector] = {}
        if row.dense is not None:
            vector[DENSE] = row.dense.tolist()
        if row.sparse is not None:
            vector[SPARSE] = _sparse(row.sparse)
        payload = filters.payload(row.metadata, self._fields)
        payload[NAMESPACE] = row.namespace
        return qe.Point(row.pk, vector, payload)

    def query(self, search: Search) -> list[Hit]:
        """See `Ann`."""
        condition = self._filter(search)
        vector = search.vector
        if isinstance(vector, SparseVector):
            query = qe.Query.Nearest(_sparse(vector), using=SPARSE)
        else:
            query = qe.Query.Nearest(vector.tolist())
        found = self._shard.query(
            qe.QueryRequest(
                limit=search.limit,
                query=query,
                filter=condition,
                params=self._params(search, condition),
                with_payload=False,
                with_vector=False,
            )
        )
        ids = self._ids
        if self._space.metric == "euclidean":
            return [Hit(pk := int(point.id), ids[pk], point.score * point.score) for point in found]
        return [Hit(pk := int(point.id), ids[pk], point.score) for point in found]

    def _params(self, search: Search, condition: qe.Filter | None) -> qe.SearchParams:
        if search.only is not None or self._unindexed(search.condition):
            return qe.SearchParams(exact=True)
        effort = round((FILTERED_EFFORT if condition else EFFORT) * search.effort)
        width = max(effort, search.limit)
        return qe.SearchParams(hnsw_ef=width, acorn=FILTERED if condition else None)

    def _unindexed(self, condition: filters.Node | None) -> bool:
        """Whether the filter compares values that occur but have no index: graph search would lose
        matches.
        """
        for name, value in filters.operands(condition) if condition else ():
            field = self._fields.get(name)
            if field is None:
                continue
            if isinstance(value, (bool, str)):
                occurs, key = field.strings or field.texts, filters.string_key(field.id)
            else:
                occurs, key = field.numbers, filters.number_key(field.id)
            if occurs and key not in self._indexed:
                return True
        return False

    def _filter(self, search: Search) -> qe.Filter | None:
        must: list[qe.ConditionType] = []
        if not self._namespaces <= {search.namespace}:  # else it would only slow the search down
            must.append(_of_namespace(search.namespace))
        if search.condition is not None:
            must.append(filters.to_engine(search.condition, self._fields))
        if search.only is not None:
            must.append(qe.HasIdCondition(set(search.only)))
        return qe.Filter(must=must) if must else None

    def scan(self, namespace: int, condition: filters.Node, after: int, limit: int) -> list[int]:
        """See `Ann`."""
        must: list[qe.ConditionType] = [
            _of_namespace(namespace),
            filters.to_engine(condition, self._fields),
        ]
        found, _ = self._shard.scroll(
            qe.ScrollRequest(
                offset=after + 1,
                limit=limit,
                filter=qe.Filter(must=must),
                with_payload=False,
                with_vector=False,
            )
        )
        return [int(point.id) for point in found]

    def count(self) -> int:
        """See `Ann`."""
        return self._shard.count(qe.CountRequest(exact=True))

    def optimize(self) -> None:
        """Build the graph and write everything to the folder, for `load`; rows must have come in
        ascending order of key. Blocks the whole process: builder only.
        """
        self._shard.optimize()
        self._shard.flush()
        self._shard.close()
        self._ids.save(self._folder)

    @property
    def namespaces(self) -> set[int]:
        """Ids of all namespaces that ever had a point in it."""
        return self._namespaces

    def retire(self) -> None:
        """`close` an index that others have just stopped using, without a stall.

        Freeing a shard of 100,000 changed points at once takes 300 ms and more, with the
        interpreter lock held; piece by piece, none takes 100.
        """
        for key in sorted(self._indexed):
            self._shard.update(qe.UpdateOperation.delete_field_index(key))
        self._shard.flush()
        self.close()

    def close(self) -> None:
        """Remove the folder. The shard's memory goes with the last search that still uses it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder)


def _wanted(field: Field) -> list[tuple[str, qe.PayloadSchemaParams]]:
    if field.id > MAX_INDEXED_FIELDS:
        return []
    wanted: list[tuple[str, qe.PayloadSchemaParams]] = []
    if field.strings:
        keywords = qe.KeywordIndexParams(enable_hnsw=False, memory=qe.Memory.Cached)
        wanted.append((filters.string_key(field.id), keywords))
    if field.numbers:
        numbers = qe.FloatIndexParams(enable_hnsw=False, memory=qe.Memory.Cached)
        wanted.append((filters.number_key(field.id), numbers))
    return wanted


def _integers() -> qe.IntegerIndexParams:
    # Cached: mapped instead of read, so that loading 100,000 points takes 20 ms, not 100 ms.
    return qe.IntegerIndexParams(
        lookup=True, range=False, enable_hnsw=False, memory=qe.Memory.Cached
    )


def _of_namespace(namespace: int) -> qe.FieldCondition:
    return qe.FieldCondition(NAMESPACE, match=qe.MatchValue(namespace))


def _sparse(vector: SparseVector) -> qe.SparseVector:
    return qe.SparseVector(vector.indices.tolist(), vector.values.tolist())

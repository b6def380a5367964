"""Requests checked and turned into values. Every refusal names the value, the rule and the way out.

Rules and limits are Pinecone's (`limits.py`); where its servers silently ignore part of a request,
ours refuse it.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from array import array
from collections.abc import Sequence

from google.protobuf.struct_pb2 import Struct, Value

from dataplane import filters
from dataplane.change import encode_metadata
from dataplane.engine import Space
from dataplane.errors import invalid, shown
from dataplane.limits import (
    DEFAULT_PAGE,
    MAX_BATCH,
    MAX_CANDIDATES,
    MAX_ID_LENGTH,
    MAX_METADATA_BYTES,
    MAX_NAMESPACE_LENGTH,
    MAX_NORM,
    MAX_SCHEMA_FIELDS,
    MAX_SPARSE_ENTRIES,
    MAX_TOP_K,
    MIN_MAGNITUDE,
    SCAN_FACTOR,
)
from dataplane.values import DEFAULT_NAMESPACE, Metadata, MetadataValue, Row, SparseVector
from protos.generated import vector_service_pb2 as pb

TOKEN_PREFIX = b"t1:"
_KEY = re.compile(r"[0-9]{1,18}")
"""Eighteen digits always fit SQLite's 64-bit keys; more would fail inside the database."""


def namespace_name(name: str) -> str:
    """The namespace that a request means: `''` and `__default__` are one.

    Raises:
        Refusal: too long, or not ASCII without NUL.
    """
    if not name:
        return DEFAULT_NAMESPACE
    _check_name("Namespace name", name, MAX_NAMESPACE_LENGTH)
    return name


def vector_id(id: str) -> str:
    """`id` itself.

    Raises:
        Refusal: empty, too long, or not ASCII without NUL.
    """
    if not id:
        raise invalid(
            f"Vector ID is empty; give every vector an ID of 1-{MAX_ID_LENGTH} ASCII characters."
        )
    _check_name("Vector ID", id, MAX_ID_LENGTH)
    return id


def id_prefix(prefix: str) -> str:
    """`prefix` itself, which may be empty.

    Raises:
        Refusal: as `vector_id`.
    """
    _check_name("Prefix", prefix, MAX_ID_LENGTH)
    return prefix


def _check_name(what: str, value: str, limit: int) -> None:
    if not value.isascii() or "\0" in value:
        raise invalid(
            f"{what} {shown(value)} must be ASCII without NUL; encode other characters, for example"
            " as hex."
        )
    if len(value) > limit:
        raise invalid(
            f"{what} {shown(value)} has {len(value)} characters, the limit is {limit}; shorten it."
        )


def id_list(ids: Sequence[str], action: str) -> list[str]:
    """The ids of one fetch or delete, each once, in the order given.

    Raises:
        Refusal: none, too many, or a bad one.
    """
    if not ids:
        raise invalid(f"No IDs to {action}; give 1-{MAX_BATCH}.")
    if len(ids) > MAX_BATCH:
        raise invalid(
            f"{len(ids)} IDs to {action}, the limit is {MAX_BATCH}; send several requests."
        )
    return list(dict.fromkeys(vector_id(id) for id in ids))


def rows(vectors: Sequence[pb.Vector], space: Space) -> list[Row]:
    """The vectors of an upsert; of several with one id, the last.

    Raises:
        Refusal: none, too many, or a bad one.
    """
    if not vectors:
        raise invalid(f"No vectors to upsert; give 1-{MAX_BATCH}.")
    if len(vectors) > MAX_BATCH:
        raise invalid(
            f"{len(vectors)} vectors in one upsert, the limit is {MAX_BATCH}; send smaller batches."
        )
    return list({row.id: row for row in (_row(vector, space) for vector in vectors)}.values())


def _row(vector: pb.Vector, space: Space) -> Row:
    id = vector_id(vector.id)
    owner = f"Vector {shown(id)}"
    dense = stored_dense(vector.values, space, owner) if vector.values else None
    sparse = sparse_vector(vector.sparse_values, space, owner)
    if space.dimension is not None and dense is None:
        raise invalid(
            f"{owner} has no values, but this index stores dense vectors of dimension"
            f" {space.dimension}; send `values`."
        )
    if space.dimension is None and sparse is None:
        raise invalid(
            f"{owner} has no sparse values, but this index stores sparse vectors; send"
            " `sparse_values`."
        )
    return Row(id, dense, sparse, metadata(vector.metadata, owner))


def stored_dense(values: Sequence[float], space: Space, owner: str) -> array[float]:
    """Values to be stored.

    Raises:
        Refusal: as `dense_vector`; all zero under any metric.
    """
    dense = dense_vector(values, space, owner)
    if not any(value >= MIN_MAGNITUDE or value <= -MIN_MAGNITUDE for value in dense):
        raise invalid(
            f"{owner}: Dense vectors must contain at least one non-zero value (of magnitude"
            f" {MIN_MAGNITUDE} or more)."
        )
    return dense


def dense_vector(values: Sequence[float], space: Space, owner: str) -> array[float]:
    """Values to be searched for: float32, finite, of the index's dimension.

    Raises:
        Refusal: a sparse index, wrong dimension, NaN, infinity, or too long for float32 scores.
    """
    if space.dimension is None:
        raise invalid(
            f"{owner} has dense values, but this index stores sparse vectors only; leave `values`"
            " out."
        )
    if len(values) != space.dimension:
        raise invalid(
            f"Vector dimension {len(values)} does not match the dimension of the index"
            f" {space.dimension} ({owner}); send exactly {space.dimension} values."
        )
    numbers = values[:]  # as a list, which is several times faster to go through
    _check_finite(numbers, owner, "values")
    if math.hypot(*numbers) > MAX_NORM:
        raise invalid(
            f"{owner}: the length of its values exceeds {MAX_NORM:g}, so scores would overflow"
            " float32; scale it down."
        )
    return array("f", numbers)


def query_dense(values: Sequence[float], space: Space) -> array[float]:
    """The vector of a query.

    Raises:
        Refusal: as `dense_vector`; all zero under cosine, where no direction is nearest.
    """
    dense = dense_vector(values, space, "The query vector")
    if space.metric == "cosine" and not any(dense):
        raise invalid(
            "The query vector is all zeros, which has no direction under the cosine metric; send"
            " another."
        )
    return dense


def _check_finite(values: Sequence[float], owner: str, name: str) -> None:
    if math.isfinite(
        sum(values)
    ):  # not finite exactly if one of them isn't: float32 can't overflow a float64 sum
        return
    position, value = next((i, value) for i, value in enumerate(values) if not math.isfinite(value))
    raise invalid(f"{owner}: {name}[{position}] is {value}; every value must be a finite float32.")


def sparse_vector(message: pb.SparseValues, space: Space, owner: str) -> SparseVector | None:
    """Sparse values to be stored or searched for; None where there are none.

    Raises:
        Refusal: a metric without sparse values, uneven lists, too many entries, repeated indices,
            NaN or infinity.
    """
    if not message.indices and not message.values:
        return None
    if not space.has_sparse:
        raise invalid(
            f"{owner} has sparse values, but this index compares by {space.metric}; only indexes"
            " with metric dotproduct support sparse values. Leave them out, or create such an"
            " index."
        )
    if len(message.indices) != len(message.values):
        raise invalid(
            f"{owner}: {len(message.indices)} sparse indices, but {len(message.values)} sparse"
            " values; send as many of one as of the other."
        )
    if len(message.indices) > MAX_SPARSE_ENTRIES:
        raise invalid(
            f"{owner} has {len(message.indices)} sparse entries, the limit is {MAX_SPARSE_ENTRIES};"
            " keep the largest."
        )
    indices, values = array("I", message.indices), array("f", message.values)
    if len(set(indices)) != len(indices):
        seen: set[int] = set()
        repeated = next(index for index in indices if index in seen or seen.add(index))  # type: ignore[func-returns-value]  # add returns None on purpose
        raise invalid(f"{owner}: sparse index {repeated} occurs more than once; add its values up.")
    _check_finite(values, owner, "sparse_values")
    if math.hypot(*values) > MAX_NORM:
        raise invalid(
            f"{owner}: the length of its sparse values exceeds {MAX_NORM:g}, so scores would"
            " overflow float32; scale it down."
        )
    return SparseVector(indices, values)


def metadata(struct: Struct, owner: str) -> Metadata | None:
    """Metadata to be stored or merged; None where there is none.

    Raises:
        Refusal: a value that is not a string, number, boolean or list of strings, a bad key, or too
            large.
    """
    if not struct.fields:
        return None
    result = {key: _metadata_value(key, value, owner) for key, value in struct.fields.items()}
    size = len((encode_metadata(result) or "").encode())
    if size > MAX_METADATA_BYTES:
        raise invalid(
            f"Metadata of {owner} takes {size} bytes, the limit is {MAX_METADATA_BYTES}; keep large"
            " texts elsewhere and store a reference."
        )
    return result


def _metadata_value(key: str, value: Value, owner: str) -> MetadataValue:
    if not key or key.startswith("$"):
        raise invalid(
            f"{owner}: metadata key {shown(key)} must not be empty or start with '$'; rename it."
        )
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        if not math.isfinite(value.number_value):
            raise invalid(
                f"{owner}: metadata field {shown(key)} is {value.number_value}; numbers must be"
                " finite."
            )
        return value.number_value
    if kind == "list_value":
        items = value.list_value.values
        if all(item.WhichOneof("kind") == "string_value" for item in items):
            return [item.string_value for item in items]
        found = "a list with other items than strings"
    else:
        found = "an object" if kind == "struct_value" else "null"
    raise invalid(
        f"{owner}: metadata field {shown(key)} is {found}; a value must be a string, number,"
        " boolean or list of strings. Leave the field out or flatten it."
    )


def required_filter(struct: Struct, action: str) -> filters.Node:
    """A filter that has to say something.

    Raises:
        Refusal: it is empty, or as `filters.parse`.
    """
    condition = filters.parse(struct)
    if condition is None:
        raise invalid(
            f"The filter to {action} by is empty, which would mean every record; name a condition."
        )
    return condition


def top_k(value: int) -> int:
    """`value` itself.

    Raises:
        Refusal: out of range.
    """
    if not 1 <= value <= MAX_TOP_K:
        raise invalid(f"top_k is {value}; it must be 1-{MAX_TOP_K}.")
    return value


def limit(value: int | None, largest: int) -> int:
    """A page size; left out means 100.

    Raises:
        Refusal: out of range.
    """
    if value is None:
        return DEFAULT_PAGE
    if not 1 <= value <= largest:
        raise invalid(f"limit is {value}; it must be 1-{largest}.")
    return value


def effort(request: pb.QueryRequest) -> float:
    """How much wider than usual to search, from `scan_factor` (`max_candidates` is checked, and
    needs no more).

    Raises:
        Refusal: out of range.
    """
    low, high = SCAN_FACTOR
    if request.HasField("scan_factor") and not low <= request.scan_factor <= high:
        raise invalid(f"scan_factor is {request.scan_factor:g}; it must be {low:g}-{high:g}.")
    if (
        request.HasField("max_candidates")
        and not request.top_k <= request.max_candidates <= MAX_CANDIDATES
    ):
        raise invalid(
            f"max_candidates is {request.max_candidates}; it must be from top_k ({request.top_k})"
            f" to {MAX_CANDIDATES}."
        )
    return request.scan_factor if request.HasField("scan_factor") else 1.0


def schema_fields(schema: pb.MetadataSchema) -> tuple[str, ...]:
    """The filterable fields that a namespace is created with.

    Raises:
        Refusal: too many, or one that is not filterable.
    """
    if len(schema.fields) > MAX_SCHEMA_FIELDS:
        raise invalid(
            f"The schema has {len(schema.fields)} fields, the limit is {MAX_SCHEMA_FIELDS}; list"
            " fewer."
        )
    for name, properties in schema.fields.items():
        if not name or name.startswith("$"):
            raise invalid(
                f"Schema field {shown(name)} must not be empty or start with '$'; rename it."
            )
        if not properties.filterable:
            raise invalid(
                f"Schema field {shown(name)} is not filterable; set filterable to true, or leave it"
                " out."
            )
    return tuple(sorted(schema.fields))


def encode_token(position: str) -> str:
    """A pagination token for "behind `position`"."""
    return base64.urlsafe_b64encode(TOKEN_PREFIX + position.encode()).decode()


def decode_token(token: str) -> str:
    """The position that a pagination token stands for; `''` for no token.

    Raises:
        Refusal: it is none of ours.
    """
    if not token:
        return ""
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        if raw.startswith(TOKEN_PREFIX):
            return raw.removeprefix(TOKEN_PREFIX).decode()
    except (binascii.Error, ValueError):
        pass
    raise invalid(
        f"Pagination token {shown(token)} is not one that this index gave out; start from the first"
        " page."
    )


def key_token(token: str) -> int:
    """The position of a listing by key; 0 for no token.

    Raises:
        Refusal: it is none of ours.
    """
    position = decode_token(token)
    if position and not _KEY.fullmatch(position):
        raise invalid(
            f"Pagination token {shown(token)} belongs to another listing; start from the first"
            " page."
        )
    return int(position or 0)

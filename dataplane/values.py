"""What the index server stores and searches, as every layer below the wire speaks of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TypeAlias

MetadataValue: TypeAlias = str | float | bool | list[str]
Metadata: TypeAlias = dict[str, MetadataValue]

DEFAULT_NAMESPACE = "__default__"
"""How the namespace that requests address by leaving it out (or by `''`) is stored and shown."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """`indices` are unique uint32, `values` as many finite float32."""

    indices: array[int]
    values: array[float]

    def to_bytes(self) -> bytes:
        """Little-endian: all indices, then all values."""
        return self.indices.tobytes() + self.values.tobytes()

    @classmethod
    def from_bytes(cls, raw: bytes) -> SparseVector:
        """The inverse of `to_bytes`."""
        half = len(raw) // 2
        indices, values = array("I"), array("f")
        indices.frombytes(raw[:half])
        values.frombytes(raw[half:])
        return cls(indices, values)


@dataclass(frozen=True, slots=True)
class Row:
    """One vector as a caller sends it. `dense` holds float32; at least one of `dense` and `sparse`
    is set.
    """

    id: str
    dense: array[float] | None
    sparse: SparseVector | None
    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One vector as the record holds it.

    `pk` never changes for one (namespace, id) and is never used again after a deletion; `seq` grows
    with every change of anything. Both are positive and fit 63 bits.
    """

    pk: int
    seq: int
    namespace: int
    id: str
    dense: array[float] | None
    sparse: SparseVector | None
    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class Field:
    """A metadata key seen so far, and the kinds of value that occur under it: `strings` short ones
    and booleans, `texts` long ones, `numbers`. The engine keeps an index for strings and for
    numbers, none for texts alone.
    """

    id: int
    name: str
    strings: bool = False
    texts: bool = False
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class Namespace:
    """`name` is never empty (`__default__`); `schema` the filterable fields it was created with,
    None without one.
    """

    id: int
    name: str
    count: int
    size_bytes: int
    schema: tuple[str, ...] | None

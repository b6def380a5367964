"""Pinecone's metadata filter language: checked, then translated once for everything that filters.

Query, delete, update and fetch by filter all go through `parse` and `to_engine`, so a filter means
the same in all.

What it means: a value is a string, a number, a boolean or a list of strings. Types never mix: `1`,
`"1"` and `true` are three values, `1` and `1.0` are one. A list matches `$eq` and `$in` where one
of its strings does. `$ne` and `$nin` are the exact opposite of `$eq` and `$in`, so they match
records without the field. Comparisons hold for numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

import qdrant_edge as qe
from google.protobuf.struct_pb2 import Struct, Value

from dataplane.errors import invalid, shown
from dataplane.limits import MAX_FILTER_DEPTH, MAX_FILTER_VALUES
from dataplane.values import Field, Metadata

Scalar: TypeAlias = str | float | bool

RANGES: Final = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
OPERATORS: Final = ("$eq", "$ne", *RANGES, "$in", "$nin", "$exists")
COMBINERS: Final = ("$and", "$or")

SHORT_STRING: Final = 48
"""Bytes. Longer strings enter the engine as a digest: equality is all that a filter asks of them.
"""
INDEXED_STRING: Final = 256
"""Characters. A field with longer strings only (a document's text) gets no index: nobody filters by
it.
"""

EVERYTHING: Final = qe.Filter()
NOTHING: Final = qe.Filter(must_not=[EVERYTHING])

PRESENT = "k"
"""Payload key: ids of all fields of the record; it answers `$exists`, for empty lists too."""


@dataclass(frozen=True, slots=True)
class Compare:
    """One operator on one field."""

    field: str
    operator: str
    operand: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Combine:
    """`$and` or `$or` of at least one part."""

    operator: str
    parts: tuple[Node, ...]


Node: TypeAlias = Compare | Combine


def parse(struct: Struct) -> Node | None:
    """The filter in `struct`, None where it is empty.

    Raises:
        Refusal: an unknown operator, an operand of the wrong type, or a filter past the limits.
    """
    budget = [MAX_FILTER_VALUES]
    return _object(struct, 1, budget) if struct.fields else None


def _object(struct: Struct, depth: int, budget: list[int]) -> Node:
    if depth > MAX_FILTER_DEPTH:
        raise invalid(f"The filter is nested more than {MAX_FILTER_DEPTH} levels deep; flatten it.")
    if not struct.fields:
        raise invalid(
            "The filter contains an empty object {}; name a field and a condition, or leave it out."
        )
    parts = [
        part for key, value in struct.fields.items() for part in _entry(key, value, depth, budget)
    ]
    return parts[0] if len(parts) == 1 else Combine("$and", tuple(parts))


def _entry(key: str, value: Value, depth: int, budget: list[int]) -> list[Node]:
    kind = value.WhichOneof("kind")
    if key in COMBINERS:
        values = value.list_value.values if kind == "list_value" else ()
        if not values or any(item.WhichOneof("kind") != "struct_value" for item in values):
            raise invalid(f"{key} takes a list of at least one filter object.")
        parts = tuple(_object(item.struct_value, depth + 1, budget) for item in values)
        return [Combine(key, parts)]
    if key.startswith("$"):
        raise invalid(
            f"{shown(key)} is not an operator that can stand alone; use {' or '.join(COMBINERS)}"
            " with a list of filters, or a field name with one of " + ", ".join(OPERATORS) + "."
        )
    if kind != "struct_value":
        return [Compare(key, "$eq", _scalar(key, "$eq", value, budget))]
    if not value.struct_value.fields:
        raise invalid(f"The filter on field {shown(key)} is empty; give it a value or an operator.")
    return [
        _compare(key, operator, operand, budget)
        for operator, operand in value.struct_value.fields.items()
    ]


def _compare(field: str, operator: str, operand: Value, budget: list[int]) -> Compare:
    kind = operand.WhichOneof("kind")
    if operator not in OPERATORS:
        raise invalid(
            f"{shown(operator)} on field {shown(field)} is not a filter operator; "
            f"known: {', '.join((*OPERATORS, *COMBINERS))}. Nested metadata can't be filtered."
        )
    if operator in RANGES and kind != "number_value":
        raise invalid(f"{operator} on field {shown(field)} takes a number, not {_kind(kind)}.")
    if operator == "$exists":
        if kind != "bool_value":
            raise invalid(
                f"$exists on field {shown(field)} takes true or false, not {_kind(kind)}."
            )
        return Compare(field, operator, operand.bool_value)
    if operator in {"$in", "$nin"}:
        if kind != "list_value":
            raise invalid(f"{operator} on field {shown(field)} takes a list, not {_kind(kind)}.")
        values = operand.list_value.values
        return Compare(
            field, operator, tuple(_scalar(field, operator, item, budget) for item in values)
        )
    return Compare(field, operator, _scalar(field, operator, operand, budget))


def _scalar(field: str, operator: str, value: Value, budget: list[int]) -> Scalar:
    budget[0] -= 1
    if budget[0] < 0:
        raise invalid(
            f"The filter holds more than {MAX_FILTER_VALUES} values; split it over several"
            " requests."
        )
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        if not math.isfinite(value.number_value):
            raise invalid(
                f"{operator} on field {shown(field)}: {value.number_value} is not a finite number."
            )
        return value.number_value
    raise invalid(
        f"{operator} on field {shown(field)} takes strings, numbers or booleans, not {_kind(kind)};"
        " to match one of several values use $in."
    )


def _kind(kind: str | None) -> str:
    names = {"list_value": "a list", "struct_value": "an object", "bool_value": "a boolean"}
    return names.get(
        kind or "", {"string_value": "a string", "number_value": "a number"}.get(kind or "", "null")
    )


def string_key(field_id: int) -> str:
    """Payload key of a field's strings and booleans."""
    return f"s{field_id}"


def number_key(field_id: int) -> str:
    """Payload key of a field's numbers."""
    return f"n{field_id}"


def token(value: str | bool) -> str:
    """How a string or boolean stands in the engine: tagged, so that no string equals a boolean.

    Booleans can't go in as they are: the engine's binding turns them into integers in a filter.
    """
    if isinstance(value, bool):
        return "!t" if value else "!f"
    raw = value.encode()
    return (
        "=" + value if len(raw) <= SHORT_STRING else "#" + blake2b(raw, digest_size=20).hexdigest()
    )


def payload(metadata: Metadata | None, fields: Mapping[str, Field]) -> dict[str, object]:
    """A record's metadata as the engine keeps it; every key has to be in `fields`."""
    if not metadata:
        return {}
    out: dict[str, object] = {PRESENT: [fields[name].id for name in metadata]}
    for name, value in metadata.items():
        key = fields[name].id
        if isinstance(value, list):
            if value:
                out[string_key(key)] = [token(item) for item in value]
        elif isinstance(value, (bool, str)):
            out[string_key(key)] = token(value)
        else:
            out[number_key(key)] = value
    return out


def to_engine(node: Node, fields: Mapping[str, Field]) -> qe.Filter:
    """`node` for the engine. A field that no record ever had matches like one that is absent
    everywhere.
    """
    if isinstance(node, Combine):
        parts: list[qe.Filter] = [to_engine(part, fields) for part in node.parts]
        return qe.Filter(must=[*parts]) if node.operator == "$and" else qe.Filter(should=[*parts])
    field = fields.get(node.field)
    if node.operator in {"$ne", "$nin"}:
        return qe.Filter(must_not=[_equals(field, node.operand)])
    if node.operator == "$exists":
        present = _present(field)
        return present if node.operand else qe.Filter(must_not=[present])
    if node.operator in RANGES:
        if field is None:
            return NOTHING
        return _where(number_key(field.id), range=_range(node))
    return _equals(field, node.operand)


def _range(node: Compare) -> qe.RangeFloat:
    bound = {RANGES[node.operator]: node.operand}
    return qe.RangeFloat(**bound)  # type: ignore[arg-type]  # parse lets numbers only into ranges


def _present(field: Field | None) -> qe.Filter:
    return NOTHING if field is None else _where(PRESENT, match=qe.MatchValue(field.id))


def _equals(field: Field | None, operand: Scalar | tuple[Scalar, ...]) -> qe.Filter:
    """Any of the operands. Numbers are ranges of one point: integer and float meet only there."""
    values: Sequence[Scalar] = operand if isinstance(operand, tuple) else (operand,)
    if field is None or not values:
        return NOTHING
    tokens = [token(value) for value in values if isinstance(value, (bool, str))]
    either: list[qe.Filter] = [
        _where(number_key(field.id), range=qe.RangeFloat(gte=value, lte=value))
        for value in values
        if not isinstance(value, (bool, str))
    ]
    if tokens:
        either.append(_where(string_key(field.id), match=qe.MatchAny(tokens)))
    return either[0] if len(either) == 1 else qe.Filter(should=[*either])


def _where(
    key: str, *, match: qe.MatchType | None = None, range: qe.RangeType | None = None
) -> qe.Filter:
    return qe.Filter(must=[qe.FieldCondition(key, match=match, range=range)])


def operands(node: Node) -> Iterator[tuple[str, Scalar]]:
    """Every value that the filter compares something with, and the field it does so on; without
    `$exists`.
    """
    if isinstance(node, Combine):
        for part in node.parts:
            yield from operands(part)
    elif node.operator != "$exists":
        values = node.operand if isinstance(node.operand, tuple) else (node.operand,)
        yield from ((node.field, value) for value in values)

"""Filters as conditions on the rows, where the database can answer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from uuid import UUID

from django.db.models import Q
from scim2_models.path import (
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
)

_LOOKUPS = {
    CompareOperator.eq: "exact",
    CompareOperator.co: "contains",
    CompareOperator.sw: "startswith",
    CompareOperator.ew: "endswith",
}
Condition = Callable[[CompareOperator, object], Q | None]


def condition(node: FilterNode, attributes: Mapping[str, Condition]) -> Q | None:
    """The filter as a condition; None: the database can't answer it.

    Args:
        attributes: what to ask of which attribute, by its path in lower case.
    """
    if isinstance(node, LogicalExpr):
        terms = [condition(term, attributes) for term in node.terms]
        found = [term for term in terms if term is not None]
        if len(found) < len(terms):
            return None
        return reduce(and_ if node.op == LogicalOperator.and_ else or_, found)
    if isinstance(node, Comparison) and node.attr_path.uri is None:
        ask = attributes.get(str(node.attr_path).lower())
        return ask(node.op, node.value) if ask else None
    return None


def text(field: str, *, exactly: bool = False) -> Condition:
    """A text column, compared without regard to case unless `exactly`."""

    def ask(op: CompareOperator, value: object) -> Q | None:
        if op not in _LOOKUPS or not isinstance(value, str):
            return None
        if not value:
            # Nothing has an empty value; what contains one is for the library to say.
            return None
        lookup = _LOOKUPS[op] if exactly else f"i{_LOOKUPS[op]}"
        return Q(**{f"{field}__{lookup}": value})

    return ask


def flag(field: str) -> Condition:
    """A column that is true or false."""

    def ask(op: CompareOperator, value: object) -> Q | None:
        if op != CompareOperator.eq or not isinstance(value, bool):
            return None
        return Q(**{field: value})

    return ask


def identifier(field: str) -> Condition:
    """A column with a UUID."""

    def ask(op: CompareOperator, value: object) -> Q | None:
        if op != CompareOperator.eq:
            return None
        try:
            return Q(**{field: UUID(str(value))})
        except ValueError:
            return Q(pk__in=())

    return ask


USER_ATTRIBUTES: Mapping[str, Condition] = {
    "id": identifier("pk"),
    "username": text("user_name"),
    "externalid": text("external_id", exactly=True),
    "active": flag("active"),
}
GROUP_ATTRIBUTES: Mapping[str, Condition] = {
    "id": identifier("pk"),
    "displayname": text("group__name"),
    "externalid": text("external_id", exactly=True),
}

"""Lists in pages: a cursor that says after which row to go on, and is good for that list only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

from rest.errors import InvalidArgument, OutOfRange
from rest.wording import shown

DEFAULT_LIMIT = MAX_LIMIT = 100
LIMIT, TOKEN = "limit", "paginationToken"
MAX_TOKEN = 4096


Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of one page and the cursor of the next; None: it was the last."""

    rows: list[Row]
    next: str | None


def limit_from(text: str | None) -> int:
    """The page size asked for, 1 to 100.

    Raises:
        InvalidArgument: no whole number.
        OutOfRange: outside 1 to 100.
    """
    if text is None:
        return DEFAULT_LIMIT
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidArgument(f"limit {shown(text)} has to be a whole number, 1 to {MAX_LIMIT}.")
    if len(digits) > 9 or not 1 <= int(text) <= MAX_LIMIT:  # noqa: PLR2004  nine digits fit any range
        raise OutOfRange(f"limit {shown(text)} is out of range: 1 to {MAX_LIMIT}.")
    return int(text)


def paginate(
    queryset: QuerySet[Any], *, order: Sequence[str], limit: int, token: str | None, scope: str
) -> Page[Any]:
    """One page of `queryset`. One query.

    Args:
        order: fields to sort by, `-` for descending; none of them null, the last one unique.
        scope: everything that makes this list this list: path, filters, page size, caller.

    Raises:
        InvalidArgument: `token` was not made for this list.
    """
    salt = f"rest.page:{hashlib.sha256(scope.encode()).hexdigest()}:{','.join(order)}"
    rows = queryset.order_by(*order)
    if token is not None:
        rows = rows.filter(_after(order, _read(token, salt, len(order))))
    try:
        found = list(rows[: limit + 1])
    except (ValidationError, ValueError) as error:
        raise _unusable(token or "") from error
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    values = [_plain(_value(last, field)) for field in order]
    return Page(found[:limit], signing.dumps(values, salt=salt))


def _after(order: Sequence[str], values: Sequence[Any]) -> Q:
    """Rows that come later: by the first field, or equal there and later by the second, …

    That the first is not earlier follows from it, but is said: databases find a place in an index
    by it, and would otherwise read all rows before the page.
    """
    later, equal = Q(), Q()
    for field, value in zip(order, values, strict=True):
        name, comparison = field.removeprefix("-"), "lt" if field.startswith("-") else "gt"
        later |= equal & Q(**{f"{name}__{comparison}": value})
        equal &= Q(**{name: value})
    first = order[0].removeprefix("-")
    not_before = "lte" if order[0].startswith("-") else "gte"
    return Q(**{f"{first}__{not_before}": values[0]}) & later


def _read(token: str, salt: str, count: int) -> list[Any]:
    if len(token) > MAX_TOKEN:
        raise _unusable(token)
    try:
        values = signing.loads(token, salt=salt)
    except (signing.BadSignature, ValueError) as error:
        raise _unusable(token) from error
    if not isinstance(values, list) or len(values) != count:
        raise _unusable(token)
    return values


def _unusable(token: str) -> InvalidArgument:
    return InvalidArgument(
        f"paginationToken {shown(token)} was not given out for this list with these filters and"
        " this limit. Start again without it."
    )


def _value(row: Model, field: str) -> Any:
    value: Any = row
    for part in field.removeprefix("-").split("__"):
        value = getattr(value, part)
    return value


def _plain(value: Any) -> Any:
    """As JSON keeps it without loss: times with their microseconds."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value

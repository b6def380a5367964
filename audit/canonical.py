"""The one way to write a value as JSON bytes, so that equal values have equal hashes.

RFC 8785 (JSON Canonicalization Scheme) over what the trail holds: text, integers, booleans, null,
lists and objects. No floating-point numbers, whose text differs between languages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import NoReturn

# Every JSON reader holds these exactly (RFC 8785, appendix D); beyond, numbers are kept as text.
MAX_INTEGER = 2**53 - 1
Plain = str | int | bool | None | list["Plain"] | dict[str, "Plain"]


def plain(value: object) -> Plain:
    """The value as JSON that reads the same everywhere.

    Dates become ISO 8601 text, sets sorted lists, enumerations their values; what JSON has no form
    for, and numbers that not every reader holds, become text.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {clean(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return clean(str(value))


def clean(value: str) -> str:
    """Text that every database and JSON reader keeps: without NUL and lone surrogates."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def canonical(value: Plain) -> bytes:
    """The value's canonical JSON.

    Raises:
        ValueError: a number that is no integer within ±(2^53 - 1), a lone surrogate, or a value
            so deep that no record of the trail can be.
    """
    try:
        return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None


def _ordered(value: Plain) -> Plain:
    if isinstance(value, dict):
        # By UTF-16 code units (RFC 8785 §3.2.3), which big-endian bytes sort as.
        return {
            name: _ordered(value[name])
            for name in sorted(value, key=lambda name: name.encode("utf-16-be"))
        }
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        raise ValueError(f"{value} is beyond ±(2^53 - 1).")
    if not isinstance(value, str | int | None):
        raise ValueError(f"{type(value).__name__} has no canonical form.")
    return value


def parse(text: str) -> Plain:
    """The value of JSON text.

    Raises:
        ValueError: no JSON, a name twice in one object, a number that is no integer, or so deep
            that no record of the trail can be.
    """
    try:
        found: Plain = json.loads(
            text, object_pairs_hook=_object, parse_float=_refuse, parse_constant=_refuse
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def _object(pairs: list[tuple[str, Plain]]) -> dict[str, Plain]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number[:40]} is no integer")

"""Reading request bodies: JSON, strictly and within limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from rest.errors import PayloadTooLarge
from rest.wording import shown

MAX_BODY_BYTES = 64 * 1024
"""More than any request of the control plane needs."""


def too_large() -> PayloadTooLarge:
    """The refusal of a body of more than `MAX_BODY_BYTES`."""
    return PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes. Send a smaller one.")


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: no NaN, no infinities, no key twice, no nesting without end."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The decoded body.

        Raises:
            PayloadTooLarge: more bytes than `MAX_BODY_BYTES`.
            ParseError: not JSON; the message says what is wrong with it.
        """
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise too_large()
        if not body.strip():
            return {}
        try:
            return json.loads(
                body.decode("utf-8"),
                object_pairs_hook=_without_duplicates,
                parse_constant=_refuse_constant,
                parse_float=_finite,
            )
        except RecursionError as error:
            raise ParseError("it is nested too deeply.") from error
        except UnicodeDecodeError as error:
            raise ParseError(f"byte {error.start} is not UTF-8.") from error
        except ValueError as error:
            raise ParseError(str(error)) from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice. Send it once.")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number.")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"the number {shown(text)} is too large.")
    return number

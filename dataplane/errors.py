"""The one way a request is refused: a gRPC status and a sentence naming the value, the rule and the
way out.
"""

from __future__ import annotations

import grpc


class Refusal(Exception):
    """Ends a call with `code` and `message`; raised anywhere below the service, turned into a
    status at its edge.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refusal:
    """The request itself is wrong; sending it again cannot succeed."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refusal:
    """What the request names does not exist."""
    return Refusal(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refusal:
    """What the request would create is there already."""
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, message)


def denied(message: str) -> Refusal:
    """The caller is known, but may not do this."""
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, message)


def exhausted(message: str) -> Refusal:
    """No room: memory, disk or a count. Nothing was changed."""
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def unavailable(message: str) -> Refusal:
    """Not now; the same request succeeds later."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, message)


def internal(message: str) -> Refusal:
    """Our fault, or the machine's. Nothing was changed."""
    return Refusal(grpc.StatusCode.INTERNAL, message)


def shown(value: object, limit: int = 60) -> str:
    """A value as a message may hold it: quoted, on one line, at most `limit` characters of it."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"

"""What REST itself refuses, before any service is asked. The edge turns each into an answer.

Codes are those of Pinecone's Admin API. Services have refusals of their own, in the room above.
"""

from __future__ import annotations

from typing import ClassVar

from rest_framework.exceptions import APIException


class Refusal(APIException):
    """A request that can't be carried out as it was sent.

    `message` names the value, the rule and the way out, and is safe to show.
    """

    status_code = 400
    code: ClassVar[str] = "INVALID_ARGUMENT"

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class InvalidArgument(Refusal):
    """A value breaks a rule."""


class OutOfRange(Refusal):
    """A number lies outside its range."""

    code = "OUT_OF_RANGE"


class NotFound(Refusal):
    """No such object, or none that the caller may know of."""

    status_code = 404
    code = "NOT_FOUND"


class Conflict(Refusal):
    """Something else is going on that this has to wait for."""

    status_code = 409
    code = "ABORTED"


class PreconditionFailed(Refusal):
    """The object is no longer the version that the caller saw."""

    status_code = 412
    code = "FAILED_PRECONDITION"


class PayloadTooLarge(Refusal):
    """The body is too large."""

    status_code = 413
    code = "PAYLOAD_TOO_LARGE"


class Unprocessable(Refusal):
    """The request contradicts an earlier one that it claims to repeat."""

    status_code = 422
    code = "UNPROCESSABLE_ENTITY"


class TooManyRequests(Refusal):
    """A rate limit is reached; `retry_after` is in seconds."""

    status_code = 429
    code = "RESOURCE_EXHAUSTED"

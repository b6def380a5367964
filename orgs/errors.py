"""Why a service said no, in the words that the person asking sees.

No HTTP here: the edges translate `code`.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Error codes as Pinecone's control plane names them."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FORBIDDEN = "FORBIDDEN"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNPROCESSABLE_ENTITY = "UNPROCESSABLE_ENTITY"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNAVAILABLE = "SERVICE_UNAVAILABLE"


class Refused(Exception):
    """A service refused.

    `message` names the value, the rule and the way out, and is safe to show.
    """

    code = Code.INVALID_ARGUMENT

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(Refused):
    """A value breaks a rule."""


class PermissionDenied(Refused):
    """The actor may know of the object but not do this to it."""

    code = Code.PERMISSION_DENIED


class Forbidden(Refused):
    """A switch on the object itself forbids it, whoever asks."""

    code = Code.FORBIDDEN


class QuotaExceeded(Refused):
    """No room left under a limit."""

    code = Code.QUOTA_EXCEEDED


class NotFound(Refused):
    """No such object, or none that the actor may know of: the two look the same."""

    code = Code.NOT_FOUND


def no_such(what: str) -> NotFound:
    """The one answer for an absent object and for one of another tenant, such as `project <id>`."""
    return NotFound(f"There is no {what}, or none that you may see.")


class AlreadyExists(Refused):
    """The name is taken."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(Refused):
    """The object's state does not allow it yet."""

    code = Code.FAILED_PRECONDITION


class Unavailable(Refused):
    """A part that is needed does not answer; trying again later may work."""

    code = Code.UNAVAILABLE

"""Why a service said no, in the words that the person asking sees.

No HTTP here: the edges translate `code`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orgs.decisions import Denial


class Code(StrEnum):
    """Error codes as Pinecone's control plane and Admin API name them."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FORBIDDEN = "FORBIDDEN"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    PAYMENT_REQUIRED = "PAYMENT_REQUIRED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNPROCESSABLE_ENTITY = "UNPROCESSABLE_ENTITY"
    UNAVAILABLE = "SERVICE_UNAVAILABLE"


class Refused(Exception):
    """A service refused.

    `message` names the value, the rule and the way out, and is safe to show. `denial` is what
    `authorize()` found, for the record.
    """

    code = Code.INVALID_ARGUMENT

    def __init__(self, message: str, *, denial: Denial | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.denial = denial


class InvalidArgument(Refused):
    """A value breaks a rule."""


class PermissionDenied(Refused):
    """The actor may know of the object but not do this to it."""

    code = Code.PERMISSION_DENIED


class SignInRequired(PermissionDenied):
    """The organization lets people in by its own sign-in only; our page `url` leads there."""

    def __init__(self, message: str, *, url: str, denial: Denial | None = None) -> None:
        super().__init__(message, denial=denial)
        self.url = url


class Forbidden(Refused):
    """A switch on the object itself forbids it, whoever asks."""

    code = Code.FORBIDDEN


class ReauthenticationRequired(Forbidden):
    """The act is dangerous and the person's last proof of who they are is too long ago."""


class QuotaExceeded(Refused):
    """No room left under a limit."""

    code = Code.QUOTA_EXCEEDED


class NotFound(Refused):
    """No such object, or none that the actor may know of: the two look the same."""

    code = Code.NOT_FOUND


def no_such(what: str, *, denial: Denial | None = None) -> NotFound:
    """The one answer for an absent object and for one of another tenant, such as `project <id>`."""
    return NotFound(f"There is no {what}, or none that you may see.", denial=denial)


class AlreadyExists(Refused):
    """The name is taken."""

    code = Code.ALREADY_EXISTS


class Aborted(Refused):
    """It would leave something in a state that must not be, such as no owner."""

    code = Code.ABORTED


class OutOfRange(Refused):
    """A number lies outside its range."""

    code = Code.OUT_OF_RANGE


class TooManyRequests(Refused):
    """A rate limit is reached.

    `retry_after` is in seconds.
    """

    code = Code.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PaymentRequired(Refused):
    """The organization has to settle its account first."""

    code = Code.PAYMENT_REQUIRED


class FailedPrecondition(Refused):
    """The object's state does not allow it yet."""

    code = Code.FAILED_PRECONDITION


class Unavailable(Refused):
    """A part that is needed does not answer; trying again later may work."""

    code = Code.UNAVAILABLE

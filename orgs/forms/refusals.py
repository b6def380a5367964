"""Showing a service's refusal beside the field that it speaks of."""

from __future__ import annotations

from django import forms

from orgs.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PaymentRequired,
    QuotaExceeded,
    Refused,
    TooManyRequests,
    Unavailable,
)

SHOWN = (
    *(Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, OutOfRange),
    *(PaymentRequired, QuotaExceeded, TooManyRequests, Unavailable),
)
"""Refusals of what was asked, which a form shows; those of who asks have pages of their own."""


def add_refusal(form: forms.Form, error: Refused, field: str | None = None) -> None:
    """Add the message to `field`; where None, to the field that its first two words name, as those
    of refused values do (`name "X" can't …`, `Tag key …`), or else to the form as a whole.
    """
    words = error.message.lower().split()[:2]
    named = [word for each in words for word in (each, f"{each}s") if word in form.fields]
    form.add_error(field or (named[0] if named else None), error.message)

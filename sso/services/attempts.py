"""The sign-in log of a connection: one line for every way that a sign-in ended."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.models import User
from sso.actors import idp_actor
from sso.errors import SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Attempt, Connection, Purpose

OK = "ok"
SHOWN_NAMES = 100
SHOWN_VALUES = 50
SHOWN_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request comes from: its address, and its name in logs and the audit trail."""

    ip: str = ""
    request_id: str = ""


def record_attempt(
    connection: Connection,
    purpose: str,
    code: str,
    reason: str = "",
    *,
    assertion: VerifiedAssertion | None = None,
    user: User | None = None,
    visitor: Visitor = Visitor(),
) -> Attempt:
    """Write one line. What the identity provider said is kept where it was believed.

    The values of attributes are kept of tests alone, whose owners want to see them; of everybody
    else it is how many there are.
    """
    values = purpose == Purpose.TEST
    attributes = assertion.attributes if assertion else {}
    return Attempt.objects.create(
        connection=connection,
        purpose=purpose,
        code=code,
        reason=_fitting("reason", reason),
        email=_fitting("email", assertion.email) if assertion else "",
        uid=_fitting("uid", assertion.uid) if assertion else "",
        user=user,
        attributes={
            name[:SHOWN_LENGTH]: (
                [each[:SHOWN_LENGTH] for each in found[:SHOWN_VALUES]] if values else len(found)
            )
            for name, found in sorted(attributes.items())[:SHOWN_NAMES]
        },
        ip=visitor.ip,
        request_id=_fitting("request_id", visitor.request_id),
    )


@transaction.atomic
def record_refusal(
    connection: Connection,
    purpose: str,
    refused: SignInRefused,
    *,
    assertion: VerifiedAssertion | None = None,
    user: User | None = None,
    visitor: Visitor = Visitor(),
) -> Attempt:
    """Write the line of a sign-in that did not come about; where the identity provider was
    believed and is known to speak of somebody, an audit event too.
    """
    reason = f"[{refused.check}] {refused.reason}" if refused.check else refused.reason
    attempt = record_attempt(
        connection,
        purpose,
        refused.code.value,
        reason,
        assertion=assertion,
        user=user,
        visitor=visitor,
    )
    if assertion is not None and purpose != Purpose.TEST:
        record(
            EventType.SSO_REFUSED,
            actor=idp_actor(connection, ip=visitor.ip, request_id=visitor.request_id),
            organization_id=connection.organization_id,
            resource=("sso_connection", connection.pk, connection.name),
            detail={
                "code": refused.code.value,
                "email": assertion.email,
                "reason": refused.reason,
                "attempt_id": str(attempt.pk),
            },
            outcome=AuditEvent.Outcome.FAILURE,
        )
    return attempt


def _fitting(field: str, text: str) -> str:
    """What of the text its column takes: PostgreSQL has no NUL."""
    limit: int | None = Attempt._meta.get_field(field).max_length  # type: ignore[union-attr]  # a column
    return text.replace("\0", "")[:limit]

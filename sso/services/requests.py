"""Sign-ins under way: from the moment that a browser leaves for the identity provider until it
comes back and fetches the result.

Every step is one conditional update, so whatever happens twice, at once or after a crash has one
winner; who lost starts over. Nothing here reads a session: the answer comes with a request of
another site, which carries no cookies of ours.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from orgs.models import User
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Attempt, Connection, Purpose, SignInRequest, UsedAssertion

LIFETIME = timedelta(minutes=10)
FETCH_WITHIN = timedelta(minutes=5)
"""How long the result waits for its browser, which comes at once unless it has to be asked."""
NEXT_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that just began.

    Attributes:
        browser_secret: what the browser keeps in a cookie, to be known by when it comes back.
    """

    row: SignInRequest
    browser_secret: str

    @property
    def request_id(self) -> str:
        """ID of the AuthnRequest, `state` of OpenID Connect."""
        return self.row.request_id


def digest(secret: str) -> str:
    """What is stored of a secret of 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def begin(
    connection: Connection,
    purpose: Purpose,
    *,
    user: User | None = None,
    next_path: str = "",
    is_forced: bool = False,
) -> Begun:
    """Note that a browser leaves for the identity provider.

    Args:
        user: who is signed in and tests or enters.
        next_path: a path of ours to go to afterwards; the caller has checked that it is one. One
            that is too long is dropped.
        is_forced: the person is to prove anew who they are.
    """
    browser_secret = secrets.token_urlsafe(32)
    row = SignInRequest.objects.create(
        connection=connection,
        # An XML ID: it must not begin with a digit.
        request_id=f"_{secrets.token_hex(24)}",
        purpose=purpose,
        user=user,
        is_forced=is_forced,
        browser_hash=digest(browser_secret),
        next_path=next_path if len(next_path) <= NEXT_LENGTH else "",
        config_version=connection.config_version,
        expires_at=timezone.now() + LIFETIME,
    )
    return Begun(row, browser_secret)


def find_request(connection: Connection, request_id: str) -> SignInRequest:
    """The request that an answer says it belongs to. Whether it was answered is asked later: a
    replay is to be called one.

    Raises:
        SignInRefused: this connection sent no such request, or it is over.
    """
    rows = SignInRequest.objects.filter(connection=connection, request_id=request_id)
    row = rows.first() if request_id and "\0" not in request_id else None
    if row is None:
        raise SignInRefused(
            Code.UNSOLICITED, "The response answers a request that this connection never sent."
        )
    if row.expires_at <= timezone.now():
        raise SignInRefused(
            Code.REQUEST_OVER,
            f"The response came later than {int(LIFETIME.total_seconds() // 60)} minutes after the"
            " request.",
        )
    return row


@transaction.atomic
def accept_assertion(row: SignInRequest, assertion: VerifiedAssertion) -> str:
    """Keep what a believed answer proved, once; the handle that leads to the result.

    Raises:
        SignInRefused: the assertion was used before, or the request was answered.
    """
    if assertion.connection_id != row.connection_id:
        raise SignInRefused(Code.INVALID_RESPONSE, "The answer is another connection's.")
    if row.is_forced:
        _check_fresh(row, assertion)
    _use_up(row.connection_id, assertion)
    return _answer(row, assertion.to_json())


def _check_fresh(row: SignInRequest, assertion: VerifiedAssertion) -> None:
    """Whether the person proved who they are after they were asked to. That wish stands in an
    address, where the browser's owner can take it out: so the answer has to say it.

    Raises:
        SignInRefused: the identity provider let an earlier proof do.
    """
    skew = timedelta(seconds=row.connection.clock_skew_seconds)
    # Identity providers tell whole seconds.
    asked, proven = row.created_at.replace(microsecond=0), assertion.authenticated_at
    if proven is None or proven < asked - skew:
        told = f"the last proof was at {proven:%Y-%m-%d %H:%M:%S} UTC" if proven else "none is told"
        raise SignInRefused(
            Code.EXPIRED,
            f"The person was to prove anew who they are (ForceAuthn), and did not: {told}.",
        )


@transaction.atomic
def accept_unsolicited(connection: Connection, assertion: VerifiedAssertion) -> str:
    """The same for an answer that nobody asked for, where the connection takes such ones.

    Raises:
        SignInRefused: it does not, or the assertion was used before.
    """
    if not connection.allows_idp_initiated:
        raise SignInRefused(
            Code.UNSOLICITED, "The connection takes no sign-in that the identity provider begins."
        )
    row = SignInRequest.objects.create(
        connection=connection,
        purpose=Purpose.SIGN_IN,
        config_version=connection.config_version,
        expires_at=timezone.now() + LIFETIME,
    )
    return accept_assertion(row, assertion)


def answer_refused(row: SignInRequest, attempt: Attempt) -> str:
    """Keep why a test was refused, for the owner who tests; the handle that leads there.

    Raises:
        SignInRefused: the request was answered.
    """
    return _answer(row, {"attempt": str(attempt.pk)})


def _use_up(connection_id: UUID, assertion: VerifiedAssertion) -> None:
    try:
        with transaction.atomic():
            UsedAssertion.objects.create(
                connection_id=connection_id,
                assertion_hash=digest(assertion.assertion_id),
                expires_at=assertion.not_on_or_after,
            )
    except IntegrityError as error:
        raise SignInRefused(Code.REPLAY, "The assertion was used before.") from error


def _answer(row: SignInRequest, answer: dict[str, Any]) -> str:
    handle, now = secrets.token_urlsafe(32), timezone.now()
    waiting = SignInRequest.objects.filter(pk=row.pk, answered_at=None, expires_at__gt=now)
    changed = waiting.update(
        answered_at=now,
        answer=answer,
        handle_hash=digest(handle),
        expires_at=now + FETCH_WITHIN,
    )
    if not changed:
        raise SignInRefused(
            Code.REQUEST_OVER, "The request was answered before, or its time is over."
        )
    return handle


def find_answered(connection_id: UUID, handle: str) -> SignInRequest:
    """The request whose result the handle leads to, with connection and organization.

    Raises:
        SignInRefused: there is none at this connection, or its result was fetched, or its time is
            over.
    """
    row = (
        SignInRequest.objects.select_related("connection__organization", "user")
        .filter(connection_id=connection_id, handle_hash=digest(handle), finished_at=None)
        .first()
    )
    if row is None or row.answer is None or row.expires_at <= timezone.now():
        raise SignInRefused(
            Code.REQUEST_OVER, "The result was fetched before, or nobody fetched it in time."
        )
    return row


def check_browser(row: SignInRequest, browser_secret: str) -> None:
    """Let pass the browser that began. Where the identity provider began, anyone passes: then the
    person has to be asked.

    Raises:
        SignInRefused: it is another one.
    """
    if row.browser_hash and not hmac.compare_digest(row.browser_hash, digest(browser_secret)):
        raise SignInRefused(
            Code.OTHER_BROWSER, "Another browser came back than the one that was sent away."
        )


def claim(row: SignInRequest) -> None:
    """Fetch the result: from now on it is gone for everybody else.

    Raises:
        SignInRefused: somebody was faster.
    """
    now = timezone.now()
    waiting = SignInRequest.objects.filter(pk=row.pk, finished_at=None, expires_at__gt=now)
    if not waiting.update(finished_at=now, answer=None):
        raise SignInRefused(Code.REQUEST_OVER, "The result was fetched before.")


def until_of(connection: Connection, assertion: VerifiedAssertion) -> datetime:
    """Until when a sign-in lasts: as long as the organization, and the identity provider, lets it.

    Raises:
        SignInRefused: the identity provider's session is over.
    """
    now = timezone.now()
    until = now + timedelta(hours=connection.session_hours)
    if assertion.session_not_on_or_after is not None:
        until = min(until, assertion.session_not_on_or_after)
    if until <= now:
        raise SignInRefused(Code.EXPIRED, "The identity provider's session is over already.")
    return until


def proven_by(row: SignInRequest) -> VerifiedAssertion:
    """What the answer proved. The row has one, and it is not about a refusal."""
    return VerifiedAssertion.from_json(row.answer or {})

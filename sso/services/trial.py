"""Trying a connection: what a sign-in would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.models import User
from orgs.permissions import Permission, authorize
from sso.errors import SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Attempt, Connection, Purpose, SignInRequest
from sso.selectors.connections import authorize_reading, get_connection, label_of
from sso.services.attempts import OK, Visitor, record_attempt, record_refusal
from sso.services.requests import Begun, begin
from sso.services.sign_in import Rehearsal, check_usable, locked_connection, rehearse


@dataclass(frozen=True, slots=True)
class Trial:
    """How a test ended.

    Attributes:
        attempt: its line in the sign-in log.
        assertion: what the identity provider said; None: it was not believed.
        rehearsal: what a sign-in would do; None: it would be refused, `attempt` says why.
    """

    attempt: Attempt
    assertion: VerifiedAssertion | None = None
    rehearsal: Rehearsal | None = None


def begin_test(*, actor: Actor, connection: Connection, user: User) -> Begun:
    """Send the person who tests to the identity provider.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        SignInRefused: the connection is not complete, or switched off.
    """
    authorize(
        actor,
        Permission.SSO_MANAGE,
        organization_id=connection.organization_id,
        what=label_of(connection.pk),
    )
    check_usable(connection, Purpose.TEST)
    return begin(connection, Purpose.TEST, user=user)


@transaction.atomic
def conclude_test(
    *, actor: Actor, row: SignInRequest, assertion: VerifiedAssertion, visitor: Visitor
) -> Trial:
    """Rehearse the sign-in. Where it would succeed, the configuration counts as tested.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there any more.
    """
    authorize_reading(actor, row.connection.organization_id, label_of(row.connection_id))
    connection = row.connection
    try:
        connection = locked_connection(row)
        rehearsal = rehearse(connection, assertion, visitor=visitor)
    except SignInRefused as refused:
        attempt = record_refusal(
            connection, Purpose.TEST, refused, assertion=assertion, visitor=visitor
        )
        return Trial(attempt, assertion)
    Connection.objects.filter(pk=connection.pk).update(
        tested_version=connection.config_version, tested_at=timezone.now()
    )
    record(
        EventType.SSO_CONNECTION_TESTED,
        actor=actor,
        organization_id=connection.organization_id,
        resource=("sso_connection", connection.pk, connection.name),
        permission=Permission.SSO_MANAGE,
        detail={"email": assertion.email, "version": connection.config_version},
    )
    attempt = record_attempt(
        connection,
        Purpose.TEST,
        OK,
        " ".join(rehearsal.let_in.notes),
        assertion=assertion,
        user=row.user,
        visitor=visitor,
    )
    return Trial(attempt, assertion, rehearsal)


def conclude_refused_test(*, actor: Actor, row: SignInRequest) -> Trial:
    """Why the identity provider's answer to a test was not believed.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there any more.
    """
    connection = get_connection(actor, row.connection_id)
    return Trial(connection.attempts.get(pk=(row.answer or {})["attempt"]))

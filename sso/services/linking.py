"""Who somebody at an identity provider is here."""

from __future__ import annotations

import logging

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.services import record
from orgs import mail
from orgs.actors import Actor
from orgs.models import User
from orgs.services.accounts import vouch_for_email
from orgs.services.people import record_for_person
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection, Identity
from sso.selectors.domains import owns_domain_of

logger = logging.getLogger(__name__)


def owns(connection: Connection, email: str, *, routed: bool = False) -> bool:
    """Whether the address is in a domain that the connection's organization has proven to own.

    `routed`: and whose people sign in by this very connection.
    """
    return owns_domain_of(
        connection.organization_id, email, served_by=connection if routed else None
    )


def find_identity(connection: Connection, assertion: VerifiedAssertion) -> Identity | None:
    """Whom the identity provider's lasting id stands for."""
    rows = Identity.objects.select_related("user")
    return rows.filter(connection=connection, uid=assertion.uid).first()


def link(
    actor: Actor,
    connection: Connection,
    assertion: VerifiedAssertion,
    user: User,
    *,
    opens_sessions: bool,
    is_new_person: bool = False,
) -> Identity:
    """Have the identity provider's lasting id stand for the person from now on.

    Who had an account before is told by mail.

    Raises:
        SignInRefused: the person has another id at this connection.
    """
    other = Identity.objects.filter(connection=connection, user=user).first()
    if other is not None:
        raise SignInRefused(
            Code.IDENTITY_CONFLICT,
            f"{user.email} is linked to another identity of this connection, {other.uid!r}; the"
            f" identity provider now says {assertion.uid!r}. An owner can unlink the old one.",
        )
    identity = Identity.objects.create(
        connection=connection, user=user, uid=assertion.uid, opens_sessions=opens_sessions
    )
    record(
        EventType.SSO_IDENTITY_LINKED,
        actor=actor,
        organization_id=connection.organization_id,
        resource=("user", user.pk, user.email),
        detail={"connection_id": str(connection.pk), "subject": assertion.uid},
    )
    if not is_new_person:
        _tell_linked(connection, user, opens_sessions=opens_sessions)
    return identity


def _tell_linked(connection: Connection, user: User, *, opens_sessions: bool) -> None:
    organization = connection.organization.name
    what = (
        "From now on it signs you in."
        if opens_sessions
        else "It lets you into that organization when you are signed in already, and nowhere else."
    )
    mail.send(
        to=user.email,
        subject=f"Your account is linked to {organization}'s single sign-on",
        text=(
            f"Your account {user.email} is now linked to the identity provider of the organization"
            f" {organization}. {what}\n\n"
            "If that was not you, tell an owner of the organization at once.\n"
        ),
    )


def follow_email(
    actor: Actor, connection: Connection, assertion: VerifiedAssertion, user: User
) -> None:
    """Give the person the address that the identity provider says now.

    The caller has made sure that the organization owns the domains of both. Where somebody else has
    the address, the old one stays.
    """
    old, new = user.email, assertion.email
    if old == new:
        return
    taken = (
        User.objects.filter(email=new).exists()
        or EmailAddress.objects.filter(email=new).exclude(user=user).exists()
    )
    if taken:
        _log_taken(connection, user)
        return
    try:
        with transaction.atomic():
            user.email = new
            user.save(update_fields=["email"])
            vouch_for_email(user)
    except IntegrityError:
        user.email = old
        _log_taken(connection, user)
        return
    for event, email in ((EventType.EMAIL_CHANGED, new), (EventType.EMAIL_REMOVED, old)):
        record_for_person(event, actor=actor, user=user, detail={"email": email})
    mail.send(
        to=old,
        subject="Your address has changed",
        text=(
            f"Your organization {connection.organization.name} now says that your e-mail address is"
            f" {new}, and so does your account from now on; {old} is not used any more.\n\n"
            "If that is wrong, tell an owner of the organization.\n"
        ),
    )


def _log_taken(connection: Connection, user: User) -> None:
    logger.warning(
        "Connection %s: the address of person %s changed at the identity provider, and stays here:"
        " somebody else has the new one.",
        connection.pk,
        user.pk,
    )

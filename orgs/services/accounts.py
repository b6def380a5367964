"""What people do to their own accounts, and what is written down of it.

allauth makes most of the changes itself; its views call these functions inside the transaction of
the change, so that what can't be written down does not happen.
"""

from __future__ import annotations

from collections.abc import Collection

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.actors import Actor
from orgs.errors import AlreadyExists, PermissionDenied, no_such
from orgs.models import User
from orgs.services.checks import check_email, check_text
from orgs.services.people import record_for_person


def check_self(actor: Actor, user: User) -> None:
    """Whether the actor is that person, or the platform itself.

    Raises:
        PermissionDenied: somebody else.
    """
    if not actor.is_system and (actor.kind != "user" or actor.id != str(user.pk)):
        raise PermissionDenied("People change their own account only.")


def record_account_event(
    event: EventType, *, actor: Actor, user: User, detail: dict[str, object] | None = None
) -> None:
    """Note what the person did to their own account, inside the transaction that does it.

    Raises:
        PermissionDenied: another person's account.
    """
    check_self(actor, user)
    record_for_person(event, actor=actor, user=user, detail=detail)


@transaction.atomic
def record_reset_request(*, email: str, ip: str, request_id: str) -> None:
    """Note that somebody asked for a new password for `email`, which need not be anybody's."""
    user = User.objects.filter(email=email.lower()).first()
    actor = Actor(kind="user", id="", label="somebody not signed in", ip=ip, request_id=request_id)
    if user is not None:
        record_for_person(EventType.PASSWORD_RESET_REQUESTED, actor=actor, user=user)
        return
    record(
        EventType.PASSWORD_RESET_REQUESTED,
        actor=actor,
        organization_id=None,
        resource=("user", "", email),
        outcome=AuditEvent.Outcome.FAILURE,
    )


def vouch_for_email(user: User) -> None:
    """Take the person's address as proven: who made the account knows that it is theirs."""
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()
    EmailAddress.objects.update_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )


@transaction.atomic
def change_email_from_outside(*, actor: Actor, user: User, email: str) -> None:
    """Give the person another address, whose mailbox an identity provider or a directory vouches
    for. Their sessions go on.

    The caller has made sure that the old and the new address are in domains of the actor's
    organization.

    Raises:
        PermissionDenied: anything but an identity provider or a directory asks.
        InvalidArgument: not an e-mail address.
        AlreadyExists: the address is taken.
    """
    if actor.kind not in {"sso", "scim"}:
        raise PermissionDenied("Only identity providers and directories vouch for addresses.")
    before, after = user.email, check_email(email)
    if before == after:
        return
    user.email = after
    try:
        with transaction.atomic():
            user.save(update_fields=["email"])
    except IntegrityError as error:
        user.email = before
        raise AlreadyExists(f"The e-mail address {after} is taken by another account.") from error
    vouch_for_email(user)
    record_for_person(
        EventType.EMAIL_CHANGED, actor=actor, user=user, detail={"changed": [before, after]}
    )


@transaction.atomic
def end_session(*, actor: Actor, user: User, session_id: int) -> None:
    """Sign the person out of one session; its next request finds nobody signed in.

    Raises:
        PermissionDenied: another person's account.
        NotFound: no such session of this person.
    """
    check_self(actor, user)
    session = UserSession.objects.select_for_update().filter(user=user, pk=session_id).first()
    if session is None:
        raise no_such(f"session {session_id}")
    _end([session], actor=actor, user=user)


@transaction.atomic
def end_other_sessions(*, actor: Actor, user: User, keep: str) -> int:
    """Sign the person out of every session but that of the key `keep`; how many there were.

    Raises:
        PermissionDenied: another person's account.
    """
    check_self(actor, user)
    sessions = UserSession.objects.select_for_update().filter(user=user)
    others = list(sessions.exclude(session_key=keep))
    _end(others, actor=actor, user=user)
    return len(others)


@transaction.atomic
def end_sessions_from_outside(
    *, actor: Actor, user: User, keep: Collection[str] = frozenset()
) -> int:
    """Sign the person out everywhere but in the sessions of the keys `keep`; how many there were.

    For what decides over the person's sign-in: an identity provider, a directory, the platform. The
    caller has asked whether it may.

    Raises:
        PermissionDenied: a person or another machine asks.
    """
    if actor.kind not in {"sso", "scim", "system"}:
        raise PermissionDenied("People end their own sessions only.")
    sessions = UserSession.objects.select_for_update().filter(user=user)
    others = [each for each in sessions if each.session_key not in keep]
    _end(others, actor=actor, user=user)
    return len(others)


def _end(sessions: list[UserSession], *, actor: Actor, user: User) -> None:
    Session.objects.filter(session_key__in=[each.session_key for each in sessions]).delete()
    UserSession.objects.filter(pk__in=[each.pk for each in sessions]).delete()
    if sessions:
        record_for_person(
            EventType.SESSION_ENDED, actor=actor, user=user, detail={"count": len(sessions)}
        )


@transaction.atomic
def remove_second_factors(*, actor: Actor, user: User) -> int:
    """Let the person in by password alone again; how many factors there were.

    The way back for somebody who lost them all, recovery codes included.

    Raises:
        PermissionDenied: anyone but the platform's operator asks.
    """
    if not actor.is_system:
        raise PermissionDenied("Only the platform's operator removes a person's second factors.")
    count: int = Authenticator.objects.filter(user=user).delete()[0]
    if count:
        record_for_person(
            EventType.MFA_DISABLED, actor=actor, user=user, detail={"kind": "all", "count": count}
        )
    return count


@transaction.atomic
def rename_self(*, actor: Actor, user: User, name: str) -> None:
    """Change what others call the person.

    Raises:
        PermissionDenied: somebody else's account.
        InvalidArgument: the name is too long or not printable.
    """
    check_self(actor, user)
    limit = User._meta.get_field("name").max_length or 0
    before, user.name = user.name, check_text(name.strip(), "name", limit=limit)
    if before == user.name:
        return
    user.save(update_fields=["name"])
    record_account_event(EventType.USER_RENAMED, actor=actor, user=user)

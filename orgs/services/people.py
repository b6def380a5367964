"""Making people, and their coming and going."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.actors import Actor
from orgs.errors import AlreadyExists, PermissionDenied
from orgs.models import User
from orgs.services.checks import check_email, check_password, check_text


@transaction.atomic
def create_user(*, actor: Actor, email: str, password: str) -> User:
    """A person who signs in with e-mail and password.

    Raises:
        PermissionDenied: anyone but the platform itself asks.
        InvalidArgument: not an e-mail address, or a password that the rules refuse.
        AlreadyExists: the address is taken.
    """
    if not actor.is_system:
        raise PermissionDenied("Only the platform's operator creates people directly.")
    email = check_email(email)
    check_password(password, User(email=email))
    return _create(actor, email, password=password)


@transaction.atomic
def create_user_from_outside(*, actor: Actor, email: str, name: str = "") -> User:
    """A person without a password, whom an identity provider or a directory vouches for.

    The caller has made sure that the address is in a domain of the actor's organization.

    Raises:
        PermissionDenied: anything but an identity provider or a directory asks.
        InvalidArgument: not an e-mail address, or the name is too long.
        AlreadyExists: the address is taken.
    """
    if actor.kind not in {"sso", "scim"}:
        raise PermissionDenied("Only identity providers and directories vouch for people.")
    limit = User._meta.get_field("name").max_length or 0
    check_text(name, "name", limit=limit)
    return _create(actor, check_email(email), password=None, name=name.strip())


def _create(actor: Actor, email: str, *, password: str | None, name: str = "") -> User:
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name)
    except IntegrityError as error:
        raise AlreadyExists(f"Somebody with the e-mail address {email} exists already.") from error
    record(
        EventType.USER_CREATED,
        actor=actor,
        organization_id=actor.organization_id,
        resource=("user", user.pk, user.email),
    )
    return user


@transaction.atomic
def change_password(*, actor: Actor, user: User, password: str, by_mail: bool = False) -> None:
    """Give the person a new password, which ends all sessions that were opened with the old one.

    `by_mail`: the person showed a link out of their mailbox instead of the old password.

    Raises:
        PermissionDenied: anyone but the person or the platform itself asks.
        InvalidArgument: a password that the rules refuse.
    """
    if not actor.is_system and actor.id != str(user.pk):
        raise PermissionDenied("People change their own password only.")
    check_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password"])
    event = EventType.PASSWORD_RESET if by_mail else EventType.PASSWORD_CHANGED
    record_for_person(event, actor=actor, user=user)


def record_sign_in(*, actor: Actor, user: User, kind: str) -> None:
    """Note that the person came in, and by what, such as `password+totp`."""
    record_for_person(EventType.SIGNED_IN, actor=actor, user=user, detail={"kind": kind})


def record_sign_out(*, actor: Actor, user: User) -> None:
    """Note that the person left."""
    record_for_person(EventType.SIGNED_OUT, actor=actor, user=user)


def record_failed_sign_in(*, email: str, reason: str, ip: str, request_id: str) -> None:
    """Note that somebody tried to come in as `email`, which need not be anybody's address."""
    user = User.objects.filter(email=email.lower()).first()
    label = email[: User._meta.get_field("email").max_length]
    actor = Actor(
        kind="user",
        id=str(user.pk) if user else "",
        label=label,
        ip=ip,
        request_id=request_id,
    )
    if user is not None:
        record_for_person(EventType.SIGN_IN_FAILED, actor=actor, user=user, reason=reason)
        return
    record(
        EventType.SIGN_IN_FAILED,
        actor=actor,
        organization_id=None,
        resource=("user", "", label),
        detail={"reason": reason},
        outcome=AuditEvent.Outcome.FAILURE,
    )


@transaction.atomic
def record_for_person(
    event: EventType,
    *,
    actor: Actor,
    user: User,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """One event in the trail of each of the person's organizations, or one that belongs to none.

    With a `reason` it is a failure.
    """
    organizations: list[UUID | None] = list(
        user.memberships.values_list("organization_id", flat=True)
    )
    for organization_id in organizations or [None]:
        record(
            event,
            actor=actor,
            organization_id=organization_id,
            resource=("user", user.pk, user.email),
            detail={**(detail or {}), **({"reason": reason} if reason else {})},
            outcome=AuditEvent.Outcome.FAILURE if reason else AuditEvent.Outcome.SUCCESS,
        )


@transaction.atomic
def set_operator(*, actor: Actor, user: User, is_operator: bool) -> bool:
    """Let a person look after the installation, or no longer; whether that changed anything.

    Raises:
        PermissionDenied: anything but the installation's own command asks.
    """
    if not actor.is_system:
        raise PermissionDenied("Operators are named on the server: manage.py operator add.")
    changed = User.objects.filter(pk=user.pk).exclude(is_operator=is_operator)
    if not changed.update(is_operator=is_operator):
        return False
    user.is_operator = is_operator
    record(
        EventType.OPERATOR_ADDED if is_operator else EventType.OPERATOR_REMOVED,
        actor=actor,
        organization_id=None,
        resource=("user", user.pk, user.email),
    )
    return True

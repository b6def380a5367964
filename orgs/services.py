"""Making people and organizations, and letting people in."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.actors import Actor
from orgs.errors import AlreadyExists, InvalidArgument, PermissionDenied
from orgs.models import Membership, Organization, RoleBinding, User
from orgs.permissions import ORGANIZATION_ROLES, Role

NAME_LENGTH = 512


def check_name(name: str, what: str, *, limit: int = NAME_LENGTH) -> str:
    """The name without outer white space.

    Raises:
        InvalidArgument: empty, longer than `limit` characters, or with a control character.
    """
    cleaned = name.strip()
    if not 1 <= len(cleaned) <= limit or not cleaned.isprintable():
        raise InvalidArgument(
            f"The {what} name has to have 1 to {limit} printable characters;"
            f" {cleaned[:40]!r} has {len(cleaned)}."
        )
    return cleaned


def check_password(password: str, user: User) -> None:
    """Whether the person may use it.

    Raises:
        InvalidArgument: too short, too common, or too close to the e-mail address.
    """
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidArgument(f"This password can't be used: {' '.join(error.messages)}") from error


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
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidArgument(f"{email[:254]!r} is not an e-mail address.") from error
    check_password(password, User(email=email))
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password)
    except IntegrityError as error:
        raise AlreadyExists(f"Somebody with the e-mail address {email} exists already.") from error
    record(
        EventType.USER_CREATED,
        actor=actor,
        organization_id=None,
        resource=("user", user.pk, user.email),
    )
    return user


@transaction.atomic
def change_password(*, actor: Actor, user: User, password: str) -> None:
    """Give the person a new password, which ends all sessions that were opened with the old one.

    Raises:
        PermissionDenied: anyone but the person or the platform itself asks.
        InvalidArgument: a password that the rules refuse.
    """
    if not actor.is_system and actor.id != str(user.pk):
        raise PermissionDenied("People change their own password only.")
    check_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password"])
    _record_for_person(EventType.PASSWORD_CHANGED, actor=actor, user=user)


def record_sign_in(*, actor: Actor, user: User) -> None:
    """Note that the person came in."""
    _record_for_person(EventType.SIGNED_IN, actor=actor, user=user)


def record_sign_out(*, actor: Actor, user: User) -> None:
    """Note that the person left."""
    _record_for_person(EventType.SIGNED_OUT, actor=actor, user=user)


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
        _record_for_person(EventType.SIGN_IN_FAILED, actor=actor, user=user, reason=reason)
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
def _record_for_person(event: EventType, *, actor: Actor, user: User, reason: str = "") -> None:
    """One event in the trail of each of the person's organizations, or one that belongs to none."""
    organizations: list[UUID | None] = list(
        user.memberships.values_list("organization_id", flat=True)
    )
    for organization_id in organizations or [None]:
        record(
            event,
            actor=actor,
            organization_id=organization_id,
            resource=("user", user.pk, user.email),
            detail={"reason": reason} if reason else {},
            outcome=AuditEvent.Outcome.FAILURE if reason else AuditEvent.Outcome.SUCCESS,
        )


@transaction.atomic
def create_organization(*, actor: Actor, name: str, owner: User) -> Organization:
    """An organization with its first owner.

    Raises:
        PermissionDenied: a person asks for somebody else, or a key asks.
        InvalidArgument: the name is empty, too long or not printable.
    """
    if not actor.is_system and (actor.kind != "user" or actor.id != str(owner.pk)):
        raise PermissionDenied("People create organizations of their own only.")
    organization = Organization.objects.create(name=check_name(name, "organization"))
    record(
        EventType.ORGANIZATION_CREATED,
        actor=actor,
        organization_id=organization.pk,
        resource=("organization", organization.pk, organization.name),
        detail={"plan": organization.plan},
    )
    Membership.objects.create(user=owner, organization=organization)
    record(
        EventType.MEMBER_ADDED,
        actor=actor,
        organization_id=organization.pk,
        resource=("user", owner.pk, owner.email),
    )
    bind_role(
        actor=actor,
        organization_id=organization.pk,
        principal=(RoleBinding.PrincipalType.USER, owner.pk),
        role=Role.ORG_OWNER,
        resource_id=organization.pk,
        reason="First owner",
    )
    return organization


@transaction.atomic
def bind_role(
    *,
    actor: Actor,
    organization_id: UUID,
    principal: tuple[RoleBinding.PrincipalType, UUID],
    role: Role,
    resource_id: UUID,
    reason: str = "",
) -> RoleBinding:
    """Write one binding with its audit event.

    Who may grant what is the calling service's decision.
    """
    on_organization = role in ORGANIZATION_ROLES
    principal_type, principal_id = principal
    binding = RoleBinding.objects.create(
        organization_id=organization_id,
        principal_type=principal_type,
        principal_id=principal_id,
        resource_type=RoleBinding.ResourceType.ORGANIZATION
        if on_organization
        else RoleBinding.ResourceType.PROJECT,
        resource_id=resource_id,
        role=role,
        reason=reason,
        granted_by=actor.label,
    )
    record(
        EventType.ROLE_BINDING_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("role_binding", binding.pk, role.value),
        detail={
            "principal_type": principal_type.value,
            "principal_id": str(principal_id),
            "resource_type": str(binding.resource_type),
            "resource_id": str(resource_id),
        },
    )
    return binding

"""Asking people in, and their coming."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs import mail
from orgs.actors import Actor
from orgs.entitlements import check_room
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    TooManyRequests,
    no_such,
)
from orgs.identity_providers import identity_providers
from orgs.models import (
    Invitation,
    Membership,
    Organization,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import (
    DANGEROUS,
    Permission,
    Role,
    authorize,
    permissions_in,
    require_fresh,
)
from orgs.plans import Entitlement
from orgs.removal import remove_binding
from orgs.selectors.bindings import as_binding, not_over
from orgs.selectors.invitations import LinkState, bindings_of, link_token, state_of
from orgs.selectors.organizations import seats_taken
from orgs.selectors.roles import find_role
from orgs.services.bindings import (
    Scope,
    authorize_change,
    bind_role,
    check_bindable,
    check_bindings_ceiling,
    check_role_ceiling,
    find_scope,
    scope_of,
)
from orgs.services.checks import check_email, check_name, check_password
from orgs.services.owners import lock_organization

TTL = timedelta(days=7)
MAX_ROLES = 100
MAILS_PER_HOUR = 100
PERSON_NAME_LENGTH = 200
_MAILED = (EventType.INVITATION_CREATED.value, EventType.INVITATION_RESENT.value)


@dataclass(frozen=True, slots=True)
class InvitedRole:
    """A role that is to come with an invitation.

    Attributes:
        role: a predefined role, or the id or the name of one of the organization's own.
        resource_id: may be left out for the organization.
    """

    role: str
    resource_type: ResourceType
    resource_id: UUID | None = None


class InvitationOver(FailedPrecondition):
    """A link leads to nothing that could be accepted; `state` says why."""

    def __init__(self, state: LinkState) -> None:
        super().__init__(f"This invitation is {state.value}; it can't be accepted.")
        self.state = state


@transaction.atomic
def create_invitation(
    *, actor: Actor, organization_id: UUID, email: str, roles: Sequence[InvitedRole]
) -> Invitation:
    """Ask somebody in by e-mail; open for 7 days. One that expired gives way.

    Raises:
        NotFound: a resource that the actor may not know of.
        PermissionDenied: the actor may not invite there, or not give one of the roles.
        ReauthenticationRequired: a role with dangerous permissions needs a fresh proof of who
            gives it.
        InvalidArgument: no address, no role on the organization, more than 100 roles, the same one
            twice, or one that can't be held there; or single sign-on is required, and lets nobody
            with the address in.
        AlreadyExists: a member has the address, or a pending invitation; the message has its id.
        QuotaExceeded: no seat is left.
        TooManyRequests: the organization sent too many invitations within an hour.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.MEMBER_INVITE, organization_id=organization_id, what=what)
    email = check_email(email)
    _check_roles(roles)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    _check_invitable(organization, email)
    _check_no_member(organization, email)
    _make_room(actor, organization, email)
    _check_seat(organization)
    _check_mail_rate(organization)
    invitation = Invitation.objects.create(
        organization=organization,
        email=email,
        invited_by=actor.label,
        expires_at=timezone.now() + TTL,
    )
    for each in roles:
        _give(actor, invitation, each)
    record(
        EventType.INVITATION_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("invitation", invitation.pk, email),
        permission=Permission.MEMBER_INVITE,
        detail={
            "email": email,
            "roles": [each.role for each in roles],
            "expires_at": invitation.expires_at.isoformat(),
        },
    )
    _send(organization, invitation)
    return invitation


def _check_roles(roles: Sequence[InvitedRole]) -> None:
    if not 1 <= len(roles) <= MAX_ROLES:
        raise InvalidArgument(
            f"An invitation comes with 1 to {MAX_ROLES} role_bindings, not {len(roles)}."
        )
    if not any(each.resource_type == ResourceType.ORGANIZATION for each in roles):
        raise InvalidArgument(
            "An invitation needs at least one role on the organization, such as the one for plain"
            " members: nobody belongs to a project alone."
        )


def _check_invitable(organization: Organization, email: str) -> None:
    if reason := identity_providers().why_not_invitable(organization.pk, email):
        raise InvalidArgument(reason)


def _check_no_member(organization: Organization, email: str) -> None:
    if Membership.objects.filter(organization=organization, user__email=email).exists():
        raise AlreadyExists(
            f"{email} is a member of the organization already. Give the person roles instead."
        )


def _make_room(actor: Actor, organization: Organization, email: str) -> None:
    """Take an expired invitation for the address away.

    Raises:
        AlreadyExists: it is not expired.
    """
    rows = Invitation.objects.filter(organization=organization, email=email, processed_at=None)
    for found in rows.select_for_update():
        if found.status == Invitation.Status.PENDING:
            raise AlreadyExists(
                f"{email} is invited already, by the invitation {found.pk}. Resend or delete that"
                " one."
            )
        _remove(actor, found, reason="Expired, replaced by another one")


def _check_seat(organization: Organization) -> None:
    check_room(organization, Entitlement.MAX_MEMBERS, used=seats_taken(organization.pk))


def _check_mail_rate(organization: Organization) -> None:
    now, hour = timezone.now(), timedelta(hours=1)
    sent = AuditEvent.objects.filter(
        organization_id=organization.pk, type__in=_MAILED, time__gt=now - hour
    )
    times = list(sent.order_by("-time").values_list("time", flat=True)[:MAILS_PER_HOUR])
    if len(times) == MAILS_PER_HOUR:
        wait = max(1, math.ceil((times[-1] + hour - now).total_seconds()))
        raise TooManyRequests(
            f"An organization sends at most {MAILS_PER_HOUR} invitations in an hour. Try again in"
            f" {wait} s.",
            retry_after=wait,
        )


def _give(actor: Actor, invitation: Invitation, new: InvitedRole) -> None:
    """One role for the invited person, within what the actor may give."""
    scope = find_scope(invitation.organization_id, (new.resource_type, new.resource_id))
    if scope.project_id is not None:
        what = f"{new.resource_type.value} {new.resource_id}"
        authorize_change(actor, scope, PrincipalType.INVITE, what=what)
    role = find_role(invitation.organization_id, new.role)
    check_bindable(role, scope.resource_type, PrincipalType.INVITE)
    check_role_ceiling(actor, role, scope)
    if permissions_in(scope.holding(role)) & DANGEROUS:
        require_fresh(actor)
    try:
        with transaction.atomic():
            bind_role(
                actor=actor,
                organization_id=invitation.organization_id,
                principal=(PrincipalType.INVITE, invitation.pk),
                role=role,
                resource_id=scope.resource_id,
                index_in=_project_of_index(scope),
                permission=Permission.MEMBER_INVITE.value,
            )
    except IntegrityError:
        raise InvalidArgument(
            f"The role {new.role} on {new.resource_type.value} {scope.resource_id} stands there"
            " twice. Name it once."
        ) from None


def _project_of_index(scope: Scope) -> UUID | None:
    return scope.project_id if scope.index_id else None


def _send(organization: Organization, invitation: Invitation) -> None:
    token = link_token(invitation)
    link = settings.TAMARACK_PUBLIC_URL + reverse("orgs:invitation_link", args=[token])
    mail.send(
        to=invitation.email,
        subject=f"You are invited to {organization.name}",
        text=(
            f"{invitation.invited_by} invites you to the organization {organization.name}.\n\n"
            f"See what comes with it, and accept, until"
            f" {invitation.expires_at:%d %B %Y, %H:%M} UTC:\n{link}\n\n"
            "The link is for you alone: do not pass it on. If you did not expect it, ignore this"
            " message.\n"
        ),
        lifetime=TTL,
    )


@transaction.atomic
def resend_invitation(*, actor: Actor, invitation_id: UUID) -> Invitation:
    """Send it again, with a new link and 7 more days; the old link is dead.

    Raises:
        NotFound: no such invitation, or none that the actor may see.
        PermissionDenied: the actor may not invite there, or not give one of the roles that come
            with it.
        ReauthenticationRequired: one of them has dangerous permissions.
        InvalidArgument: single sign-on is required by now, and lets nobody with the address in.
        AlreadyExists: it is accepted, or a member has the address by now.
        QuotaExceeded: it had expired, and no seat is left.
        TooManyRequests: the organization sent too many invitations within an hour.
    """
    organization, invitation = _locked(actor, invitation_id)
    _check_invitable(organization, invitation.email)
    rows = list(bindings_of(invitation))
    check_bindings_ceiling(actor, rows)
    if any(permissions_in(as_binding(row)) & DANGEROUS for row in rows):
        require_fresh(actor)
    _check_no_member(organization, invitation.email)
    if invitation.status == Invitation.Status.EXPIRED:
        _check_seat(organization)
    _check_mail_rate(organization)
    invitation.nonce = uuid4()
    invitation.expires_at = timezone.now() + TTL
    invitation.invited_by = actor.label
    invitation.save(update_fields=["nonce", "expires_at", "invited_by"])
    record(
        EventType.INVITATION_RESENT,
        actor=actor,
        organization_id=organization.pk,
        resource=("invitation", invitation.pk, invitation.email),
        permission=Permission.MEMBER_INVITE,
        detail={"expires_at": invitation.expires_at.isoformat()},
    )
    _send(organization, invitation)
    return invitation


@transaction.atomic
def delete_invitation(*, actor: Actor, invitation_id: UUID) -> None:
    """Take it back with its roles; the link is dead.

    Raises:
        NotFound: no such invitation, or none that the actor may see.
        PermissionDenied: the actor may not invite there.
        AlreadyExists: it is accepted.
    """
    _, invitation = _locked(actor, invitation_id)
    _remove(actor, invitation, reason="Taken back")


def _locked(actor: Actor, invitation_id: UUID) -> tuple[Organization, Invitation]:
    """The invitation, if the actor may invite there and it is not accepted, and both rows locked.

    Raises:
        NotFound, PermissionDenied: the actor may not.
        AlreadyExists: it is accepted.
    """
    what = f"invitation {invitation_id}"
    invitation = Invitation.objects.filter(pk=invitation_id).first()
    if invitation is None:
        raise no_such(what)
    authorize(
        actor, Permission.MEMBER_INVITE, organization_id=invitation.organization_id, what=what
    )
    organization = lock_organization(invitation.organization_id)
    # Again under the lock: it may be accepted or gone by now.
    invitation = Invitation.objects.filter(pk=invitation_id).first()
    if organization is None or invitation is None:
        raise no_such(what)
    if invitation.processed_at is not None:
        raise AlreadyExists(
            f"The invitation {invitation_id} is accepted already. Change the person's roles, or"
            " remove the person, instead."
        )
    return organization, invitation


def _remove(actor: Actor, invitation: Invitation, *, reason: str) -> None:
    for row in bindings_of(invitation):
        remove_binding(actor=actor, row=row, reason=reason)
    record(
        EventType.INVITATION_DELETED,
        actor=actor,
        organization_id=invitation.organization_id,
        resource=("invitation", invitation.pk, invitation.email),
        permission=Permission.MEMBER_INVITE,
        detail={"email": invitation.email, "reason": reason},
    )
    invitation.delete()


@transaction.atomic
def accept_invitation(*, actor: Actor, invitation_id: UUID, nonce: UUID) -> Invitation:
    """Come in as the person who is signed in. The invitation's roles become the person's.

    Raises:
        InvitationOver: the link is dead.
        PermissionDenied: the invitation is for another address, the person's place is suspended,
            or a machine asks.
    """
    invitation = _open(invitation_id, nonce)
    user = User.objects.filter(pk=UUID(actor.id)).first() if actor.kind == "user" else None
    if user is None or user.email != invitation.email:
        raise PermissionDenied(
            f"The invitation is for {invitation.email}, not for {actor.label}. Sign in with that"
            " address."
        )
    _come_in(actor, invitation, user)
    return invitation


@transaction.atomic
def accept_as_new_person(
    *, actor: Actor, invitation_id: UUID, nonce: UUID, name: str, password: str
) -> User:
    """Come in as somebody who has no account yet. Who has the link has the mailbox, so the address
    is proven.

    Args:
        actor: nobody yet: the address and request that the person comes from.

    Raises:
        InvitationOver: the link is dead.
        InvalidArgument: the name is empty, or the password is too weak.
        AlreadyExists: the address has an account by now.
        PermissionDenied: people of the address's domain come by their organization's own sign-in.
    """
    invitation = _open(invitation_id, nonce)
    required = identity_providers().required_sign_in(invitation.email)
    if required is not None:
        raise PermissionDenied(
            f"People of {required.organization_name} sign in through its identity provider, and"
            " make no account of their own. Sign in there, then accept."
        )
    name = check_name(name, "person's", limit=PERSON_NAME_LENGTH)
    check_password(password, User(email=invitation.email, name=name))
    try:
        with transaction.atomic():
            user = User.objects.create_user(invitation.email, password, name=name)
    except IntegrityError as error:
        raise AlreadyExists(
            f"{invitation.email} has an account already. Sign in to accept."
        ) from error
    actor = replace(actor, id=str(user.pk), label=user.email)
    record(
        EventType.USER_CREATED,
        actor=actor,
        organization_id=invitation.organization_id,
        resource=("user", user.pk, user.email),
    )
    _come_in(actor, invitation, user)
    return user


def _open(invitation_id: UUID, nonce: UUID) -> Invitation:
    """The invitation, with its organization, while nobody else can change or accept it.

    Raises:
        InvitationOver: the link is dead.
    """
    rows = Invitation.objects.select_related("organization")
    invitation = rows.filter(pk=invitation_id).first()
    if invitation is not None:
        lock_organization(invitation.organization_id)
        invitation = rows.filter(pk=invitation_id).first()
    state = state_of(invitation, nonce)
    if invitation is None or state != LinkState.OPEN:
        raise InvitationOver(state)
    return invitation


def _come_in(actor: Actor, invitation: Invitation, user: User) -> None:
    """Membership, roles and the events of both.

    Raises:
        PermissionDenied: the person's place is suspended; an invitation does not undo that.
    """
    organization_id = invitation.organization_id
    place, is_new = Membership.objects.get_or_create(user=user, organization_id=organization_id)
    if place.suspended_at is not None:
        raise PermissionDenied(
            f"{invitation.organization.name} has suspended your place in it; ask an owner."
        )
    for row in bindings_of(invitation):
        _hand_over(actor, row, user)
    invitation.processed_at = timezone.now()
    invitation.accepted_by = user
    invitation.save(update_fields=["processed_at", "accepted_by"])
    record(
        EventType.INVITATION_ACCEPTED,
        actor=actor,
        organization_id=organization_id,
        resource=("invitation", invitation.pk, invitation.email),
    )
    if is_new:
        record(
            EventType.MEMBER_ADDED,
            actor=actor,
            organization_id=organization_id,
            resource=("user", user.pk, user.email),
        )


def _hand_over(actor: Actor, row: RoleBinding, user: User) -> None:
    """The invitation's role becomes the person's, unless they hold it already or it is over."""
    same = RoleBinding.objects.filter(
        principal_type=PrincipalType.USER,
        principal_id=user.pk,
        resource_id=row.resource_id,
        role=row.role,
        custom_role=row.custom_role,
    )
    if not_over().filter(pk=row.pk).exists() and not same.exists():
        bind_role(
            actor=actor,
            organization_id=row.organization_id,
            principal=(PrincipalType.USER, user.pk),
            role=row.custom_role or Role(row.role),
            resource_id=row.resource_id,
            index_in=_project_of_index(scope_of(row)),
            reason=row.reason or f"Invitation {row.principal_id}",
            period=(row.not_before, row.expires_at),
            granted_by=row.granted_by,
        )
    remove_binding(actor=actor, row=row, reason="Invitation accepted")

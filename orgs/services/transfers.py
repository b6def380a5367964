"""Handing an organization over: one owner offers, another member accepts, or does not."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs import mail
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    no_such,
)
from orgs.models import OwnershipTransfer, PrincipalType, RoleBinding, User
from orgs.permissions import (
    MEMBER_ROLE,
    OWNER_ROLE,
    Permission,
    Role,
    authorize,
    require_fresh,
)
from orgs.removal import remove_binding
from orgs.selectors.bindings import in_force
from orgs.selectors.transfers import get_transfer
from orgs.services.bindings import bind_role
from orgs.services.owners import keeping_an_owner, lock_organization

OPEN_FOR = timedelta(hours=72)
Status = OwnershipTransfer.Status
_EVENTS = {
    Status.ACCEPTED: EventType.OWNERSHIP_TRANSFERRED,
    Status.DECLINED: EventType.OWNERSHIP_TRANSFER_DECLINED,
    Status.CANCELED: EventType.OWNERSHIP_TRANSFER_CANCELED,
}


@transaction.atomic
def offer_ownership(*, actor: Actor, organization_id: UUID, user_id: UUID) -> OwnershipTransfer:
    """Ask another member to own the organization in the actor's place; open for 72 hours.

    Raises:
        NotFound: no such organization, or the other person is no member.
        PermissionDenied: the actor is no person who owns it directly and for good.
        ReauthenticationRequired: the person has to prove anew who they are.
        InvalidArgument: the other person is the actor.
        FailedPrecondition: the other person owns it already.
        AlreadyExists: there is an open offer; the message has its id.
    """
    authorize(
        actor,
        Permission.MEMBER_UPDATE,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(f"organization {organization_id}")
    if actor.kind != "user" or not _owned_by(organization_id, UUID(actor.id)):
        raise PermissionDenied(
            "Only a person who holds the owner's role directly and for good, not through a group,"
            " hands it over."
        )
    offered_to = User.objects.filter(pk=user_id, memberships__organization=organization_id).first()
    if offered_to is None:
        raise no_such(f"user {user_id}")
    if str(user_id) == actor.id:
        raise InvalidArgument("You own the organization already. Name the member who should.")
    if _owned_by(organization_id, user_id):
        raise FailedPrecondition(
            f"{offered_to.email} is an owner already. To stop being one, remove your own role."
        )
    _make_room(actor, organization_id)
    offer = OwnershipTransfer.objects.create(
        organization=organization,
        offered_by_id=UUID(actor.id),
        offered_to=offered_to,
        expires_at=timezone.now() + OPEN_FOR,
    )
    record(
        EventType.OWNERSHIP_TRANSFER_PROPOSED,
        actor=actor,
        organization_id=organization_id,
        resource=("ownership_transfer", offer.pk, offered_to.email),
        permission=Permission.MEMBER_UPDATE,
        detail={"user_id": str(user_id), "email": offered_to.email},
    )
    page = settings.TAMARACK_PUBLIC_URL + reverse("orgs:transfer", args=[offer.pk])
    mail.send(
        to=offered_to.email,
        subject=f"Will you own {organization.name}?",
        text=(
            f"{actor.label} asks you to take over the organization {organization.name} as its"
            f" owner.\n\nAccept or decline within 72 hours:\n{page}\n"
        ),
        lifetime=OPEN_FOR,
    )
    return offer


def _make_room(actor: Actor, organization_id: UUID) -> None:
    """Close an offer whose time is over.

    Raises:
        AlreadyExists: its time is not over.
    """
    offers = OwnershipTransfer.objects.select_for_update()
    offer = offers.filter(organization_id=organization_id, outcome="").first()
    if offer is None:
        return
    if offer.status == Status.PENDING:
        raise AlreadyExists(
            f"Another offer is open until {offer.expires_at:%Y-%m-%d %H:%M} UTC: {offer.pk}. Cancel"
            " it first."
        )
    offer.outcome, offer.ended_at = Status.EXPIRED, offer.expires_at
    offer.save(update_fields=["outcome", "ended_at"])


@transaction.atomic
def accept_ownership(*, actor: Actor, transfer_id: UUID) -> OwnershipTransfer:
    """Become the owner in place of the one who offered it, who becomes a plain member.

    Raises:
        NotFound: no such offer to the actor.
        PermissionDenied: the actor does not meet the organization's security baseline.
        ReauthenticationRequired: the person has to prove anew who they are.
        FailedPrecondition: the offer is over, or who made it owns the organization no more.
        Aborted: the actor could not come in later, such as without password and passkey.
    """
    offer = _offer_to(actor, transfer_id)
    require_fresh(actor)
    with keeping_an_owner(offer.organization_id):
        offer = _still_open(offer.pk)
        if not _owned_by(offer.organization_id, offer.offered_by_id):
            raise FailedPrecondition(
                f"{offer.offered_by.email} owns the organization no more, so there is nothing to"
                " take over."
            )
        if not _owned_by(offer.organization_id, offer.offered_to_id):
            # One that is about to end, or has not begun, gives way to one for good.
            _unbind(actor, offer, offer.offered_to_id, OWNER_ROLE)
            _bind(actor, offer, offer.offered_to_id, OWNER_ROLE)
        _unbind(actor, offer, offer.offered_by_id, OWNER_ROLE)
        others = _held(offer.organization_id, offer.offered_by_id)
        if not others.filter(not_before=None, expires_at=None).exists():
            _unbind(actor, offer, offer.offered_by_id, MEMBER_ROLE)
            _bind(actor, offer, offer.offered_by_id, MEMBER_ROLE)
        _end(actor, offer, Status.ACCEPTED)
    return offer


@transaction.atomic
def decline_ownership(*, actor: Actor, transfer_id: UUID) -> OwnershipTransfer:
    """Say no.

    Raises:
        NotFound: no such offer to the actor.
        FailedPrecondition: the offer is over.
    """
    offer = _offer_to(actor, transfer_id)
    lock_organization(offer.organization_id)
    offer = _still_open(offer.pk)
    _end(actor, offer, Status.DECLINED)
    return offer


@transaction.atomic
def cancel_offer(*, actor: Actor, transfer_id: UUID) -> OwnershipTransfer:
    """Take the offer back; any owner can.

    Raises:
        NotFound: no such offer that the actor may see.
        PermissionDenied, ReauthenticationRequired: the actor may not.
        FailedPrecondition: the offer is over.
    """
    offer = get_transfer(actor, transfer_id)
    authorize(
        actor,
        Permission.MEMBER_UPDATE,
        organization_id=offer.organization_id,
        what=f"ownership transfer {transfer_id}",
    )
    lock_organization(offer.organization_id)
    offer = _still_open(offer.pk)
    _end(actor, offer, Status.CANCELED)
    return offer


def _offer_to(actor: Actor, transfer_id: UUID) -> OwnershipTransfer:
    """The offer, if it is made to the actor.

    Raises:
        NotFound: it is not.
        PermissionDenied: the actor does not meet the organization's security baseline.
    """
    offer = get_transfer(actor, transfer_id)
    if actor.kind != "user" or actor.id != str(offer.offered_to_id):
        raise PermissionDenied(f"The offer is made to {offer.offered_to.email}, who alone decides.")
    return offer


def _still_open(transfer_id: UUID) -> OwnershipTransfer:
    """The offer as it is now, under the organization's lock.

    Raises:
        FailedPrecondition: it is over.
    """
    offers = OwnershipTransfer.objects.select_related("offered_by", "offered_to")
    offer = offers.get(pk=transfer_id)
    if offer.status != Status.PENDING:
        raise FailedPrecondition(f"This offer is {offer.status}: nothing can be done with it.")
    return offer


def _bind(actor: Actor, offer: OwnershipTransfer, user_id: UUID, role: Role) -> None:
    bind_role(
        actor=actor,
        organization_id=offer.organization_id,
        principal=(PrincipalType.USER, user_id),
        role=role,
        resource_id=offer.organization_id,
        reason=f"Ownership transfer {offer.pk}",
    )


def _unbind(actor: Actor, offer: OwnershipTransfer, user_id: UUID, role: Role) -> None:
    rows = _held(offer.organization_id, user_id).filter(role=role)
    for row in rows.select_related("custom_role"):
        remove_binding(actor=actor, row=row, reason=f"Ownership transfer {offer.pk}")


def _end(actor: Actor, offer: OwnershipTransfer, outcome: OwnershipTransfer.Status) -> None:
    """Write down how the offer ended."""
    offer.outcome, offer.ended_at = outcome, timezone.now()
    offer.save(update_fields=["outcome", "ended_at"])
    record(
        _EVENTS[outcome],
        actor=actor,
        organization_id=offer.organization_id,
        resource=("ownership_transfer", offer.pk, offer.offered_to.email),
        detail={"user_id": str(offer.offered_to_id), "email": offer.offered_to.email},
    )


def _held(organization_id: UUID, user_id: UUID) -> QuerySet[RoleBinding]:
    """The person's own role bindings on the organization."""
    return RoleBinding.objects.filter(
        principal_type=PrincipalType.USER, principal_id=user_id, resource_id=organization_id
    )


def _owned_by(organization_id: UUID, user_id: UUID) -> bool:
    """Whether the person owns the organization now and for good, by a binding of their own."""
    mine = {"principal_type": PrincipalType.USER, "principal_id": user_id}
    rows = in_force().filter(organization_id=organization_id, role=OWNER_ROLE, expires_at=None)
    return rows.filter(**mine).exists()

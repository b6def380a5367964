"""People's places in an organization: taking them away, and giving them up."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs import removal
from orgs.actors import Actor
from orgs.entitlements import check_room
from orgs.errors import PermissionDenied, no_such
from orgs.models import Membership, User
from orgs.permissions import Permission, authorize, require_fresh
from orgs.plans import Entitlement
from orgs.selectors.organizations import seats_taken
from orgs.services.accounts import end_sessions_from_outside
from orgs.services.managed import check_unmanaged
from orgs.services.owners import keeping_an_owner, lock_organization


@transaction.atomic
def remove_member(*, actor: Actor, organization_id: UUID, user_id: UUID) -> None:
    """Take a person's roles and groups in the organization away at once. The account stays.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not, or the person is no
            member.
        Aborted: the person is the only owner who can come in, or a directory decides on them.
    """
    what = f"user {user_id}"
    authorize(actor, Permission.MEMBER_UPDATE, organization_id=organization_id, what=what)
    check_unmanaged(actor, organization_id, user_id)
    _take_out(actor, organization_id, user_id, what=what, reason="Removed")


@transaction.atomic
def leave_organization(*, actor: Actor, organization_id: UUID) -> None:
    """Give up one's own place in the organization. Nobody needs a role for that.

    Raises:
        NotFound: the person does not belong to it.
        PermissionDenied: a machine asks.
        ReauthenticationRequired: the person has to prove anew who they are.
        Aborted: the person is the only owner who can come in.
    """
    if actor.kind != "user":
        raise PermissionDenied("Only people leave an organization; delete the account instead.")
    what = f"organization {organization_id}"
    user_id = UUID(actor.id)
    if not _belongs(organization_id, user_id):
        raise no_such(what)
    require_fresh(actor)
    _take_out(actor, organization_id, user_id, what=what, reason="Left")
    record(
        EventType.MEMBER_LEFT,
        actor=actor,
        organization_id=organization_id,
        resource=("user", user_id, actor.label),
    )


@transaction.atomic
def add_member(*, actor: Actor, organization_id: UUID, user: User) -> bool:
    """Give the person a place without an invitation; False: they have one already.

    The caller gives the roles, in the same transaction: a member has at least one.

    Raises:
        PermissionDenied: anything but the organization's identity provider or directory asks.
        NotFound: there is no such organization.
        QuotaExceeded: the plan has no seat left.
    """
    _check_outside(actor, organization_id)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(f"organization {organization_id}")
    if _belongs(organization_id, user.pk):
        return False
    check_room(organization, Entitlement.MAX_MEMBERS, used=seats_taken(organization_id))
    Membership.objects.create(user=user, organization=organization)
    record(
        EventType.MEMBER_ADDED,
        actor=actor,
        organization_id=organization_id,
        resource=("user", user.pk, user.email),
    )
    return True


@transaction.atomic
def suspend_member(*, actor: Actor, organization_id: UUID, user: User, reason: str) -> bool:
    """Have the person's roles not count any more, and end their sessions; False: that was so.

    Takes effect with the person's next request.

    Raises:
        PermissionDenied: anything but the organization's directory asks.
        NotFound: the person is no member.
        Aborted: the person is the only owner who can come in.
    """
    _check_outside(actor, organization_id)
    with keeping_an_owner(organization_id):
        place = Membership.objects.filter(organization_id=organization_id, user=user).first()
        if place is None:
            raise no_such(f"user {user.pk}")
        end_sessions_from_outside(actor=actor, user=user)
        if place.suspended_at is not None:
            return False
        place.suspended_at = timezone.now()
        place.save(update_fields=["suspended_at"])
        record(
            EventType.MEMBER_SUSPENDED,
            actor=actor,
            organization_id=organization_id,
            resource=("user", user.pk, user.email),
            detail={"reason": reason},
        )
    return True


@transaction.atomic
def reinstate_member(*, actor: Actor, organization_id: UUID, user: User) -> bool:
    """Have the roles of somebody suspended count again; False: they do already.

    Raises:
        PermissionDenied: anything but the organization's directory asks.
        NotFound: the person is no member.
    """
    _check_outside(actor, organization_id)
    places = Membership.objects.select_for_update()
    place = places.filter(organization_id=organization_id, user=user).first()
    if place is None:
        raise no_such(f"user {user.pk}")
    if place.suspended_at is None:
        return False
    place.suspended_at = None
    place.save(update_fields=["suspended_at"])
    record(
        EventType.MEMBER_REINSTATED,
        actor=actor,
        organization_id=organization_id,
        resource=("user", user.pk, user.email),
    )
    return True


def _check_outside(actor: Actor, organization_id: UUID) -> None:
    """Whether the actor is the platform, or vouches for people of that very organization."""
    own = actor.kind in {"sso", "scim"} and actor.organization_id == organization_id
    if not (own or actor.is_system):
        raise PermissionDenied(
            "Only the organization's identity provider or directory does this. Invite or remove"
            " people instead."
        )


def _take_out(
    actor: Actor, organization_id: UUID, user_id: UUID, *, what: str, reason: str
) -> None:
    with keeping_an_owner(organization_id):
        # Under the lock: two at once, and the second finds nobody.
        if not _belongs(organization_id, user_id):
            raise no_such(what)
        removal.remove_member(
            actor=actor, organization_id=organization_id, user_id=user_id, reason=reason
        )


def _belongs(organization_id: UUID, user_id: UUID) -> bool:
    return Membership.objects.filter(user_id=user_id, organization_id=organization_id).exists()

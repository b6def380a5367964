"""People's places in an organization: taking them away, and giving them up."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit.events import EventType
from audit.services import record
from orgs import removal
from orgs.actors import Actor
from orgs.errors import PermissionDenied, no_such
from orgs.models import Membership
from orgs.permissions import Permission, authorize, require_fresh
from orgs.services.owners import keeping_an_owner


@transaction.atomic
def remove_member(*, actor: Actor, organization_id: UUID, user_id: UUID) -> None:
    """Take a person's roles and groups in the organization away at once. The account stays.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not, or the person is no
            member.
        Aborted: the person is the only owner who can come in.
    """
    what = f"user {user_id}"
    authorize(actor, Permission.MEMBER_UPDATE, organization_id=organization_id, what=what)
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

"""Reading offers to hand an organization over."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import OwnershipTransfer
from orgs.permissions import Permission, authorize, permissions_of


def list_transfers(actor: Actor, organization_id: UUID) -> QuerySet[OwnershipTransfer]:
    """The organization's offers with their people: all for who may change roles, else one's own.

    Raises:
        NotFound, PermissionDenied: the actor may not see the organization.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.ORGANIZATION_READ, organization_id=organization_id, what=what)
    return _visible(actor, organization_id)


def _visible(actor: Actor, organization_id: UUID) -> QuerySet[OwnershipTransfer]:
    rows = OwnershipTransfer.objects.filter(organization_id=organization_id)
    rows = rows.select_related("organization", "offered_by", "offered_to")
    if Permission.MEMBER_UPDATE in permissions_of(actor, organization_id=organization_id):
        return rows
    if actor.kind != "user":
        return rows.none()
    own = UUID(actor.id)
    return rows.filter(Q(offered_by_id=own) | Q(offered_to_id=own))


def get_transfer(actor: Actor, transfer_id: UUID) -> OwnershipTransfer:
    """The offer with its two people.

    Raises:
        NotFound: no such offer, or none that the actor may see.
        PermissionDenied: the actor does not meet the organization's security baseline.
    """
    what = f"ownership transfer {transfer_id}"
    row = OwnershipTransfer.objects.filter(pk=transfer_id).first()
    if row is None:
        raise no_such(what)
    organization_id = row.organization_id
    authorize(actor, Permission.ORGANIZATION_READ, organization_id=organization_id, what=what)
    visible = _visible(actor, organization_id).filter(pk=transfer_id).first()
    if visible is None:
        raise no_such(what)
    return visible

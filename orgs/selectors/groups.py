"""Reading groups."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, QuerySet

from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import Group, GroupMembership
from orgs.permissions import Permission, authorize


def groups_of(actor: Actor, organization_id: UUID) -> QuerySet[Group]:
    """The organization's groups by name, each with `size`, the number of its people.

    Raises:
        NotFound, PermissionDenied: the actor may not see the organization's people.
    """
    authorize(
        actor,
        Permission.MEMBER_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    return Group.objects.filter(organization_id=organization_id).annotate(size=Count("memberships"))


def get_group(actor: Actor, organization_id: UUID, group_id: UUID) -> Group:
    """The group.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied: the actor may not see the organization's people.
    """
    group = groups_of(actor, organization_id).filter(pk=group_id).first()
    if group is None:
        raise no_such(f"group {group_id}")
    return group


def members_of_group(
    actor: Actor, organization_id: UUID, group_id: UUID
) -> QuerySet[GroupMembership]:
    """The group's people, who came first first.

    Raises:
        NotFound, PermissionDenied: as `get_group`.
    """
    group = get_group(actor, organization_id, group_id)
    return GroupMembership.objects.filter(group=group).select_related("user")

"""Taking role bindings and members away: the writing, with its audit events.

Who may is decided before, by a service or by the time that is over. The caller holds a lock on the
organization's row.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.models import GroupMembership, Membership, PrincipalType, RoleBinding, User


@transaction.atomic
def remove_binding(*, actor: Actor, row: RoleBinding, reason: str, permission: str = "") -> None:
    """Delete one role binding. Its custom role has to be loaded."""
    record(
        EventType.ROLE_BINDING_DELETED,
        actor=actor,
        organization_id=row.organization_id,
        resource=("role_binding", row.pk, row.role_name),
        permission=permission,
        detail={
            "principal_type": row.principal_type,
            "principal_id": str(row.principal_id),
            "resource_type": row.resource_type,
            "resource_id": str(row.resource_id),
            "reason": reason,
        },
    )
    RoleBinding.objects.filter(pk=row.pk).delete()


@transaction.atomic
def remove_member(*, actor: Actor, organization_id: UUID, user_id: UUID, reason: str) -> None:
    """Take a person out of the organization, with whatever roles and groups are left there."""
    rows = RoleBinding.objects.filter(
        organization_id=organization_id,
        principal_type=PrincipalType.USER,
        principal_id=user_id,
    )
    for row in rows.select_related("custom_role"):
        remove_binding(actor=actor, row=row, reason=reason)
    places = GroupMembership.objects.filter(user_id=user_id, group__organization_id=organization_id)
    for place in places.select_related("group", "user"):
        record(
            EventType.GROUP_MEMBER_REMOVED,
            actor=actor,
            organization_id=organization_id,
            resource=("group", place.group_id, place.group.name),
            detail={"user_id": str(user_id), "email": place.user.email, "reason": reason},
        )
    places.delete()
    gone, _ = Membership.objects.filter(user_id=user_id, organization_id=organization_id).delete()
    if gone:
        user = User.objects.get(pk=user_id)
        record(
            EventType.MEMBER_REMOVED,
            actor=actor,
            organization_id=organization_id,
            resource=("user", user.pk, user.email),
            detail={"reason": reason},
        )

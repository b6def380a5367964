"""Writing role bindings."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.models import CustomRole, PrincipalType, ResourceType, RoleBinding
from orgs.permissions import ORGANIZATION_ROLES, Role

Period = tuple[datetime | None, datetime | None]


@transaction.atomic
def bind_role(
    *,
    actor: Actor,
    organization_id: UUID,
    principal: tuple[PrincipalType, UUID],
    role: Role | CustomRole,
    resource_id: UUID,
    index_in: UUID | None = None,
    reason: str = "",
    period: Period = (None, None),
) -> RoleBinding:
    """Write one binding with its audit event.

    Who may grant what is the calling service's decision. A role of the organization's own is held
    on the kind of resource that it was made for, an organization role on the organization, all
    others on a project or an index.

    Args:
        index_in: the project that the index is in; None: the resource is no index.
        period: from when and until when it counts; None: no such bound.
    """
    if index_in is not None:
        resource_type = ResourceType.INDEX
    elif isinstance(role, CustomRole):
        resource_type = ResourceType(role.resource_type)
    else:
        on_organization = role in ORGANIZATION_ROLES
        resource_type = ResourceType.ORGANIZATION if on_organization else ResourceType.PROJECT
    not_before, expires_at = period
    custom_role = role if isinstance(role, CustomRole) else None
    principal_type, principal_id = principal
    binding = RoleBinding.objects.create(
        organization_id=organization_id,
        principal_type=principal_type,
        principal_id=principal_id,
        resource_type=resource_type,
        resource_id=resource_id,
        project_id=resource_id if resource_type == ResourceType.PROJECT else index_in,
        role="" if isinstance(role, CustomRole) else role,
        custom_role=custom_role,
        reason=reason,
        granted_by=actor.label,
        not_before=not_before,
        expires_at=expires_at,
    )
    record(
        EventType.ROLE_BINDING_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("role_binding", binding.pk, binding.role_name),
        detail={
            "principal_type": principal_type.value,
            "principal_id": str(principal_id),
            "resource_type": str(binding.resource_type),
            "resource_id": str(resource_id),
            "reason": reason,
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
    )
    return binding

"""One role in place of another, in one step."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from orgs.actors import Actor
from orgs.models import PrincipalType, ResourceType, RoleBinding
from orgs.selectors.bindings import get_binding
from orgs.services.bindings import grant_role, revoke_role


@transaction.atomic
def change_role(*, actor: Actor, organization_id: UUID, binding_id: UUID, role: str) -> RoleBinding:
    """Give the holder of a role another one on the same resource, for the same time, in its place.

    Args:
        role: a predefined role, or the id or the name of one of the organization's own.

    Raises:
        Refused: as `grant_role` and `revoke_role`; nothing is changed then.
    """
    old = get_binding(actor, organization_id, binding_id)
    # The new one first: who loses the last role leaves the organization.
    made = grant_role(
        actor=actor,
        organization_id=organization_id,
        principal=(PrincipalType(old.principal_type), old.principal_id),
        role=role,
        resource=(ResourceType(old.resource_type), old.resource_id),
        reason=old.reason,
        period=(old.not_before, old.expires_at),
    )
    revoke_role(actor=actor, organization_id=organization_id, binding_id=binding_id)
    return made

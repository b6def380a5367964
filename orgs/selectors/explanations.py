"""Answers to: may this principal do that there?"""

from __future__ import annotations

from uuid import UUID

from orgs import registry
from orgs.actors import Actor
from orgs.errors import InvalidArgument, no_such
from orgs.models import Membership, PrincipalType, ResourceType
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.decisions import IN_FORCE, Help, Place, Rule, help_for, rules_for


def explain(
    *,
    actor: Actor,
    organization_id: UUID,
    principal: tuple[PrincipalType, UUID],
    permission: Permission,
    resource: tuple[ResourceType, UUID | None],
) -> tuple[Place, list[Rule], Help]:
    """The bindings that apply, and what would allow it where none does.

    The security baseline and an API key's scope are not looked at: they depend on the call.

    Raises:
        NotFound: no such principal or resource in the organization.
        PermissionDenied: the actor neither reads the audit trail nor gives roles.
        InvalidArgument: a project or an index without its id.
    """
    if Permission.MEMBER_UPDATE not in permissions_of(actor, organization_id=organization_id):
        authorize(
            actor,
            Permission.AUDIT_READ,
            organization_id=organization_id,
            what=f"organization {organization_id}",
        )
    place = _place(organization_id, resource)
    _check_principal(organization_id, principal)
    rules = rules_for(place, principal, permission)
    if any(rule.includes and rule.state == IN_FORCE for rule in rules):
        return place, rules, Help(None, None, [])
    return place, rules, help_for(place, principal, permission.value)


def _place(organization_id: UUID, resource: tuple[ResourceType, UUID | None]) -> Place:
    kind, pk = resource
    if pk is None and kind != ResourceType.ORGANIZATION:
        raise InvalidArgument(f"resource_id is missing: resource_type {kind.value} needs one.")
    found = registry.find_resource(kind, pk or organization_id)
    if found is None or found.organization_id != organization_id:
        raise no_such(f"{kind.value} {pk}")
    return Place(
        organization_id, found.project_id, found.id if kind == ResourceType.INDEX else None
    )


def _check_principal(organization_id: UUID, principal: tuple[PrincipalType, UUID]) -> None:
    kind, pk = principal
    if kind == PrincipalType.USER:
        known = Membership.objects.filter(user_id=pk, organization_id=organization_id).exists()
    else:
        found = registry.find_principal(kind, pk)
        known = found is not None and found.organization_id == organization_id
    if not known:
        raise no_such(f"{kind.value} {pk}")

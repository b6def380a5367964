"""Reading roles: the predefined ones and the organization's own."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, QuerySet

from orgs.actors import Actor
from orgs.errors import InvalidArgument, no_such
from orgs.models import CustomRole
from orgs.permissions import ROLES, Permission, Role, authorize

SHOWN = 80


def find_role(organization_id: UUID, role: str) -> Role | CustomRole:
    """The predefined role of that name, or the organization's own of that id or name.

    Raises:
        InvalidArgument: there is none.
    """
    if role in ROLES:
        return Role(role)
    own = CustomRole.objects.filter(organization_id=organization_id)
    found = None
    try:
        found = own.filter(pk=UUID(role)).first()
    except ValueError:
        if role.isprintable():
            found = own.filter(name__iexact=role).first()
    if found is None:
        raise InvalidArgument(
            f"There is no role {role[:SHOWN]!r}. Predefined: {', '.join(Role)};"
            " GET /admin/roles lists the organization's own too."
        )
    return found


def custom_roles(actor: Actor, organization_id: UUID) -> QuerySet[CustomRole]:
    """The organization's own roles by name, each with `holders`, the number of its bindings.

    Raises:
        NotFound, PermissionDenied: the actor may not see who holds what in the organization.
    """
    authorize(
        actor,
        Permission.MEMBER_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    return (
        CustomRole.objects.filter(organization_id=organization_id)
        .annotate(holders=Count("bindings"))
        .order_by("name", "id")
    )


def get_custom_role(actor: Actor, organization_id: UUID, role_id: UUID) -> CustomRole:
    """One of the organization's own roles.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied: the actor may not see who holds what in the organization.
    """
    role = custom_roles(actor, organization_id).filter(pk=role_id).first()
    if role is None:
        raise no_such(f"role {role_id}")
    return role

"""Roles of an organization's own making."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import AlreadyExists, FailedPrecondition, InvalidArgument, no_such
from orgs.models import CustomRole, Organization, PrincipalType, ResourceType, RoleBinding
from orgs.permissions import GRANTABLE, PERMISSION_HELP, Permission, Role, authorize, check_ceiling
from orgs.plans import Entitlement
from orgs.selectors.reach import Principal, behind
from orgs.services.checks import VersionCheck, any_version, check_name, check_text
from orgs.services.owners import lock_organization

NAME_LENGTH = 80
DESCRIPTION_LENGTH = 500


@transaction.atomic
def create_role(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    resource_type: ResourceType,
    permissions: Sequence[str],
    description: str = "",
) -> CustomRole:
    """A role that can be held on resources of that type.

    Raises:
        NotFound, PermissionDenied: the actor may not make roles there, the role could do more than
            the actor, or the plan does not include roles of an organization's own.
        InvalidArgument: a name or permission that breaks its rule.
        AlreadyExists: the name is taken, in whatever case.
    """
    _authorize(actor, organization_id)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(f"organization {organization_id}")
    require(organization, Entitlement.CUSTOM_ROLES)
    allowed = _checked_permissions(permissions, resource_type)
    check_ceiling(actor, allowed, organization_id=organization_id)
    role = CustomRole(
        organization_id=organization_id,
        name=_checked_name(organization, name),
        description=check_text(description, "description", limit=DESCRIPTION_LENGTH),
        resource_type=resource_type,
        permissions=sorted(allowed),
    )
    _save(role)
    record(
        EventType.ROLE_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("role", role.pk, role.name),
        permission=Permission.ROLE_MANAGE.value,
        detail={
            "resource_type": resource_type.value,
            "permissions": role.permissions,
            "description": role.description,
        },
    )
    return role


@transaction.atomic
def update_role(
    *,
    actor: Actor,
    organization_id: UUID,
    role_id: UUID,
    name: str | None = None,
    description: str | None = None,
    permissions: Sequence[str] | None = None,
    check: VersionCheck = any_version,
) -> CustomRole:
    """Change a role, and with its permissions what everybody may do who holds it, at once.

    Args:
        check: raises where the version is not the one that the actor has seen; asked under a lock.

    Raises:
        NotFound: there is no such role.
        PermissionDenied: the actor may not change roles there, what it adds is more than the actor
            may do itself, or the plan does not include roles of an organization's own.
        InvalidArgument: a name or permission that breaks its rule.
        AlreadyExists: the name is taken, in whatever case.
    """
    _authorize(actor, organization_id)
    organization = lock_organization(organization_id)
    role = _locked(organization_id, role_id)
    if organization is None or role is None:
        raise no_such(f"role {role_id}")
    check(role.version)
    before = {
        "name": role.name,
        "description": role.description,
        "permissions": list(role.permissions),
    }
    if permissions is not None:
        allowed = _checked_permissions(permissions, ResourceType(role.resource_type))
        added = allowed - {Permission(each) for each in role.permissions if each in PERMISSION_HELP}
        if added:
            require(organization, Entitlement.CUSTOM_ROLES)
        # Everybody who holds it gains what is added, wherever they hold it.
        check_ceiling(actor, added, organization_id=organization_id)
        role.permissions = sorted(allowed)
    if name is not None:
        role.name = _checked_name(organization, name, but=role)
    if description is not None:
        role.description = check_text(description, "description", limit=DESCRIPTION_LENGTH)
    after = {
        "name": role.name,
        "description": role.description,
        "permissions": list(role.permissions),
    }
    changes = {
        field: (before[field], after[field]) for field in before if before[field] != after[field]
    }
    if changes:
        role.version += 1
        _save(role)
        record(
            EventType.ROLE_UPDATED,
            actor=actor,
            organization_id=organization_id,
            resource=("role", role.pk, role.name),
            permission=Permission.ROLE_MANAGE.value,
            changes=changes,
        )
    return role


@transaction.atomic
def delete_role(
    *, actor: Actor, organization_id: UUID, role_id: UUID, check: VersionCheck = any_version
) -> None:
    """Delete a role that nobody holds.

    Raises:
        NotFound: there is no such role.
        PermissionDenied: the actor may not delete roles there.
        FailedPrecondition: somebody holds it.
    """
    _authorize(actor, organization_id)
    lock_organization(organization_id)
    role = _locked(organization_id, role_id)
    if role is None:
        raise no_such(f"role {role_id}")
    check(role.version)
    held = role.bindings.count()
    if held:
        raise FailedPrecondition(
            f"The role {role.name} is held by {held} role binding{'s' if held > 1 else ''}. Delete"
            f" those first: GET /admin/role-bindings?role={role.pk} lists them."
        )
    record(
        EventType.ROLE_DELETED,
        actor=actor,
        organization_id=organization_id,
        resource=("role", role.pk, role.name),
        permission=Permission.ROLE_MANAGE.value,
        detail={"permissions": role.permissions},
    )
    role.delete()


def holders_of(organization_id: UUID, role_id: UUID) -> frozenset[Principal]:
    """Everybody who holds the role, people in groups that hold it among them."""
    rows = RoleBinding.objects.filter(organization_id=organization_id, custom_role_id=role_id)
    found: frozenset[Principal] = frozenset()
    for principal_type, principal_id in rows.values_list("principal_type", "principal_id"):
        found |= behind((PrincipalType(principal_type), principal_id))
    return found


def _authorize(actor: Actor, organization_id: UUID) -> None:
    authorize(
        actor,
        Permission.ROLE_MANAGE,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )


def _locked(organization_id: UUID, role_id: UUID) -> CustomRole | None:
    return (
        CustomRole.objects.select_for_update()
        .filter(organization_id=organization_id, pk=role_id)
        .first()
    )


def _checked_permissions(
    names: Iterable[str], resource_type: ResourceType
) -> frozenset[Permission]:
    unknown = sorted({name[:NAME_LENGTH] for name in names if name not in PERMISSION_HELP})
    if unknown:
        raise InvalidArgument(
            f"There is no permission {unknown[0]!r}. GET /admin/permissions lists them all."
        )
    wanted = frozenset(Permission(name) for name in names)
    if not wanted:
        raise InvalidArgument("A role needs at least one permission; an empty one allows nothing.")
    beyond = wanted - GRANTABLE[resource_type]
    if beyond:
        raise InvalidArgument(
            f"A role for resource_type {resource_type.value} can't include"
            f" {', '.join(sorted(beyond))}: these concern what contains it. Leave them out, or make"
            " the role for a wider resource_type."
        )
    return wanted


def _checked_name(organization: Organization, name: str, *, but: CustomRole | None = None) -> str:
    cleaned = check_name(name, "role", limit=NAME_LENGTH)
    predefined = {role.value.lower() for role in Role}
    same = CustomRole.objects.filter(organization=organization, name__iexact=cleaned)
    if but is not None:
        same = same.exclude(pk=but.pk)
    if cleaned.lower() in predefined or same.exists():
        raise AlreadyExists(f"There is a role {cleaned!r} already. Choose another name.")
    return cleaned


def _save(role: CustomRole) -> None:
    try:
        with transaction.atomic():
            role.save()
    except IntegrityError as error:
        raise AlreadyExists(
            f"There is a role {role.name!r} already. Choose another name."
        ) from error

"""Giving roles and taking them away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs import registry
from orgs.actors import Actor, Binding
from orgs.entitlements import require
from orgs.errors import Aborted, AlreadyExists, InvalidArgument, no_such
from orgs.models import (
    CustomRole,
    GroupMembership,
    Invitation,
    Membership,
    PrincipalType,
    ResourceType,
    RoleBinding,
)
from orgs.permissions import (
    ACCESS_ROLES,
    BINDABLE,
    DEFAULT_KEY_ROLE,
    ORGANIZATION_ROLES,
    Permission,
    Role,
    authorize,
    check_ceiling,
    permissions_in,
    permissions_of,
)
from orgs.plans import Entitlement
from orgs.removal import remove_binding, remove_member
from orgs.selectors.bindings import as_binding, bindings_visible_to, knows_project, not_over
from orgs.selectors.roles import find_role
from orgs.services.checks import check_text
from orgs.services.managed import check_unmanaged
from orgs.services.owners import keeping_an_owner, lock_organization

Period = tuple[datetime | None, datetime | None]
Principal = tuple[PrincipalType, UUID]
REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """A resource that a role is held on, found and in the right organization."""

    resource_type: ResourceType
    resource_id: UUID
    organization_id: UUID
    project_id: UUID | None
    index_id: UUID | None

    def holding(self, role: Role | CustomRole) -> Binding:
        """The role on this resource, as an actor would carry it."""
        custom = role if isinstance(role, CustomRole) else None
        return Binding(
            role=custom.name if custom else str(role),
            organization_id=self.organization_id,
            project_id=self.project_id,
            index_id=self.index_id,
            permissions=frozenset(custom.permissions) if custom else None,
        )


@transaction.atomic
def bind_role(  # noqa: PLR0913  all by name
    *,
    actor: Actor,
    organization_id: UUID,
    principal: Principal,
    role: Role | CustomRole,
    resource_id: UUID,
    index_in: UUID | None = None,
    reason: str = "",
    period: Period = (None, None),
    permission: str = "",
    granted_by: str = "",
) -> RoleBinding:
    """Write one binding with its audit event.

    Who may grant what is the calling service's decision. A role of the organization's own is held
    on the kind of resource that it was made for, an organization role on the organization, all
    others on a project or an index.

    Args:
        index_in: the project that the index is in; None: the resource is no index.
        period: from when and until when it counts; None: no such bound.
        permission: the one that allowed it, for the record.
        granted_by: who gave it, where that is not the actor but somebody before.
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
        granted_by=granted_by or actor.label,
        not_before=not_before,
        expires_at=expires_at,
    )
    record(
        EventType.ROLE_BINDING_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("role_binding", binding.pk, binding.role_name),
        permission=permission,
        detail={
            "principal_type": principal_type.value,
            "principal_id": str(principal_id),
            "resource_type": str(binding.resource_type),
            "resource_id": str(resource_id),
            "reason": reason,
            "not_before": not_before.isoformat() if not_before else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
    )
    return binding


@transaction.atomic
def grant_role(
    *,
    actor: Actor,
    organization_id: UUID,
    principal: Principal,
    role: str,
    resource: tuple[ResourceType, UUID | None],
    reason: str = "",
    period: Period = (None, None),
) -> RoleBinding:
    """Give a principal a role.

    Args:
        role: a predefined role, or the id or the name of one of the organization's own.
        resource: what on; the id may be left out for the organization.
        reason: at most 500 characters, for those who review roles later.
        period: from when and until when it counts; None: no such bound.

    Raises:
        NotFound: no such resource or principal in the organization, or none that the actor may
            know of.
        PermissionDenied: the actor may not give roles there, or not one that can do more than the
            actor itself; or the plan lets keys have the default role only.
        InvalidArgument: no such role, one that can't be held there or by such a principal, or a
            period that is over or ends before it begins.
        AlreadyExists: the principal holds exactly this role there, or the invitation has been
            accepted.
        Aborted: an identity provider or a directory decides on the person.
    """
    scope = find_scope(organization_id, resource)
    permission = authorize_change(actor, scope, principal[0], what=_name(scope))
    if principal[0] == PrincipalType.USER:
        check_unmanaged(actor, organization_id, principal[1])
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(f"organization {organization_id}")
    found = find_role(organization_id, role)
    check_bindable(found, scope.resource_type, principal[0])
    if principal[0] == PrincipalType.API_KEY and found != DEFAULT_KEY_ROLE:
        require(organization, Entitlement.KEY_ROLES)
    _check_principal(actor, principal, scope)
    check_role_ceiling(actor, found, scope)
    check_text(reason, "reason", limit=REASON_LENGTH)
    _check_period(period)
    same = _same(principal, found, scope)
    if same is not None:
        if same.expires_at is None or same.expires_at > timezone.now():
            raise AlreadyExists(
                f"The {principal[0].value} {principal[1]} holds the role {same.role_name} there"
                f" already, by the role binding {same.pk}. Delete that one first to give it for"
                " another period."
            )
        remove_binding(actor=actor, row=same, reason="Expired", permission=permission.value)
    try:
        with transaction.atomic():
            return bind_role(
                actor=actor,
                organization_id=organization_id,
                principal=principal,
                role=found,
                resource_id=scope.resource_id,
                index_in=scope.project_id if scope.index_id else None,
                reason=reason,
                period=period,
                permission=permission.value,
            )
    except IntegrityError as error:
        raise AlreadyExists(
            f"The {principal[0].value} {principal[1]} holds the role {role} there already."
        ) from error


@transaction.atomic
def revoke_role(*, actor: Actor, organization_id: UUID, binding_id: UUID) -> None:
    """Take a role away, at once. A person who has no other role leaves the organization with it.

    Raises:
        NotFound: no such role binding, or none that the actor may see.
        PermissionDenied: the actor may see it but not take roles away there.
        Aborted: it is the last reachable owner's, or the last role on the organization of somebody
            who holds others, or an identity provider or a directory decides on the person.
    """
    what = f"role binding {binding_id}"
    row = _row(organization_id, binding_id)
    if row is None:
        raise no_such(what)
    scope = scope_of(row)
    visible = bindings_visible_to(actor, organization_id).filter(pk=row.pk).exists()
    permission = authorize_change(
        actor, scope, PrincipalType(row.principal_type), what=what, visible=visible
    )
    if row.principal_type == PrincipalType.USER:
        check_unmanaged(actor, organization_id, row.principal_id)
    with keeping_an_owner(organization_id):
        # Again under the lock: two at once, and the second finds nothing.
        row = _row(organization_id, binding_id)
        if row is None:
            raise no_such(what)
        leaves = _leaves_with(row)
        remove_binding(actor=actor, row=row, reason="Removed", permission=permission.value)
        if leaves:
            remove_member(
                actor=actor,
                organization_id=organization_id,
                user_id=row.principal_id,
                reason="Last role removed",
            )


def find_scope(organization_id: UUID, resource: tuple[ResourceType, UUID | None]) -> Scope:
    """The resource, in that organization.

    Raises:
        InvalidArgument: the id is missing.
        NotFound: there is none of that id in the organization.
    """
    resource_type, resource_id = resource
    if resource_id is None:
        if resource_type != ResourceType.ORGANIZATION:
            raise InvalidArgument(
                f"resource_id is missing: a role on resource_type {resource_type.value} needs the"
                " id of what it is held on."
            )
        resource_id = organization_id
    found = registry.find_resource(resource_type, resource_id)
    if found is None or found.organization_id != organization_id:
        raise no_such(f"{resource_type.value} {resource_id}")
    return Scope(
        resource_type=resource_type,
        resource_id=resource_id,
        organization_id=organization_id,
        project_id=found.project_id,
        index_id=resource_id if resource_type == ResourceType.INDEX else None,
    )


def scope_of(row: RoleBinding) -> Scope:
    """The resource of a role binding."""
    resource_type = ResourceType(row.resource_type)
    return Scope(
        resource_type=resource_type,
        resource_id=row.resource_id,
        organization_id=row.organization_id,
        project_id=row.project_id,
        index_id=row.resource_id if resource_type == ResourceType.INDEX else None,
    )


def authorize_change(
    actor: Actor, scope: Scope, principal_type: PrincipalType, *, what: str, visible: bool = True
) -> Permission:
    """Let pass who may give and take roles there, and tell by which permission.

    A key's roles are part of the key; whoever gives a role to an invitation invites.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: as `authorize()`.
    """
    if scope.project_id is None:
        permission = Permission.MEMBER_UPDATE
    elif principal_type == PrincipalType.API_KEY:
        permission = Permission.API_KEY_UPDATE
    else:
        permission = Permission.PROJECT_MEMBER_UPDATE
    if scope.project_id is not None:
        visible = visible and knows_project(actor, scope.organization_id, scope.project_id)
        # Who is barred is told so, as everywhere, instead of that there is nothing.
        visible = visible or bool(actor.barred_from(scope.organization_id))
    authorize(
        actor,
        permission,
        organization_id=scope.organization_id,
        project_id=scope.project_id,
        index_id=scope.index_id,
        what=what,
        visible=actor.is_system or visible,
    )
    if principal_type == PrincipalType.INVITE:
        authorize(actor, Permission.MEMBER_INVITE, organization_id=scope.organization_id, what=what)
    return permission


def check_bindable(
    role: Role | CustomRole, resource_type: ResourceType, principal_type: PrincipalType
) -> None:
    """Whether such a principal can hold the role on such a resource.

    Raises:
        InvalidArgument: it can't; the message names what could be held.
    """
    if principal_type == PrincipalType.API_KEY and (
        isinstance(role, CustomRole)
        or role not in ACCESS_ROLES
        or resource_type != ResourceType.PROJECT
    ):
        raise InvalidArgument(
            f"An API key holds roles on its own project only, and of these only:"
            f" {', '.join(sorted(ACCESS_ROLES))}; not {_role_name(role)} on resource_type"
            f" {resource_type.value}."
        )
    if isinstance(role, CustomRole):
        if role.resource_type != resource_type:
            raise InvalidArgument(
                f"The role {role.name} is made for resource_type {role.resource_type} and can't be"
                f" held on resource_type {resource_type.value}."
            )
    elif role not in BINDABLE[resource_type]:
        raise InvalidArgument(
            f"The role {role.value} can't be held on resource_type {resource_type.value}; these"
            f" can: {', '.join(sorted(BINDABLE[resource_type]))}."
        )


def check_role_ceiling(actor: Actor, role: Role | CustomRole, scope: Scope) -> None:
    """Whether the actor itself may do everything there that the role allows.

    Raises:
        PermissionDenied: it may not.
    """
    check_ceiling(
        actor,
        permissions_in(scope.holding(role)),
        organization_id=scope.organization_id,
        project_id=scope.project_id,
        index_id=scope.index_id,
    )


def check_bindings_ceiling(actor: Actor, rows: list[RoleBinding]) -> None:
    """Whether the actor itself may do everything that these bindings allow, each where it is held.

    Whoever hands over something that holds roles, such as a place in a group, hands over those.

    Raises:
        PermissionDenied: it may not.
    """
    for row in rows:
        binding = as_binding(row)
        check_ceiling(
            actor,
            permissions_in(binding),
            organization_id=row.organization_id,
            project_id=binding.project_id,
            index_id=binding.index_id,
        )


def _check_principal(actor: Actor, principal: Principal, scope: Scope) -> None:
    principal_type, principal_id = principal
    what = f"{principal_type.value} {principal_id}"
    if principal_type == PrincipalType.USER:
        if not Membership.objects.filter(
            user_id=principal_id, organization_id=scope.organization_id
        ).exists():
            raise no_such(what)
        return
    found = registry.find_principal(principal_type, principal_id)
    if found is None or found.organization_id != scope.organization_id:
        raise no_such(what)
    if principal_type == PrincipalType.API_KEY and found.project_id != scope.project_id:
        # Only who sees the keys of that other project learns that this is one of them.
        held = permissions_of(
            actor, organization_id=scope.organization_id, project_id=found.project_id
        )
        if not actor.is_system and Permission.API_KEY_READ not in held:
            raise no_such(what)
        raise InvalidArgument(
            f"The API key {principal_id} belongs to the project {found.project_id} and holds roles"
            " on that one only."
        )
    if principal_type == PrincipalType.INVITE:
        invitation = Invitation.objects.get(pk=principal_id)
        if invitation.processed_at is not None:
            raise AlreadyExists(
                f"The invitation {principal_id} has been accepted already. Give the role to the"
                " person who accepted it."
            )


def _check_period(period: Period) -> None:
    not_before, expires_at = period
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidArgument(
            f"expires_at {expires_at.isoformat()} is past: the role would never count. Choose a"
            " later time, or none."
        )
    if not_before is not None and expires_at is not None and not_before >= expires_at:
        raise InvalidArgument(
            f"The role would begin at {not_before.isoformat()}, after its end at"
            f" {expires_at.isoformat()}: not_before has to be earlier than expires_at."
        )


def _same(principal: Principal, role: Role | CustomRole, scope: Scope) -> RoleBinding | None:
    custom = role if isinstance(role, CustomRole) else None
    return (
        RoleBinding.objects.filter(
            principal_type=principal[0],
            principal_id=principal[1],
            resource_type=scope.resource_type,
            resource_id=scope.resource_id,
            role="" if isinstance(role, CustomRole) else role,
            custom_role=custom,
        )
        .select_related("custom_role")
        .first()
    )


def _row(organization_id: UUID, binding_id: UUID) -> RoleBinding | None:
    return (
        not_over()
        .select_related("custom_role")
        .filter(organization_id=organization_id, pk=binding_id)
        .first()
    )


def _leaves_with(row: RoleBinding) -> bool:
    """Whether the person goes with this binding, their only one.

    Raises:
        Aborted: it is the last role on the organization, and others or groups remain.
    """
    if row.principal_type not in {PrincipalType.USER, PrincipalType.INVITE}:
        return False
    others = (
        not_over()
        .filter(
            organization_id=row.organization_id,
            principal_type=row.principal_type,
            principal_id=row.principal_id,
        )
        .exclude(pk=row.pk)
    )
    in_organization = row.resource_type == ResourceType.ORGANIZATION
    if not in_organization or others.filter(resource_type=ResourceType.ORGANIZATION).exists():
        return row.principal_type == PrincipalType.USER and not others.exists()
    if row.principal_type == PrincipalType.INVITE:
        raise Aborted(
            "An invitation keeps at least one role on the organization. Delete the invitation"
            " instead, or give it another role first."
        )
    in_groups = GroupMembership.objects.filter(
        user_id=row.principal_id, group__organization_id=row.organization_id
    )
    if others.exists() or in_groups.exists():
        raise Aborted(
            "This is the person's last role on the organization, and they hold others or are in"
            " groups. Take those away first, remove the person, or give them another role on the"
            " organization first."
        )
    return True


def _name(scope: Scope) -> str:
    return f"{scope.resource_type.value} {scope.resource_id}"


def _role_name(role: Role | CustomRole) -> str:
    return role.name if isinstance(role, CustomRole) else role.value

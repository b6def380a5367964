"""The one table of roles and permissions, and `authorize()`, the one place where they decide.

Roles and what they allow follow Pinecone's published tables (organization roles, project membership
roles, access roles). No other module names a role.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from orgs.errors import PermissionDenied, no_such

if TYPE_CHECKING:
    from orgs.actors import Actor


class Permission(StrEnum):
    """What can be done, as `resource:action`."""

    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_UPDATE = "organization:update"
    ORGANIZATION_DELETE = "organization:delete"
    BILLING_READ = "billing:read"
    BILLING_UPDATE = "billing:update"
    MEMBER_INVITE = "member:invite"
    MEMBER_UPDATE = "member:update"
    SERVICE_ACCOUNT_MANAGE = "service_account:manage"
    SSO_MANAGE = "sso:manage"
    AUDIT_MANAGE = "audit:manage"
    PROJECT_CREATE = "project:create"
    PROJECT_READ = "project:read"
    PROJECT_UPDATE = "project:update"
    PROJECT_DELETE = "project:delete"
    PROJECT_MEMBER_UPDATE = "project_member:update"
    API_KEY_READ = "api_key:read"
    API_KEY_CREATE = "api_key:create"
    API_KEY_REVOKE = "api_key:revoke"
    INDEX_READ = "index:read"
    INDEX_CREATE = "index:create"
    INDEX_CONFIGURE = "index:configure"
    INDEX_DELETE = "index:delete"
    DATA_READ = "data:read"
    DATA_WRITE = "data:write"


class Role(StrEnum):
    """Role names as Pinecone's Admin API spells them."""

    ORG_OWNER = "OrgOwner"
    ORG_MANAGER = "OrgManager"
    ORG_MEMBER = "OrgMember"
    ORG_BILLING_ADMIN = "OrgBillingAdmin"
    PROJECT_OWNER = "ProjectOwner"
    PROJECT_MANAGER = "ProjectManager"
    PROJECT_MEMBER = "ProjectMember"
    PROJECT_EDITOR = "ProjectEditor"
    PROJECT_VIEWER = "ProjectViewer"
    CONTROL_PLANE_EDITOR = "ControlPlaneEditor"
    CONTROL_PLANE_VIEWER = "ControlPlaneViewer"
    DATA_PLANE_EDITOR = "DataPlaneEditor"
    DATA_PLANE_VIEWER = "DataPlaneViewer"


P = Permission
_CONTROL_READ = frozenset({P.INDEX_READ})
_CONTROL_WRITE = _CONTROL_READ | {P.INDEX_CREATE, P.INDEX_CONFIGURE, P.INDEX_DELETE}
_DATA_READ = frozenset({P.DATA_READ})
_DATA_WRITE = _DATA_READ | {P.DATA_WRITE}
_PROJECT_VIEW = frozenset({P.PROJECT_READ, P.API_KEY_READ})
_PROJECT_OWN = (
    _PROJECT_VIEW
    | _CONTROL_WRITE
    | _DATA_WRITE
    | {
        P.PROJECT_UPDATE,
        P.PROJECT_DELETE,
        P.PROJECT_MEMBER_UPDATE,
        P.API_KEY_CREATE,
        P.API_KEY_REVOKE,
    }
)
_ORG_VIEW = frozenset({P.ORGANIZATION_READ})
_BILLING = frozenset({P.BILLING_READ, P.BILLING_UPDATE})

ROLES: dict[Role, frozenset[Permission]] = {
    # An owner of the organization owns every project in it.
    Role.ORG_OWNER: frozenset(Permission),
    Role.ORG_MANAGER: _ORG_VIEW | {P.PROJECT_CREATE},
    Role.ORG_MEMBER: _ORG_VIEW,
    Role.ORG_BILLING_ADMIN: _ORG_VIEW | _BILLING,
    Role.PROJECT_OWNER: frozenset(_PROJECT_OWN),
    Role.PROJECT_MANAGER: frozenset(_PROJECT_VIEW | _CONTROL_WRITE | _DATA_WRITE),
    Role.PROJECT_MEMBER: _PROJECT_VIEW,
    Role.PROJECT_EDITOR: frozenset(_CONTROL_WRITE | _DATA_WRITE),
    Role.PROJECT_VIEWER: frozenset(_CONTROL_READ | _DATA_READ),
    Role.CONTROL_PLANE_EDITOR: frozenset(_CONTROL_WRITE),
    Role.CONTROL_PLANE_VIEWER: _CONTROL_READ,
    Role.DATA_PLANE_EDITOR: frozenset(_DATA_WRITE),
    Role.DATA_PLANE_VIEWER: _DATA_READ,
}
ORGANIZATION_ROLES = frozenset(r for r in Role if r.value.startswith("Org"))
ACCESS_ROLE_HELP: dict[Role, str] = {
    Role.PROJECT_EDITOR: "manage indexes, read and write records",
    Role.PROJECT_VIEWER: "see indexes, read records",
    Role.CONTROL_PLANE_EDITOR: "manage indexes, no records",
    Role.CONTROL_PLANE_VIEWER: "see indexes, no records",
    Role.DATA_PLANE_EDITOR: "read and write records, no indexes",
    Role.DATA_PLANE_VIEWER: "read records, no indexes",
}
ACCESS_ROLES = frozenset(ACCESS_ROLE_HELP)
"""The roles that an API key may hold."""
DEFAULT_KEY_ROLE = Role.PROJECT_EDITOR


def permissions_of(
    actor: Actor, *, organization_id: UUID, project_id: UUID | None = None
) -> frozenset[Permission]:
    """Everything the actor may do to the organization or, with `project_id`, to that project in it.

    The union over its bindings there; a binding on another organization or project adds nothing.
    """
    if actor.organization_id not in {None, organization_id}:
        return frozenset()
    found: set[Permission] = set()
    for binding in actor.bindings:
        on_organization = binding.organization_id == organization_id and binding.project_id is None
        on_project = project_id is not None and binding.project_id == project_id
        if on_organization or (on_project and binding.organization_id == organization_id):
            found |= ROLES[Role(binding.role)]
    return frozenset(found)


def authorize(
    actor: Actor,
    permission: Permission,
    *,
    organization_id: UUID,
    project_id: UUID | None = None,
    what: str = "object",
) -> None:
    """Let the actor pass, or raise. The first line of every service.

    Args:
        what: what the caller was asked for, such as `API key <id>`. It has to be the same text that
            the caller uses where nothing was found, or the difference tells that something is.

    Raises:
        NotFound: the actor has nothing at all there, so it may not even learn that it exists.
        PermissionDenied: the actor belongs there but lacks the permission; the message names it.
    """
    if actor.is_system:
        return
    held = permissions_of(actor, organization_id=organization_id, project_id=project_id)
    if permission in held:
        return
    if not held:
        raise no_such(what)
    raise PermissionDenied(
        f"{actor.label} lacks the permission {permission.value}."
        " Ask an owner of the organization or the project for a role that includes it."
    )

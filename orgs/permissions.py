"""The one table of roles and permissions, and `authorize()`, the one place where they decide.

Roles and what they allow follow Pinecone's published tables (organization roles, project membership
roles, access roles). No other module names a role.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orgs.actors import Actor, Binding
from orgs.decisions import Denial
from orgs.errors import PermissionDenied, ReauthenticationRequired, SignInRequired, no_such


class Permission(StrEnum):
    """What can be done, as `resource:action`."""

    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_UPDATE = "organization:update"
    ORGANIZATION_DELETE = "organization:delete"
    BILLING_READ = "billing:read"
    BILLING_UPDATE = "billing:update"
    MEMBER_READ = "member:read"
    MEMBER_INVITE = "member:invite"
    MEMBER_UPDATE = "member:update"
    ROLE_MANAGE = "role:manage"
    GROUP_MANAGE = "group:manage"
    SERVICE_ACCOUNT_READ = "service_account:read"
    SERVICE_ACCOUNT_MANAGE = "service_account:manage"
    SECURITY_MANAGE = "security:manage"
    SSO_MANAGE = "sso:manage"
    AUDIT_READ = "audit:read"
    AUDIT_MANAGE = "audit:manage"
    PROJECT_CREATE = "project:create"
    PROJECT_READ = "project:read"
    PROJECT_UPDATE = "project:update"
    PROJECT_DELETE = "project:delete"
    PROJECT_MEMBER_UPDATE = "project_member:update"
    API_KEY_READ = "api_key:read"
    API_KEY_CREATE = "api_key:create"
    API_KEY_UPDATE = "api_key:update"
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
        P.API_KEY_UPDATE,
        P.API_KEY_REVOKE,
    }
)
_ORG_VIEW = frozenset({P.ORGANIZATION_READ, P.MEMBER_READ})
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
_MEMBERSHIP_ROLE_HELP: dict[Role, str] = {
    Role.ORG_OWNER: "everything in the organization and in all its projects",
    Role.ORG_MANAGER: "see the organization and its people, create projects",
    Role.ORG_MEMBER: "see the organization and its people",
    Role.ORG_BILLING_ADMIN: "see the organization and its people, manage billing",
    Role.PROJECT_OWNER: "everything in the project: settings, people, keys, indexes, records",
    Role.PROJECT_MANAGER: "see settings and keys, manage indexes, read and write records",
    Role.PROJECT_MEMBER: "see settings, people and keys, no indexes, no records",
}
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
ROLE_HELP: dict[Role, str] = {**_MEMBERSHIP_ROLE_HELP, **ACCESS_ROLE_HELP}
"""What each predefined role is for, in a few words."""
DEFAULT_KEY_ROLE = Role.PROJECT_EDITOR
OWNER_ROLE = Role.ORG_OWNER
"""What at least one person in every organization holds."""
MEMBER_ROLE = Role.ORG_MEMBER
"""What a person holds at least who belongs to an organization."""
CREATOR_ROLE = Role.PROJECT_OWNER
"""What a person holds on a project that they made."""

INDEX_PERMISSIONS = frozenset(
    {P.INDEX_READ, P.INDEX_CONFIGURE, P.INDEX_DELETE, P.DATA_READ, P.DATA_WRITE}
)
"""What can be allowed on one index."""
PROJECT_PERMISSIONS = ROLES[Role.PROJECT_OWNER]
"""What can be allowed on one project; all others concern the whole organization."""
GRANTABLE: dict[str, frozenset[Permission]] = {
    "organization": frozenset(Permission),
    "project": PROJECT_PERMISSIONS,
    "index": INDEX_PERMISSIONS,
}
"""What a role can include that is held on a resource of this `ResourceType`, from the widest to the
narrowest."""
BINDABLE: dict[str, frozenset[Role]] = {
    "organization": ORGANIZATION_ROLES,
    "project": frozenset(Role) - ORGANIZATION_ROLES,
    "index": ACCESS_ROLES,
}
"""The predefined roles that can be held on a resource of this `ResourceType`."""
PERMISSION_HELP: dict[Permission, str] = {
    P.ORGANIZATION_READ: "see the organization",
    P.ORGANIZATION_UPDATE: "rename the organization",
    P.ORGANIZATION_DELETE: "delete the organization",
    P.BILLING_READ: "see plan, billing and usage",
    P.BILLING_UPDATE: "manage billing",
    P.MEMBER_READ: "see people, groups and organization roles",
    P.MEMBER_INVITE: "invite people",
    P.MEMBER_UPDATE: "remove people, give and take organization roles",
    P.ROLE_MANAGE: "create, change and delete roles of the organization's own",
    P.GROUP_MANAGE: "create, change and delete groups, add and remove their people",
    P.SERVICE_ACCOUNT_READ: "see service accounts",
    P.SERVICE_ACCOUNT_MANAGE: "create, change and delete service accounts and their secrets",
    P.SECURITY_MANAGE: "change what the organization demands of everybody who comes in",
    P.SSO_MANAGE: "configure single sign-on",
    P.AUDIT_READ: "read the audit trail and every denial",
    P.AUDIT_MANAGE: "configure where the audit trail is sent and how long it is kept",
    P.PROJECT_CREATE: "create projects",
    P.PROJECT_READ: "see a project's settings and who works in it",
    P.PROJECT_UPDATE: "change a project's settings",
    P.PROJECT_DELETE: "delete a project",
    P.PROJECT_MEMBER_UPDATE: "give and take roles on a project and its indexes",
    P.API_KEY_READ: "see a project's API keys",
    P.API_KEY_CREATE: "create API keys",
    P.API_KEY_UPDATE: "change API keys and their roles",
    P.API_KEY_REVOKE: "revoke API keys",
    P.INDEX_READ: "see indexes",
    P.INDEX_CREATE: "create indexes",
    P.INDEX_CONFIGURE: "configure indexes",
    P.INDEX_DELETE: "delete indexes",
    P.DATA_READ: "read records",
    P.DATA_WRITE: "write and delete records",
}
"""What each permission lets one do, in a few words."""

DANGEROUS = frozenset(
    {
        P.ORGANIZATION_DELETE,
        P.MEMBER_UPDATE,
        P.ROLE_MANAGE,
        P.GROUP_MANAGE,
        P.SERVICE_ACCOUNT_MANAGE,
        P.SECURITY_MANAGE,
        P.SSO_MANAGE,
        P.AUDIT_MANAGE,
        P.PROJECT_DELETE,
    }
)
"""What a person may do only shortly after proving who they are. Revoking a key is not among them:
in an emergency nothing may stand in its way.
"""


def permissions_in(binding: Binding) -> frozenset[Permission]:
    """What the binding allows on its resource, as far as it can be allowed there."""
    if binding.permissions is None:
        allowed = ROLES[Role(binding.role)]
    else:
        # A permission that this version no longer knows allows nothing.
        allowed = frozenset(p for p in Permission if p.value in binding.permissions)
    if binding.index_id is not None:
        return allowed & INDEX_PERMISSIONS
    return allowed & PROJECT_PERMISSIONS if binding.project_id is not None else allowed


def applies(
    binding: Binding, *, organization_id: UUID, project_id: UUID | None, index_id: UUID | None
) -> bool:
    """Whether the binding's resource is the one asked for, or contains it."""
    return (
        binding.organization_id == organization_id
        and binding.project_id in {None, project_id}
        and binding.index_id in {None, index_id}
    )


def permissions_of(
    actor: Actor,
    *,
    organization_id: UUID,
    project_id: UUID | None = None,
    index_id: UUID | None = None,
) -> frozenset[Permission]:
    """Everything the actor may do to the organization, to the project in it, or to the index in
    that.

    The union over its bindings there; a binding on another organization, project or index adds
    nothing, and where the actor is barred none does.
    """
    if actor.organization_id not in {None, organization_id} or actor.barred_from(organization_id):
        return frozenset()
    found: set[Permission] = set()
    for binding in actor.bindings:
        if applies(
            binding, organization_id=organization_id, project_id=project_id, index_id=index_id
        ):
            found |= permissions_in(binding)
    return frozenset(found)


def authorize(
    actor: Actor,
    permission: Permission,
    *,
    organization_id: UUID,
    project_id: UUID | None = None,
    index_id: UUID | None = None,
    what: str = "object",
    visible: bool = True,
) -> None:
    """Let the actor pass, or raise. The first line of every service.

    Args:
        visible: whether the actor may know of the object, where that takes more than some role on
            what contains it.
        what: what the caller was asked for, such as `API key <id>`. It has to be the same text that
            the caller uses where nothing was found, or the difference tells that something is.

    Raises:
        NotFound: the actor has nothing at all there, so it may not even learn that it exists.
        PermissionDenied: the actor belongs there but lacks the permission, or does not meet the
            organization's security baseline; the message names it.
        ReauthenticationRequired: a person has to prove anew who they are.
    """
    if actor.is_system:
        return
    held = permissions_of(
        actor, organization_id=organization_id, project_id=project_id, index_id=index_id
    )
    if permission in held:
        if permission in DANGEROUS:
            require_fresh(actor)
        return
    barred = actor.barred_from(organization_id)
    belongs = actor.organization_id in {None, organization_id}
    trace = _trace(actor, organization_id, project_id, index_id) if belongs else ()
    # Whoever holds a role on an index knows of its project.
    known = trace or any(
        belongs and binding.organization_id == organization_id and binding.project_id == project_id
        for binding in actor.bindings
    )
    hidden = not (known and visible)
    denial = Denial(
        actor=actor,
        permission=permission.value,
        organization_id=organization_id,
        project_id=project_id,
        index_id=index_id,
        what=what,
        hidden=hidden,
        reason="" if hidden else barred,
        trace=trace,
    )
    if hidden:
        raise no_such(what, denial=denial)
    bar = actor.bar(organization_id)
    if bar is not None and bar.url:
        raise SignInRequired(bar.reason, url=bar.url, denial=denial)
    raise PermissionDenied(
        barred
        or f"{actor.label} lacks the permission {permission.value}."
        " Ask an owner of the organization or the project for a role that includes it.",
        denial=denial,
    )


def _trace(
    actor: Actor, organization_id: UUID, project_id: UUID | None, index_id: UUID | None
) -> tuple[Binding, ...]:
    """The actor's bindings that apply there."""
    return tuple(
        binding
        for binding in actor.bindings
        if applies(
            binding, organization_id=organization_id, project_id=project_id, index_id=index_id
        )
    )


def require_fresh(actor: Actor) -> None:
    """Let a person pass who proved a short while ago who they are; machines always pass.

    Raises:
        ReauthenticationRequired: it is longer ago than TAMARACK_REAUTH_SECONDS.
    """
    if actor.kind != "user":
        return
    limit = timedelta(seconds=settings.TAMARACK_REAUTH_SECONDS)
    if actor.authenticated_at is None or timezone.now() - actor.authenticated_at > limit:
        raise ReauthenticationRequired(
            "This needs a fresh proof that it is you: confirm your password or second factor, then"
            " do it again."
        )


def require_operator(actor: Actor, what: str = "page") -> None:
    """Let the platform itself pass, and people who look after the installation and showed a second
    factor.

    Raises:
        NotFound: the actor is neither.
        PermissionDenied: an operator who signed in without a second factor.
    """
    if actor.is_system:
        return
    if not actor.is_operator:
        raise no_such(what)
    if not actor.has_mfa:
        raise PermissionDenied(
            "Looking after the installation takes a second factor: add an authenticator app or a"
            " passkey under Security, then sign in with it."
        )


def check_ceiling(
    actor: Actor,
    permissions: Iterable[Permission],
    *,
    organization_id: UUID,
    project_id: UUID | None = None,
    index_id: UUID | None = None,
) -> None:
    """Let nobody hand out more than they hold: the one rule behind grants, invitations and keys.

    Raises:
        PermissionDenied: the actor lacks some of `permissions` there; the message names them.
    """
    if actor.is_system:
        return
    held = permissions_of(
        actor, organization_id=organization_id, project_id=project_id, index_id=index_id
    )
    beyond = frozenset(permissions) - held
    if beyond:
        message = (
            "Nobody can give more than they hold themselves; you lack"
            f" {', '.join(sorted(beyond))} there."
        )
        raise PermissionDenied(
            message,
            denial=Denial(
                actor=actor,
                permission=min(beyond).value,
                organization_id=organization_id,
                project_id=project_id,
                index_id=index_id,
                what="a role to give",
                hidden=False,
                reason=message,
                trace=_trace(actor, organization_id, project_id, index_id),
            ),
        )

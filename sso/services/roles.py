"""Giving people the roles that an identity provider or a directory says, and setting that up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from orgs.actors import Actor
from orgs.entitlements import has, require
from orgs.errors import Aborted, InvalidArgument, no_such
from orgs.models import (
    CustomRole,
    Membership,
    Organization,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import (
    BINDABLE,
    MEMBER_ROLE,
    OWNER_ROLE,
    ROLES,
    Permission,
    Role,
    authorize,
    check_ceiling,
)
from orgs.plans import Entitlement
from orgs.removal import remove_binding
from orgs.selectors.bindings import not_over
from orgs.services.bindings import Scope, bind_role, check_role_ceiling
from orgs.services.owners import keeping_an_owner, lock_organization
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection, ScimUser
from sso.selectors.roles import (
    SHOWN,
    RoleSpec,
    Target,
    desired,
    find_target,
    mapped,
    parse_pinecone_role,
    resolve,
    spec_of,
)

__all__ = [
    "Preview",
    "RoleSpec",
    "apply_exact",
    "check_default_roles",
    "check_mappings",
    "check_roles_mode",
    "desired",
    "mapped",
    "parse_pinecone_role",
    "preview",
    "sync_roles",
]

Mode = Connection.RolesMode
MAX_MAPPINGS = 500
MAX_VALUE = 256


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sign-in would give.

    Attributes:
        roles: in words, such as `ProjectEditor on the project Search`, sorted.
        notes: what is skipped and why.
        refusal: why nobody would be let in with it; empty: they would.
    """

    roles: tuple[str, ...]
    notes: tuple[str, ...]
    refusal: str = ""


def _defaults(connection: Connection) -> frozenset[RoleSpec]:
    rows = map(spec_of, connection.default_project_roles)
    return frozenset({RoleSpec(connection.default_role), *rows})


def preview(
    connection: Connection, assertion: VerifiedAssertion, *, is_first: bool = True
) -> Preview:
    """What a sign-in with this assertion would give, as the connection stands."""
    mode, notes = _mode(connection)
    wanted = set(desired(connection, assertion)) if mode != Mode.DEFAULT else set()
    if is_first and mode != Mode.EXACT:
        wanted |= _defaults(connection)
    try:
        targets, skipped = resolve(connection.organization_id, wanted)
    except InvalidArgument as error:
        return Preview((), notes, error.message)
    refusal = ""
    if mode == Mode.EXACT:
        refusal = "" if targets else _NO_ROLES
        targets = _with_place(connection.organization_id, targets)
    return Preview(() if refusal else tuple(sorted(map(str, targets))), (*notes, *skipped), refusal)


_NO_ROLES = (
    "The identity provider's values name no role that exists here, and the connection gives exactly"
    " the mapped ones."
)


def _mode(connection: Connection) -> tuple[str, tuple[str, ...]]:
    """How roles are given now, and what to say about it."""
    mode = connection.roles_mode
    if mode == Mode.DEFAULT or has(connection.organization, Entitlement.SAML_ROLES):
        return mode, ()
    return Mode.DEFAULT, (
        "The plan does not include roles from the identity provider any more: the mapped roles are"
        " left as they are.",
    )


# ---- Giving them ----


@transaction.atomic
def sync_roles(
    *,
    actor: Actor,
    connection: Connection,
    user: User,
    assertion: VerifiedAssertion,
    is_first: bool,
) -> tuple[str, ...]:
    """Give a person who signs in the roles that they should have, as the connection says.

    `default`: the default roles to who is new. `add`: those, and at every sign-in the mapped ones.
    `exact`: the person's own role bindings in the organization become the mapped ones, at every
    sign-in, whoever gave them; the default roles are not given. Where a SCIM directory keeps the
    person, it alone decides.

    Args:
        actor: the identity provider (`sso.actors.idp_actor`).
        is_first: whether the person signs in here for the first time; who holds a role on the
            organization already keeps to it and gets no default ones.

    Returns:
        What is worth a line in the sign-in log: roles that were skipped, an owner that was kept.

    Raises:
        NotFound: the person is no member.
        SignInRefused: exactly the mapped roles are to be given, and there are none; or there are
            more than 200.
    """
    organization = _locked(actor, connection, user)
    by_directory = ScimUser.objects.filter(
        connection__organization=organization, connection__scim_enabled=True, user=user
    )
    if by_directory.exists():
        return ()
    connection.organization = organization
    mode, notes = _mode(connection)
    wanted = set(desired(connection, assertion)) if mode != Mode.DEFAULT else set()
    if mode != Mode.EXACT and is_first and not _has_place(organization.pk, user):
        wanted |= _defaults(connection)
    try:
        targets, skipped = resolve(organization.pk, wanted)
    except InvalidArgument as error:
        raise SignInRefused(Code.INVALID_RESPONSE, error.message) from error
    notes = (*notes, *skipped)
    if mode != Mode.EXACT:
        return (*notes, *_add(actor, connection, user, targets))
    if not targets:
        raise SignInRefused(Code.NO_ROLES, " ".join((_NO_ROLES, *notes)))
    return (*notes, *_replace(actor, connection, user, targets))


@transaction.atomic
def apply_exact(
    *, actor: Actor, connection: Connection, user: User, specs: Collection[RoleSpec]
) -> tuple[str, ...]:
    """Have the person's own role bindings in the organization be exactly these.

    Without one on the organization among them there is OrgMember too: a member has at least that.

    Returns:
        Roles that were skipped because they don't exist, and an owner that was kept, in words.

    Raises:
        NotFound: the person is no member.
        InvalidArgument: more than 200 roles.
    """
    organization = _locked(actor, connection, user)
    targets, notes = resolve(organization.pk, specs)
    return (*notes, *_replace(actor, connection, user, targets))


def _locked(actor: Actor, connection: Connection, user: User) -> Organization:
    """The organization, locked, with the actor's right and the person's place checked."""
    pk, what = connection.organization_id, f"user {user.pk}"
    authorize(actor, Permission.MEMBER_UPDATE, organization_id=pk, what=what)
    organization = lock_organization(pk)
    belongs = Membership.objects.filter(organization_id=pk, user=user).exists()
    if organization is None or not belongs:
        raise no_such(what)
    return organization


def _held(organization_id: UUID, user: User) -> list[RoleBinding]:
    rows = RoleBinding.objects.filter(
        organization_id=organization_id, principal_type=PrincipalType.USER, principal_id=user.pk
    )
    return list(rows.select_related("custom_role").order_by("created_at", "id"))


def _has_place(organization_id: UUID, user: User) -> bool:
    """Whether the person holds a role of their own on the organization."""
    return (
        not_over()
        .filter(
            organization_id=organization_id,
            principal_type=PrincipalType.USER,
            principal_id=user.pk,
            resource_type=ResourceType.ORGANIZATION,
        )
        .exists()
    )


def _key(row: RoleBinding) -> tuple[str, str]:
    return str(row.custom_role_id or row.role), str(row.resource_id)


def _add(
    actor: Actor, connection: Connection, user: User, targets: Sequence[Target]
) -> tuple[str, ...]:
    """Give what is missing. What others gave for a time stays as they gave it."""
    held = {_key(row): row for row in _held(connection.organization_id, user)}
    over = set(held) - {
        _key(row) for row in not_over().filter(pk__in=[r.pk for r in held.values()])
    }
    notes = []
    for target in targets:
        row = held.get(target.key)
        if row is not None and target.key in over:
            remove_binding(actor=actor, row=row, reason="Expired")
            row = None
        if row is None:
            _bind(actor, connection, user, target)
        elif row.not_before or row.expires_at:
            notes.append(f"{target} is held for a time only, which was left so.")
    return tuple(notes)


def _replace(
    actor: Actor, connection: Connection, user: User, targets: Sequence[Target]
) -> tuple[str, ...]:
    """Have the person hold exactly the targets, for good, and a place in the organization."""
    pk = connection.organization_id
    targets = _with_place(pk, targets)
    missing = {target.key: target for target in targets}
    reason = f"Not among the roles from {connection.name}"
    surplus = []
    for row in _held(pk, user):
        target = missing.get(_key(row))
        if target is None:
            surplus.append(row)
        elif row.not_before or row.expires_at:
            remove_binding(actor=actor, row=row, reason=f"For good from {connection.name}")
        else:
            del missing[target.key]
    for target in missing.values():
        _bind(actor, connection, user, target)
    notes = []
    for row in surplus:
        if row.role != OWNER_ROLE.value:
            remove_binding(actor=actor, row=row, reason=reason)
            continue
        try:
            with keeping_an_owner(pk):
                remove_binding(actor=actor, row=row, reason=reason)
        except Aborted:
            notes.append(f"{row.role} was kept: the last owner is never touched.")
    return tuple(notes)


def _bind(actor: Actor, connection: Connection, user: User, target: Target) -> None:
    bind_role(
        actor=actor,
        organization_id=connection.organization_id,
        principal=(PrincipalType.USER, user.pk),
        role=target.role,
        resource_id=target.resource_id,
        reason=f"From {connection.name}",
        permission=Permission.MEMBER_UPDATE.value,
    )


def _with_place(organization_id: UUID, targets: Sequence[Target]) -> list[Target]:
    """The targets, and the least role on the organization where they have none there."""
    if any(target.resource_type == ResourceType.ORGANIZATION for target in targets):
        return list(targets)
    return [
        *targets,
        Target(MEMBER_ROLE, ResourceType.ORGANIZATION, organization_id, "organization"),
    ]


# ---- Setting it up ----


def check_mappings(
    actor: Actor, organization_id: UUID, mappings: object
) -> list[dict[str, str | None]]:
    """The table of values and roles as `Connection.role_mappings` keeps it.

    Raises:
        InvalidArgument: no list of `{"value", "role", "project_id"}`, more than 500, the same
            twice, or a role or a project that does not exist.
        PermissionDenied: a role that can do more than the actor.
    """
    rows = _rows(mappings, "role_mappings", {"value", "role", "project_id"})
    found: list[dict[str, str | None]] = []
    for place, row in enumerate(rows):
        name = f"role_mappings[{place}]"
        value = row.get("value")
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_VALUE or not _is_clean(value):
            raise InvalidArgument(
                f"{name}.value {_shown(value)} has to be the group or role that the identity"
                f" provider names: 1 to {MAX_VALUE} printable characters, no white space at the"
                " ends."
            )
        kept = {"value": value, **_checked_role(actor, organization_id, row, name)}
        if kept in found:
            raise InvalidArgument(f"{name} gives {_shown(value)} the same role a second time.")
        found.append(kept)
    return found


def check_default_roles(
    actor: Actor, organization_id: UUID, default_role: object, default_project_roles: object
) -> tuple[str, list[dict[str, str | None]]]:
    """The default roles as `Connection` keeps them.

    Raises:
        InvalidArgument: no organization role, OrgOwner, or a role or a project that does not exist.
        PermissionDenied: a role that can do more than the actor.
    """
    allowed = sorted(BINDABLE[ResourceType.ORGANIZATION] - {OWNER_ROLE})
    if default_role not in allowed:
        raise InvalidArgument(
            f"default_role {_shown(default_role)} has to be one of {', '.join(allowed)}."
            f" {OWNER_ROLE.value} is for people who are made owners one by one, or by a mapping."
        )
    _check_holds(actor, organization_id, Role(str(default_role)))
    rows = _rows(default_project_roles, "default_project_roles", {"role", "project_id"})
    found: list[dict[str, str | None]] = []
    for place, row in enumerate(rows):
        name = f"default_project_roles[{place}]"
        if not row.get("project_id"):
            raise InvalidArgument(f"{name}.project_id is missing: the project of the role.")
        kept = _checked_role(actor, organization_id, row, name)
        if kept in found:
            raise InvalidArgument(f"{name} names the same role on the same project a second time.")
        found.append(kept)
    return str(default_role), found


def check_roles_mode(actor: Actor, organization: Organization, mode: object) -> str:
    """How roles are given.

    Handing that to the identity provider lets it make owners, by values in Pinecone's form.

    Raises:
        InvalidArgument: none of the modes.
        PermissionDenied: the plan has no roles from the identity provider, or the actor can do less
            than an owner.
    """
    if mode not in Mode.values:
        raise InvalidArgument(
            f"roles_mode {_shown(mode)} has to be one of {', '.join(Mode.values)}."
        )
    if mode != Mode.DEFAULT:
        require(organization, Entitlement.SAML_ROLES)
        check_ceiling(actor, ROLES[OWNER_ROLE], organization_id=organization.pk)
    return str(mode)


def _rows(found: object, name: str, known: set[str]) -> list[Mapping[str, object]]:
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise InvalidArgument(
            f"{name} has to be a list of objects with {', '.join(sorted(known))}."
        )
    if len(found) > MAX_MAPPINGS:
        raise InvalidArgument(f"{name} has {len(found)} entries; at most {MAX_MAPPINGS} are kept.")
    for place, row in enumerate(found):
        unknown = sorted(str(field) for field in row if field not in known)
        if unknown:
            raise InvalidArgument(
                f"{name}[{place}].{unknown[0][:SHOWN]} is not known here. Known are:"
                f" {', '.join(sorted(known))}."
            )
    return found


def _checked_role(
    actor: Actor, organization_id: UUID, row: Mapping[str, object], name: str
) -> dict[str, str | None]:
    """`role` and `project_id`; a role of the organization's own by its id, which outlives names."""
    role, project = row.get("role"), row.get("project_id")
    if not isinstance(role, str):
        raise InvalidArgument(f"{name}.role {_shown(role)} has to be the name of a role.")
    try:
        project_id = UUID(str(project)) if project else None
    except ValueError:
        raise InvalidArgument(
            f"{name}.project_id {_shown(project)} is no project id: a UUID, or null for the"
            " organization."
        ) from None
    try:
        target = find_target(organization_id, RoleSpec(role, project_id))
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}: {error.message}") from error
    _check_holds(actor, organization_id, target.role, project_id)
    return {"role": target.key[0], "project_id": str(project_id) if project_id else None}


def _check_holds(
    actor: Actor, organization_id: UUID, role: Role | CustomRole, project_id: UUID | None = None
) -> None:
    """Whether the actor may itself do what the role allows there."""
    resource_type = ResourceType.PROJECT if project_id else ResourceType.ORGANIZATION
    scope = Scope(
        resource_type=resource_type,
        resource_id=project_id or organization_id,
        organization_id=organization_id,
        project_id=project_id,
        index_id=None,
    )
    check_role_ceiling(actor, role, scope)


def _is_clean(text: str) -> bool:
    return text.isprintable() and text == text.strip()


def _shown(value: object) -> str:
    return repr(value)[:SHOWN]

"""Roles out of what an identity provider or a directory says.

Two sources: the organization's own table (a group or role value to a role) and values in Pinecone's
form, `pinecone:<OrgRole>` and `pinecone:project:<project id>:<ProjectRole>`. What neither knows is
ignored. Values are compared exactly, upper and lower case included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from orgs import registry
from orgs.errors import InvalidArgument
from orgs.models import CustomRole, ResourceType
from orgs.permissions import BINDABLE, Role
from orgs.selectors.roles import find_role
from sso.identities import VerifiedAssertion
from sso.models import Connection

PREFIX = "pinecone"
MAX_ROLES = 200
"""More roles than that for one person are refused: nobody means them, and each costs a look."""
SHOWN = 80


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """A role that somebody should have.

    Attributes:
        role: a predefined role, or the id or the name of one of the organization's own.
        project_id: the project that it is held on; None: the organization.
    """

    role: str
    project_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A role that exists, on a resource that exists."""

    role: Role | CustomRole
    resource_type: ResourceType
    resource_id: UUID
    label: str

    @property
    def key(self) -> tuple[str, str]:
        """The same for a role binding that holds it (`_key`)."""
        role = str(self.role.pk) if isinstance(self.role, CustomRole) else self.role.value
        return role, str(self.resource_id)

    def __str__(self) -> str:
        role = self.role.name if isinstance(self.role, CustomRole) else self.role.value
        return f"{role} on the {self.label}"


def parse_pinecone_role(value: str) -> RoleSpec | None:
    """The role that a value in Pinecone's form names; None: it is none, or names no such role."""
    match value.split(":"):
        case [prefix, role] if prefix == PREFIX and role in BINDABLE[ResourceType.ORGANIZATION]:
            return RoleSpec(role)
        case [prefix, "project", project, role] if (
            prefix == PREFIX and role in BINDABLE[ResourceType.PROJECT]
        ):
            try:
                return RoleSpec(role, UUID(project))
            except ValueError:
                return None
        case _:
            return None


def mapped(
    connection: Connection, roles: Collection[str], groups: Collection[str] = ()
) -> frozenset[RoleSpec]:
    """The roles that these values give: by the connection's table, and in Pinecone's form, which
    counts among `roles` alone.
    """
    in_form = (parse_pinecone_role(value) for value in roles)
    said = {*roles, *groups}
    by_table = (spec_of(row) for row in connection.role_mappings if row["value"] in said)
    return frozenset({*(spec for spec in in_form if spec), *by_table})


def desired(connection: Connection, assertion: VerifiedAssertion) -> frozenset[RoleSpec]:
    """The roles that the identity provider gives."""
    return mapped(connection, assertion.roles, assertion.groups)


def spec_of(row: Mapping[str, str | None]) -> RoleSpec:
    """A row of `role_mappings` or `default_project_roles`."""
    project_id = row.get("project_id")
    return RoleSpec(str(row["role"]), UUID(project_id) if project_id else None)


def resolve(
    organization_id: UUID, specs: Collection[RoleSpec]
) -> tuple[list[Target], tuple[str, ...]]:
    """What of it exists in the organization, in a fixed order, and what was skipped, in words."""
    if len(specs) > MAX_ROLES:
        raise InvalidArgument(
            f"{len(specs)} roles for one person: at most {MAX_ROLES} are given. Use groups that"
            " stand for fewer."
        )
    found: dict[tuple[str, str], Target] = {}
    notes = []
    for spec in sorted(specs, key=lambda each: (str(each.project_id or ""), each.role)):
        try:
            target = find_target(organization_id, spec)
        except InvalidArgument as error:
            notes.append(f"Skipped: {error.message}")
        else:
            found[target.key] = target
    return list(found.values()), tuple(notes)


def find_target(organization_id: UUID, spec: RoleSpec) -> Target:
    """The role and its resource.

    Raises:
        InvalidArgument: there is no such role or project in the organization, or the role can't be
            held there.
    """
    role = find_role(organization_id, spec.role)
    if spec.project_id is None:
        target = Target(role, ResourceType.ORGANIZATION, organization_id, "organization")
    else:
        project = registry.find_resource(ResourceType.PROJECT, spec.project_id)
        if project is None or project.organization_id != organization_id:
            raise InvalidArgument(
                f"There is no project {spec.project_id} in the organization, for the role"
                f" {spec.role[:SHOWN]} on it."
            )
        target = Target(role, ResourceType.PROJECT, project.id, f"project {project.label}")
    if not _fits(role, target.resource_type):
        raise InvalidArgument(f"The role {target} can't be held there.")
    return target


def _fits(role: Role | CustomRole, resource_type: ResourceType) -> bool:
    if isinstance(role, CustomRole):
        return role.resource_type == resource_type
    return role in BINDABLE[resource_type]

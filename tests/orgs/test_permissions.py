"""The role table against the reference, written down here once more and independently."""

from __future__ import annotations

import uuid

import pytest
from django.utils import timezone

from orgs.actors import Actor, Binding, system
from orgs.errors import NotFound, PermissionDenied
from orgs.permissions import (
    ACCESS_ROLE_HELP,
    ACCESS_ROLES,
    ORGANIZATION_ROLES,
    ROLES,
    Permission,
    Role,
    authorize,
    permissions_of,
)

ORG, PROJECT, OTHER_ORG, OTHER_PROJECT = (uuid.uuid4() for _ in range(4))

# One line per permission, one column per role:
#   organization: Owner Manager Member BillingAdmin
#   membership:   project Owner Manager Member
#   access:       project Editor Viewer, control plane Editor Viewer, data plane Editor Viewer
ROLE_ORDER = [
    *("OrgOwner", "OrgManager", "OrgMember", "OrgBillingAdmin"),
    *("ProjectOwner", "ProjectManager", "ProjectMember"),
    *("ProjectEditor", "ProjectViewer", "ControlPlaneEditor", "ControlPlaneViewer"),
    *("DataPlaneEditor", "DataPlaneViewer"),
]
REFERENCE = """
organization:read        y y y y  . . .  . . . . . .
organization:update      y . . .  . . .  . . . . . .
organization:delete      y . . .  . . .  . . . . . .
billing:read             y . . y  . . .  . . . . . .
billing:update           y . . y  . . .  . . . . . .
member:read              y y y y  . . .  . . . . . .
member:invite            y . . .  . . .  . . . . . .
member:update            y . . .  . . .  . . . . . .
role:manage              y . . .  . . .  . . . . . .
group:manage             y . . .  . . .  . . . . . .
service_account:read     y . . .  . . .  . . . . . .
service_account:manage   y . . .  . . .  . . . . . .
security:manage          y . . .  . . .  . . . . . .
sso:manage               y . . .  . . .  . . . . . .
audit:read               y . . .  . . .  . . . . . .
audit:manage             y . . .  . . .  . . . . . .
project:create           y y . .  . . .  . . . . . .
project:read             y . . .  y y y  . . . . . .
project:update           y . . .  y . .  . . . . . .
project:delete           y . . .  y . .  . . . . . .
project_member:update    y . . .  y . .  . . . . . .
api_key:read             y . . .  y y y  . . . . . .
api_key:create           y . . .  y . .  . . . . . .
api_key:update           y . . .  y . .  . . . . . .
api_key:revoke           y . . .  y . .  . . . . . .
index:read               y . . .  y y .  y y y y . .
index:create             y . . .  y y .  y . y . . .
index:configure          y . . .  y y .  y . y . . .
index:delete             y . . .  y y .  y . y . . .
data:read                y . . .  y y .  y y . . y y
data:write               y . . .  y y .  y . . . y .
"""
TABLE = {
    (permission, role): mark == "y"
    for permission, *marks in (line.split() for line in REFERENCE.strip().splitlines())
    for role, mark in zip(ROLE_ORDER, marks, strict=True)
}


def holder(role: str, *, organization: uuid.UUID = ORG, project: uuid.UUID = PROJECT) -> Actor:
    """Somebody with that role alone, on the organization or on the project."""
    on_project = None if role.startswith("Org") else project
    return Actor(
        kind="user",
        id="1",
        label="somebody",
        bindings=(Binding(role, organization, on_project),),
        authenticated_at=timezone.now(),
    )


def allowed(actor: Actor, permission: Permission) -> bool:
    """Whether it passes on the project."""
    try:
        authorize(actor, permission, organization_id=ORG, project_id=PROJECT)
    except (NotFound, PermissionDenied):
        return False
    return True


class ReferenceTests:
    def test_the_table_here_is_complete(self) -> None:
        assert {permission for permission, _ in TABLE} == {p.value for p in Permission}
        assert {role for _, role in TABLE} == {r.value for r in Role} == {r.value for r in ROLES}

    @pytest.mark.parametrize("role", ROLE_ORDER)
    @pytest.mark.parametrize("permission", list(Permission))
    def test_every_role_holds_exactly_its_permissions(
        self, role: str, permission: Permission
    ) -> None:
        assert allowed(holder(role), permission) == TABLE[permission.value, role]

    def test_the_kinds_of_roles(self) -> None:
        assert {r.value for r in ORGANIZATION_ROLES} == set(ROLE_ORDER[:4])
        assert {r.value for r in ACCESS_ROLES} == set(ROLE_ORDER[7:])
        assert set(ACCESS_ROLE_HELP) == ACCESS_ROLES

    def test_no_role_that_keys_may_hold_touches_people_settings_or_keys(self) -> None:
        for role in ACCESS_ROLES:
            assert {p.value.split(":")[0] for p in ROLES[role]} <= {"index", "data"}


class AuthorizeTests:
    def test_several_roles_add_up(self) -> None:
        actor = Actor(
            kind="user",
            id="1",
            label="somebody",
            bindings=(
                Binding("ControlPlaneViewer", ORG, PROJECT),
                Binding("DataPlaneViewer", ORG, PROJECT),
            ),
        )
        held = permissions_of(actor, organization_id=ORG, project_id=PROJECT)
        assert held == {Permission.INDEX_READ, Permission.DATA_READ}

    def test_nothing_on_another_organization_counts(self) -> None:
        with pytest.raises(NotFound):
            authorize(
                holder("OrgOwner", organization=OTHER_ORG),
                Permission.ORGANIZATION_READ,
                organization_id=ORG,
            )

    def test_a_role_on_another_project_counts_for_nothing(self) -> None:
        with pytest.raises(NotFound):
            authorize(
                holder("ProjectOwner", project=OTHER_PROJECT),
                Permission.INDEX_READ,
                organization_id=ORG,
                project_id=PROJECT,
            )

    def test_a_project_of_that_id_in_another_organization_counts_for_nothing(self) -> None:
        with pytest.raises(NotFound):
            authorize(
                holder("ProjectOwner", organization=OTHER_ORG),
                Permission.INDEX_READ,
                organization_id=ORG,
                project_id=PROJECT,
            )

    def test_a_project_role_says_nothing_about_the_organization(self) -> None:
        with pytest.raises(NotFound):
            authorize(holder("ProjectOwner"), Permission.ORGANIZATION_READ, organization_id=ORG)

    def test_a_key_of_another_organization_is_held_to_its_own(self) -> None:
        actor = Actor(
            kind="api_key",
            id="1",
            label="key",
            organization_id=OTHER_ORG,
            bindings=(Binding("ProjectEditor", ORG, PROJECT),),
        )
        with pytest.raises(NotFound):
            authorize(actor, Permission.INDEX_READ, organization_id=ORG, project_id=PROJECT)

    def test_who_belongs_there_is_told_what_is_missing(self) -> None:
        with pytest.raises(PermissionDenied, match="somebody lacks the permission project:delete"):
            authorize(
                holder("ProjectMember"),
                Permission.PROJECT_DELETE,
                organization_id=ORG,
                project_id=PROJECT,
            )

    def test_the_platform_itself_may(self) -> None:
        authorize(system("tests"), Permission.ORGANIZATION_DELETE, organization_id=ORG)

"""Every role, permission and kind of resource against an independent judge.

The judge is Cedar, by its own engine. Its policies are made from the published tables as people
read them, row by row; nothing here looks into `orgs.permissions` but for the names.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from cedarpy import Decision, Entities, PolicySet, is_authorized_batch

from orgs.baseline import Facts
from orgs.models import (
    CustomRole,
    Group,
    GroupMembership,
    Organization,
    PrincipalType,
    RoleBinding,
    SecurityBaseline,
    User,
)
from orgs.permissions import Permission, permissions_of
from orgs.selectors.bindings import actor_for

# A row of a table: what it says, the permissions it stands for, and who has it.
ORGANIZATION_TABLE = """
view account details           organization:read member:read              y y y y
create projects                project:create                             y y . .
view billing and usage         billing:read                               y . . y
manage billing                 billing:update                             y . . y
invite / remove members        member:invite member:update                y . . .
change member org roles        member:update role:manage group:manage     y . . .
manage service accounts        service_account:read service_account:manage y . . .
configure SSO                  sso:manage security:manage                 y . . .
configure audit logs           audit:read audit:manage                    y . . .
rename org                     organization:update                        y . . .
delete org                     organization:delete                        y . . .
"""
PROJECT_TABLE = """
view settings, members, keys   project:read api_key:read                  y y y
update settings                project:update                             y . .
delete project                 project:delete                             y . .
manage members and roles       project_member:update                      y . .
create / delete API keys       api_key:create api_key:update api_key:revoke y . .
view indexes                   index:read                                 y y .
create / configure / delete    index:create index:configure index:delete  y y .
read index data                data:read                                  y y .
write index data               data:write                                 y y .
"""
CONTROL_READ, CONTROL_WRITE = {"index:read"}, {"index:create", "index:configure", "index:delete"}
DATA_READ, DATA_WRITE = {"data:read"}, {"data:write"}
ACCESS = {
    "ProjectEditor": CONTROL_READ | CONTROL_WRITE | DATA_READ | DATA_WRITE,
    "ProjectViewer": CONTROL_READ | DATA_READ,
    "ControlPlaneEditor": CONTROL_READ | CONTROL_WRITE,
    "ControlPlaneViewer": CONTROL_READ,
    "DataPlaneEditor": DATA_READ | DATA_WRITE,
    "DataPlaneViewer": DATA_READ,
}
# Roles of an organization's own: by the kind of resource that they are made for. The last three
# claim more than can be held there, as a row from another version of the table might.
OWN = {
    ("organization", "Auditor"): {"organization:read", "audit:read"},
    ("organization", "Everywhere reader"): {"project:read", "index:read", "data:read"},
    ("project", "Key keeper"): {"project:read", "api_key:read", "api_key:revoke"},
    ("index", "Writer"): {"data:write"},
    ("project", "Too much in a project"): {"data:read", "member:update", "project:create"},
    ("index", "Too much on an index"): {"data:read", "index:create", "project:delete"},
    ("index", "Unheard of"): {"data:read", "time:travel"},
}
BELOW_PROJECT = CONTROL_READ | DATA_READ | DATA_WRITE | {"index:configure", "index:delete"}


def columns(table: str, roles: Iterable[str]) -> dict[str, set[str]]:
    """What the table gives each role."""
    found: dict[str, set[str]] = {role: set() for role in roles}
    for line in table.strip().splitlines():
        words = line.split()
        marks = words[-len(found) :]
        named = {word for word in words if ":" in word}
        for role, mark in zip(found, marks, strict=True):
            if mark == "y":
                found[role] |= named
    return found


def published() -> dict[tuple[str, str], set[str]]:
    """What each role allows, by the kind of resource that it is held on."""
    organization = columns(
        ORGANIZATION_TABLE, ["OrgOwner", "OrgManager", "OrgMember", "OrgBillingAdmin"]
    )
    project = columns(PROJECT_TABLE, ["ProjectOwner", "ProjectManager", "ProjectMember"])
    # "OrgOwner inherits ProjectOwner on every project."
    organization["OrgOwner"] |= project["ProjectOwner"]
    in_project = project["ProjectOwner"]
    return {
        **{("organization", role): allowed for role, allowed in organization.items()},
        **{("project", role): allowed for role, allowed in {**project, **ACCESS}.items()},
        **{("index", role): allowed & BELOW_PROJECT for role, allowed in ACCESS.items()},
        **{
            (kind, role): allowed
            & {"organization": allowed, "project": in_project, "index": BELOW_PROJECT}[kind]
            for (kind, role), allowed in OWN.items()
        },
    }


@dataclass(frozen=True)
class Resource:
    """An organization, a project or an index, in what contains it."""

    kind: str
    id: uuid.UUID
    organization: uuid.UUID
    project: uuid.UUID | None = None

    @property
    def cedar(self) -> dict[str, str]:
        """As Cedar knows it."""
        return {"type": self.kind.capitalize(), "id": str(self.id)}

    @property
    def parent(self) -> dict[str, str] | None:
        """What contains it."""
        if self.kind == "organization":
            return None
        if self.kind == "index":
            return {"type": "Project", "id": str(self.project)}
        return {"type": "Organization", "id": str(self.organization)}


def make_resources() -> list[Resource]:
    """Two organizations; in ours two projects with two and one indexes, in the other one each."""
    found = []
    for shape in ((2, 1), (1,)):
        owner = Organization.objects.create(name="Acme").pk
        found.append(Resource("organization", owner, owner))
        for indexes in shape:
            project = uuid.uuid4()
            found.append(Resource("project", project, owner, project))
            found += [Resource("index", uuid.uuid4(), owner, project) for _ in range(indexes)]
    return found


def make_holders(resources: list[Resource]) -> dict[str, User]:
    """One person for each role on the first resource of its kind in each organization, directly
    and, in ours, through a group: `<how> <role> <resource>`. One more has nothing at all.
    """
    ours = resources[0].organization
    firsts: dict[tuple[uuid.UUID, str], Resource] = {}
    for resource in resources:
        firsts.setdefault((resource.organization, resource.kind), resource)
    own = {
        (resource.organization, kind, name): CustomRole(
            organization_id=resource.organization,
            name=name,
            resource_type=kind,
            permissions=sorted(allowed),
        )
        for resource in resources
        if resource.kind == "organization"
        for (kind, name), allowed in OWN.items()
    }
    CustomRole.objects.bulk_create(own.values())
    people: dict[str, User] = {}
    groups, places, bindings = [], [], []
    for (kind, role), resource, how in itertools.product(
        published(), firsts.values(), ("direct", "group")
    ):
        if resource.kind != kind or (how == "group" and resource.organization != ours):
            continue
        name = f"{how} {role} {resource.id}"
        people[name] = User(email=f"p{len(people)}@example.com", password="!")
        holder = (PrincipalType.USER, people[name].pk)
        if how == "group":
            groups.append(Group(organization_id=resource.organization, name=name[-80:]))
            places.append(GroupMembership(group=groups[-1], user=people[name]))
            holder = (PrincipalType.GROUP, groups[-1].pk)
        custom = own.get((resource.organization, kind, role))
        bindings.append(
            RoleBinding(
                organization_id=resource.organization,
                principal_type=holder[0],
                principal_id=holder[1],
                resource_type=kind,
                resource_id=resource.id,
                project_id=resource.project,
                role="" if custom else role,
                custom_role=custom,
                granted_by="tests",
            )
        )
    people["nothing"] = User(email="nothing@example.com", password="!")
    User.objects.bulk_create(people.values())
    Group.objects.bulk_create(groups)
    GroupMembership.objects.bulk_create(places)
    RoleBinding.objects.bulk_create(bindings)
    return people


def policies(resources: list[Resource]) -> PolicySet:
    """One rule per role and resource, and one that bars who does not meet a baseline."""
    rules = ["forbid(principal, action, resource) when { resource in principal.barred };"]
    for (kind, role), allowed in published().items():
        actions = ", ".join(f'Action::"{each}"' for each in sorted(allowed))
        rules += [
            f'permit(principal in Holding::"{role} {each.id}", action in [{actions}],'
            f' resource in {each.cedar["type"]}::"{each.id}");'
            for each in resources
            if each.kind == kind
        ]
    return PolicySet.from_str("\n".join(rules))


def entities(
    resources: list[Resource], people: dict[str, User], barred: list[uuid.UUID]
) -> Entities:
    """Who holds what, what contains what, and the organizations that everybody is barred from."""
    found = [
        {"uid": each.cedar, "attrs": {}, "parents": [each.parent] if each.parent else []}
        for each in resources
    ]
    out = [{"__entity": {"type": "Organization", "id": str(each)}} for each in barred]
    for name, person in people.items():
        how, _, holding = name.partition(" ")
        parent = {"type": "Holding", "id": holding}
        if how == "group":
            group = {"type": "Group", "id": name}
            found.append({"uid": group, "attrs": {}, "parents": [parent]})
            parent = group
        found.append(
            {
                "uid": {"type": "User", "id": str(person.pk)},
                "attrs": {"barred": out},
                "parents": [parent] if holding else [],
            }
        )
    return Entities.from_json_str(json.dumps(found))


def judged(
    rules: PolicySet, world: Entities, people: Iterable[User], resources: list[Resource]
) -> dict[tuple[uuid.UUID, uuid.UUID], set[str]]:
    """What Cedar allows everybody on everything."""
    asked = list(itertools.product(people, resources, Permission))
    requests = [
        {
            "principal": {"type": "User", "id": str(person.pk)},
            "action": {"type": "Action", "id": permission.value},
            "resource": resource.cedar,
        }
        for person, resource, permission in asked
    ]
    found: dict[tuple[uuid.UUID, uuid.UUID], set[str]] = {
        (person.pk, resource.id): set() for person, resource, _ in asked
    }
    for (person, resource, permission), result in zip(
        asked, is_authorized_batch(requests, rules, world), strict=True
    ):
        assert result.decision in {Decision.Allow, Decision.Deny}, result.diagnostics.errors
        if result.allowed:
            found[person.pk, resource.id].add(permission.value)
    return found


@pytest.mark.django_db
class OracleTests:
    def test_every_role_allows_what_the_published_tables_say_and_nothing_else(self) -> None:
        resources = make_resources()
        people = make_holders(resources)
        rules = policies(resources)
        ours = resources[0].organization
        SecurityBaseline.objects.create(organization_id=ours, mfa_required=True)
        for has_mfa, barred in ((True, []), (False, [ours])):
            asked = {name: p for name, p in people.items() if has_mfa or "group" not in name}
            verdict = judged(rules, entities(resources, people, barred), asked.values(), resources)
            for name, person in asked.items():
                actor = actor_for(person, facts=Facts(has_mfa=has_mfa))
                for resource in resources:
                    held = permissions_of(
                        actor,
                        organization_id=resource.organization,
                        project_id=resource.project,
                        index_id=resource.id if resource.kind == "index" else None,
                    )
                    assert {each.value for each in held} == verdict[person.pk, resource.id], (
                        f"{name} on the {resource.kind} {resource.id}, mfa: {has_mfa}"
                    )
            allowed = sum(len(each) for each in verdict.values())
            assert 0 < allowed < len(verdict) * len(Permission)

    def test_the_judge_itself_says_no_to_who_holds_nothing_and_yes_to_an_owner(self) -> None:
        resources = make_resources()
        people = make_holders(resources)
        owner = people[f"direct OrgOwner {resources[0].id}"]
        verdict = judged(
            policies(resources),
            entities(resources, people, []),
            [owner, people["nothing"]],
            resources,
        )
        for resource in resources:
            is_ours = resource.organization == resources[0].organization
            expected = {each.value for each in Permission} if is_ours else set()
            assert verdict[owner.pk, resource.id] == expected
            assert verdict[people["nothing"].pk, resource.id] == set()

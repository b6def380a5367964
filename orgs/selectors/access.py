"""Who holds what, and what a change would do, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from orgs import registry
from orgs.actors import Actor
from orgs.models import (
    CustomRole,
    Group,
    GroupMembership,
    Organization,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import (
    PERMISSION_HELP,
    ROLE_HELP,
    Permission,
    Role,
    permissions_in,
    permissions_of,
)
from orgs.selectors.bindings import as_binding, bindings_visible_to, knows_project
from orgs.selectors.reach import Flip, Principal


@dataclass(frozen=True, slots=True)
class Held:
    """A role that somebody holds.

    Attributes:
        where: the name of the organization, project or index.
        team: the team that it comes by; None: held directly.
    """

    row: RoleBinding
    where: str
    help: str
    team: Group | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to somebody somewhere, in words."""

    who: str
    where: str
    gained: list[str]
    lost: list[str]


def held_by(actor: Actor, organization: Organization, principal: Principal) -> list[Held]:
    """The roles of the principal that the actor may see, those of a person's teams last.

    At most five queries.

    Raises:
        PermissionDenied: the actor does not meet the organization's security baseline.
    """
    kind, pk = principal
    visible = bindings_visible_to(actor, organization.pk).order_by("created_at", "id")
    own = list(visible.filter(principal_type=kind, principal_id=pk))
    teams: dict[UUID, Group] = {}
    if kind == PrincipalType.USER:
        places = GroupMembership.objects.filter(user=pk, group__organization=organization)
        teams = {place.group_id: place.group for place in places.select_related("group")}
    by_teams = (
        list(visible.filter(principal_type=PrincipalType.GROUP, principal_id__in=teams))
        if teams
        else []
    )
    names = names_of([*own, *by_teams], organization)
    return [
        Held(row, names[row.resource_id], help_of(row), teams.get(row.principal_id))
        for row in (*own, *by_teams)
    ]


def names_of(rows: Iterable[RoleBinding | Flip], *organizations: Organization) -> dict[UUID, str]:
    """What people call the resources of the rows; the id where nothing is known. One query for each
    kind that there is, none for the organization.
    """
    wanted: dict[str, set[UUID]] = defaultdict(set)
    for row in rows:
        wanted[row.resource_type].add(row.resource_id)
    found = {organization.pk: organization.name for organization in organizations}
    for kind in (ResourceType.PROJECT, ResourceType.INDEX):
        if wanted[kind]:
            found |= registry.names_of_resources(kind, wanted[kind])
    return {pk: found.get(pk, str(pk)) for pks in wanted.values() for pk in pks}


def help_of(row: RoleBinding) -> str:
    """What the role of the row lets one do, in a few words."""
    if row.custom_role is None:
        return ROLE_HELP[Role(row.role)]
    return in_words(permissions_in(as_binding(row)))


def in_words(permissions: Iterable[str]) -> str:
    """The permissions as a list of words, in the order of their table."""
    held = set(permissions)
    return ", ".join(PERMISSION_HELP[each] for each in Permission if each.value in held)


def effects(organization: Organization, flips: Sequence[Flip]) -> list[Effect]:
    """The flips in words. One query for people, and one for each kind of resource."""
    people = dict(
        User.objects.filter(
            pk__in=[
                flip.principal_id for flip in flips if flip.principal_type == PrincipalType.USER
            ]
        ).values_list("pk", "email")
    )
    names = names_of(flips, organization)
    return [
        Effect(
            who=people.get(flip.principal_id) or _principal(flip),
            where=names[flip.resource_id],
            gained=[PERMISSION_HELP[Permission(each)] for each in flip.gained],
            lost=[PERMISSION_HELP[Permission(each)] for each in flip.lost],
        )
        for flip in flips
        if flip.gained or flip.lost
    ]


def _principal(flip: Flip) -> str:
    if flip.principal_type in {PrincipalType.USER, PrincipalType.INVITE}:
        return str(flip.principal_id)
    found = registry.find_principal(flip.principal_type, flip.principal_id)
    return found.label if found else str(flip.principal_id)


def roles_on(organization: Organization, kind: ResourceType) -> list[CustomRole]:
    """The organization's own roles that can be held on a resource of the kind, by name."""
    return list(CustomRole.objects.filter(organization=organization, resource_type=kind))


def projects_to_give(actor: Actor, organization: Organization) -> list[registry.Found]:
    """The organization's projects at work on which the actor may give roles, by name. One query."""
    return [
        each
        for each in registry.list_resources(ResourceType.PROJECT, organization.pk)
        if knows_project(actor, organization.pk, each.id)
        and Permission.PROJECT_MEMBER_UPDATE
        in permissions_of(actor, organization_id=organization.pk, project_id=each.id)
    ]


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a role on a project, on an index in it, or on the whole organization.

    Attributes:
        name: an e-mail address, or what a team or a program is called.
        where: the name of the project, index or organization.
    """

    row: RoleBinding
    name: str
    where: str
    help: str


def holders_on(actor: Actor, organization: Organization, project_id: UUID) -> list[Holder]:
    """Who reaches the project by which role, as far as the actor may see it: people, teams and
    service accounts; keys have a page of their own. Roles on the organization that don't reach into
    projects are left out.

    One query for each kind of principal, and those of `names_of`.
    """
    kinds = (PrincipalType.USER, PrincipalType.GROUP, PrincipalType.SERVICE_ACCOUNT)
    rows = [
        row
        for row in bindings_visible_to(actor, organization.pk)
        .filter(
            Q(project_id=project_id) | Q(resource_type=ResourceType.ORGANIZATION),
            principal_type__in=kinds,
        )
        .order_by("resource_type", "created_at", "id")
        if row.project_id is not None or Permission.PROJECT_READ in permissions_in(as_binding(row))
    ]
    ids = {kind: {row.principal_id for row in rows if row.principal_type == kind} for kind in kinds}
    people = User.objects.filter(pk__in=ids[PrincipalType.USER]).values_list("pk", "email")
    teams = Group.objects.filter(pk__in=ids[PrincipalType.GROUP]).values_list("pk", "name")
    names = dict(people) | dict(teams)
    for pk in ids[PrincipalType.SERVICE_ACCOUNT]:
        found = registry.find_principal(PrincipalType.SERVICE_ACCOUNT, pk)
        names[pk] = found.label if found else str(pk)
    places = names_of(rows, organization)
    return [
        Holder(
            row,
            names.get(row.principal_id, str(row.principal_id)),
            places[row.resource_id],
            help_of(row),
        )
        for row in rows
    ]


def own_access(actor: Actor) -> list[tuple[Organization, list[Held]]]:
    """Everything that a person holds now, by organization, directly or by a team. Four queries.

    What an organization that does not let the person in gives them is among it: it counts again
    once they come in.
    """
    ids = [binding.id for binding in actor.bindings if binding.id is not None]
    rows = list(
        RoleBinding.objects.filter(pk__in=ids)
        .select_related("organization", "custom_role")
        .order_by("organization__name", "organization", "created_at", "id")
    )
    by_team = {row.principal_id for row in rows if row.principal_type == PrincipalType.GROUP}
    teams = Group.objects.in_bulk(list(by_team))
    names = names_of(rows, *{row.organization for row in rows})
    found: dict[Organization, list[Held]] = defaultdict(list)
    for row in rows:
        held = Held(row, names[row.resource_id], help_of(row), teams.get(row.principal_id))
        found[row.organization].append(held)
    return list(found.items())

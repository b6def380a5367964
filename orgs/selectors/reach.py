"""What principals may do in the whole of an organization, and how two such states differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from orgs.actors import Actor, Binding
from orgs.models import GroupMembership, PrincipalType, ResourceType
from orgs.permissions import GRANTABLE, Permission, permissions_of
from orgs.selectors.bindings import as_binding, in_force

Principal = tuple[PrincipalType, UUID]
Allowed = frozenset[Permission]
Reach = Mapping[Principal, tuple[Binding, ...]]
"""Who holds which bindings; those of a person's groups are among the person's."""


@dataclass(frozen=True, slots=True)
class Flip:
    """What one principal gains and loses on one resource."""

    principal_type: PrincipalType
    principal_id: UUID
    resource_type: ResourceType
    resource_id: UUID
    project_id: UUID | None
    gained: tuple[str, ...]
    lost: tuple[str, ...]


def behind(principal: Principal) -> frozenset[Principal]:
    """Who acts by what the principal holds: the people in a group, else the principal itself."""
    principal_type, principal_id = principal
    if principal_type != PrincipalType.GROUP:
        return frozenset({principal})
    people = GroupMembership.objects.filter(group_id=principal_id).values_list("user_id", flat=True)
    return frozenset((PrincipalType.USER, pk) for pk in people)


def reach_of(
    organization_id: UUID, principals: Iterable[Principal], *, at: datetime | None = None
) -> Reach:
    """What the principals hold in the organization now, or will at that time. Two queries."""
    wanted = set(principals)
    people = {pk for kind, pk in wanted if kind == PrincipalType.USER}
    groups: dict[UUID, list[Principal]] = defaultdict(list)
    for group_id, user_id in GroupMembership.objects.filter(
        group__organization_id=organization_id, user_id__in=people
    ).values_list("group_id", "user_id"):
        groups[group_id].append((PrincipalType.USER, user_id))
    rows = in_force(at).filter(
        Q(principal_id__in=[pk for _, pk in wanted])
        | Q(principal_type=PrincipalType.GROUP, principal_id__in=groups),
        organization_id=organization_id,
    )
    found: dict[Principal, list[Binding]] = {principal: [] for principal in wanted}
    for row in rows.select_related("custom_role"):
        principal = (PrincipalType(row.principal_type), row.principal_id)
        holders = groups[row.principal_id] if principal[0] == PrincipalType.GROUP else [principal]
        for holder in holders:
            if holder in found:
                found[holder].append(as_binding(row))
    return {principal: tuple(bindings) for principal, bindings in found.items()}


def flips(organization_id: UUID, before: Reach, after: Reach) -> list[Flip]:
    """Every permission that differs, by principal and resource.

    Only the organization and what bindings name can differ from what contains them, so that
    everything else stands for itself: a project that is not listed changes as the organization, an
    index as its project, in as far as permissions can be held there. What is listed with nothing
    gained or lost does not change although what contains it does.
    """
    found: list[Flip] = []
    for principal in sorted(before.keys() | after.keys(), key=lambda each: (each[0], str(each[1]))):
        old, new = before.get(principal, ()), after.get(principal, ())
        scopes: set[tuple[UUID | None, UUID | None]] = {(None, None)}
        for binding in (*old, *new):
            scopes |= {(binding.project_id, None), (binding.project_id, binding.index_id)}
        changes: dict[tuple[UUID | None, UUID | None], tuple[Allowed, Allowed]] = {}
        # What contains comes before what it contains.
        for project_id, index_id in sorted(
            scopes, key=lambda each: (each[0] is not None, each[1] is not None, str(each))
        ):
            kind = _kind(project_id, index_id)
            held = [
                _held(organization_id, bindings, project_id, index_id) & GRANTABLE[kind]
                for bindings in (old, new)
            ]
            gained, lost = held[1] - held[0], held[0] - held[1]
            changes[project_id, index_id] = (gained, lost)
            if project_id is not None:
                container = changes[project_id if index_id else None, None]
                as_container = tuple(part & GRANTABLE[kind] for part in container)
                if (gained, lost) == as_container:
                    continue
            elif not gained and not lost:
                continue
            found.append(
                Flip(
                    principal_type=principal[0],
                    principal_id=principal[1],
                    resource_type=kind,
                    resource_id=index_id or project_id or organization_id,
                    project_id=project_id,
                    gained=tuple(sorted(gained)),
                    lost=tuple(sorted(lost)),
                )
            )
    return found


def _kind(project_id: UUID | None, index_id: UUID | None) -> ResourceType:
    if index_id is not None:
        return ResourceType.INDEX
    return ResourceType.ORGANIZATION if project_id is None else ResourceType.PROJECT


def _held(
    organization_id: UUID,
    bindings: tuple[Binding, ...],
    project_id: UUID | None,
    index_id: UUID | None,
) -> frozenset[Permission]:
    actor = Actor(kind="user", id="", label="", bindings=bindings)
    return permissions_of(
        actor, organization_id=organization_id, project_id=project_id, index_id=index_id
    )

"""Why somebody may or may not do something, and what would change it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from orgs.actors import Actor, Binding
from orgs.decisions import Denial
from orgs.errors import no_such
from orgs.models import (
    CustomRole,
    Decision,
    Group,
    GroupMembership,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import (
    ACCESS_ROLES,
    BINDABLE,
    GRANTABLE,
    ROLES,
    Permission,
    applies,
    authorize,
    permissions_in,
    permissions_of,
)
from orgs.selectors.bindings import as_binding, in_force

IN_FORCE, EXPIRED, NOT_YET = "in_force", "expired", "not_yet"
ASKED_PEOPLE = 50


@dataclass(frozen=True, slots=True)
class Place:
    """What somebody wants to act on: an organization, a project in it, or an index in that."""

    organization_id: UUID
    project_id: UUID | None = None
    index_id: UUID | None = None

    @property
    def resource_type(self) -> ResourceType:
        """Its kind."""
        if self.index_id is not None:
            return ResourceType.INDEX
        return ResourceType.ORGANIZATION if self.project_id is None else ResourceType.PROJECT

    @property
    def resource_id(self) -> UUID:
        """Its id."""
        return self.index_id or self.project_id or self.organization_id

    def is_under(self, binding: Binding) -> bool:
        """Whether the binding counts here."""
        return applies(
            binding,
            organization_id=self.organization_id,
            project_id=self.project_id,
            index_id=self.index_id,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One role binding in the light of one question.

    Attributes:
        group: the name of the group that it is held through; empty: directly.
        includes: whether the role has the permission where it is held.
        state: `in_force`, `expired` or `not_yet`.
    """

    binding_id: UUID | None
    role: str
    resource_type: str
    resource_id: UUID
    project_id: UUID | None
    group_id: UUID | None
    group: str
    includes: bool
    state: str
    not_before: datetime | None = None
    expires_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """As it is kept with a decision."""
        return {
            "binding_id": str(self.binding_id) if self.binding_id else None,
            "role": self.role,
            "resource_type": self.resource_type,
            "resource_id": str(self.resource_id),
            "project_id": str(self.project_id) if self.project_id else None,
            "group_id": str(self.group_id) if self.group_id else None,
            "group": self.group,
            "includes": self.includes,
            "state": self.state,
            "not_before": self.not_before.isoformat() if self.not_before else None,
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on a resource that would allow what was asked.

    Attributes:
        permissions: how many the role has there.
        custom_role_id: None for a predefined role.
    """

    role: str
    custom_role_id: UUID | None
    resource_type: str
    resource_id: UUID
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Miss:
    """The binding that came closest, and why it does not help."""

    rule: Rule
    why: str


@dataclass(frozen=True, slots=True)
class Help:
    """What would allow it: the smallest grant, and the people who can give it."""

    nearest_miss: Miss | None
    smallest_grant: Grant | None
    who_can_grant: list[User]


def decisions_of(actor: Actor, organization_id: UUID) -> QuerySet[Decision]:
    """Everything that was denied in the organization within 30 days, newest first.

    Raises:
        NotFound, PermissionDenied: the actor may not read the organization's trail.
    """
    authorize(
        actor,
        Permission.AUDIT_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    return Decision.objects.filter(organization_id=organization_id)


def get_decision(actor: Actor, decision_id: UUID) -> Decision:
    """The denial, for who was denied and for who reads the organization's trail.

    Raises:
        NotFound: there is none, or none that the actor may see; who was told that an object does
            not exist is told the same of the decision, and so is who left the organization.
    """
    row = Decision.objects.filter(pk=decision_id).first()
    if row is not None:
        is_own = (row.actor_kind, row.actor_id) == (actor.kind, actor.id) and not row.hidden
        is_own &= any(each.organization_id == row.organization_id for each in actor.bindings)
        held = permissions_of(actor, organization_id=row.organization_id)
        if is_own or actor.is_system or Permission.AUDIT_READ in held:
            return row
    raise no_such(f"decision {decision_id}")


def place_of(row: Decision | Denial) -> Place:
    """What the denial is about."""
    return Place(row.organization_id, row.project_id, row.index_id)


def rules_of_denial(denial: Denial) -> list[Rule]:
    """The bindings that applied, those first that counted. At most three queries."""
    counted = [_rule(each, denial.permission, IN_FORCE) for each in denial.trace]
    seen = {each.binding_id for each in counted}
    actor, place = denial.actor, place_of(denial)
    others = []
    if actor.kind in PrincipalType.values:
        principal = (PrincipalType(actor.kind), UUID(actor.id))
        others = [
            rule
            for binding, rule in _all_rules(place, principal, denial.permission)
            if place.is_under(binding) and rule.state != IN_FORCE and rule.binding_id not in seen
        ]
    return _with_group_names([*counted, *others])


def rules_for(
    place: Place, principal: tuple[PrincipalType, UUID], permission: Permission
) -> list[Rule]:
    """The principal's bindings that apply there, in force or not. Three queries."""
    found = _all_rules(place, principal, permission.value)
    return _with_group_names([rule for binding, rule in found if place.is_under(binding)])


def help_for(
    place: Place,
    principal: tuple[PrincipalType, UUID] | None,
    permission: str,
    *,
    reason: str = "",
) -> Help:
    """What would allow it. A constant number of queries.

    Args:
        reason: why roles that are held did not count; another one would not either.
    """
    found = _all_rules(place, principal, permission) if principal else []
    miss = _nearest(place, found, reason)
    if miss is not None:
        miss = replace(miss, rule=_with_group_names([miss.rule])[0])
    if reason or permission not in GRANTABLE[ResourceType.ORGANIZATION]:
        return Help(miss, None, [])
    kind = principal[0] if principal else PrincipalType.USER
    grant = _smallest_grant(place, kind, Permission(permission))
    people = _who_can_give(place, kind, grant) if grant else []
    return Help(miss, grant, people)


def explained(actor: Actor, row: Decision) -> tuple[Help, list[User] | None]:
    """What would allow what was denied, and the first of those to ask; None where the actor does
    not see the organization's people.
    """
    principal = None
    if row.actor_kind in PrincipalType.values:
        principal = (PrincipalType(row.actor_kind), UUID(row.actor_id))
    found = help_for(place_of(row), principal, row.permission, reason=row.reason)
    return found, people_to_ask(actor, row.organization_id, found)


def people_to_ask(actor: Actor, organization_id: UUID, found: Help) -> list[User] | None:
    """The first of those who can give the grant, for who sees the organization's people."""
    held = permissions_of(actor, organization_id=organization_id)
    sees_people = actor.is_system or Permission.MEMBER_READ in held
    return found.who_can_grant[:ASKED_PEOPLE] if sees_people else None


def _all_rules(
    place: Place, principal: tuple[PrincipalType, UUID], permission: str
) -> list[tuple[Binding, Rule]]:
    """Every binding that the principal ever got in the organization and that was not removed."""
    principal_type, principal_id = principal
    held_by = Q(principal_type=principal_type, principal_id=principal_id)
    if principal_type == PrincipalType.USER:
        groups = GroupMembership.objects.filter(user_id=principal_id).values("group_id")
        held_by |= Q(principal_type=PrincipalType.GROUP, principal_id__in=groups)
    rows = RoleBinding.objects.filter(held_by, organization_id=place.organization_id)
    now = timezone.now()
    found = []
    for row in rows.select_related("custom_role").order_by("created_at", "id"):
        binding = as_binding(row)
        rule = _rule(binding, permission, _state(row, now))
        rule = replace(rule, not_before=row.not_before, expires_at=row.expires_at)
        found.append((binding, rule))
    return found


def _state(row: RoleBinding, now: datetime) -> str:
    if row.expires_at is not None and row.expires_at <= now:
        return EXPIRED
    return NOT_YET if row.not_before is not None and row.not_before > now else IN_FORCE


def _rule(binding: Binding, permission: str, state: str) -> Rule:
    place = Place(binding.organization_id, binding.project_id, binding.index_id)
    return Rule(
        binding_id=binding.id,
        role=binding.role,
        resource_type=place.resource_type.value,
        resource_id=place.resource_id,
        project_id=binding.project_id,
        group_id=UUID(binding.group) if binding.group else None,
        group="",
        includes=permission in permissions_in(binding),
        state=state,
    )


def _with_group_names(rules: list[Rule]) -> list[Rule]:
    ids = {rule.group_id for rule in rules if rule.group_id}
    if not ids:
        return rules
    names = dict(Group.objects.filter(pk__in=ids).values_list("pk", "name"))
    return [
        replace(rule, group=names.get(rule.group_id, "")) if rule.group_id else rule
        for rule in rules
    ]


def _nearest(place: Place, found: list[tuple[Binding, Rule]], reason: str) -> Miss | None:
    """Of all bindings with the permission the one that lacks least: the time, then the place."""
    misses: list[tuple[int, Miss]] = []
    for binding, rule in found:
        if not rule.includes:
            continue
        if rule.state != IN_FORCE:
            at = rule.expires_at if rule.state == EXPIRED else rule.not_before
            verb = "ended" if rule.state == EXPIRED else "begins"
            why = f"It {verb} at {at.isoformat() if at else 'an unknown time'}."
            misses.append((1 if place.is_under(binding) else 4, Miss(rule, why)))
        elif place.is_under(binding):
            if reason:
                misses.append((0, Miss(rule, reason)))
        elif place.project_id is not None and binding.project_id == place.project_id:
            why = f"It is held on another index, {rule.resource_id}."
            misses.append((2, Miss(rule, why)))
        else:
            why = f"It is held on another resource, the {rule.resource_type} {rule.resource_id}."
            misses.append((3, Miss(rule, why)))
    return min(misses, key=lambda each: each[0])[1] if misses else None


def _smallest_grant(place: Place, kind: PrincipalType, permission: Permission) -> Grant | None:
    """The role with the fewest permissions, at the narrowest resource where one includes it."""
    for candidate in (place, replace(place, index_id=None), Place(place.organization_id)):
        found = _roles_at(candidate, kind, permission)
        if found:
            # Equally small: predefined ones first, each kind in its own order.
            return min(found, key=lambda each: len(each.permissions))
    return None


def _roles_at(place: Place, kind: PrincipalType, permission: Permission) -> list[Grant]:
    resource_type = place.resource_type
    predefined = BINDABLE[resource_type]
    own: Iterable[CustomRole] = CustomRole.objects.filter(
        organization_id=place.organization_id, resource_type=resource_type
    ).order_by("name", "id")
    if kind == PrincipalType.API_KEY:
        predefined = ACCESS_ROLES if resource_type == ResourceType.PROJECT else frozenset()
        own = ()
    found = [
        Grant(role.value, None, resource_type.value, place.resource_id, allowed)
        for role, permissions in ROLES.items()
        if role in predefined and permission in (allowed := permissions & GRANTABLE[resource_type])
    ]
    for role in own:
        allowed = frozenset(
            each for each in GRANTABLE[resource_type] if each.value in role.permissions
        )
        if permission in allowed:
            found.append(Grant(role.name, role.pk, resource_type.value, place.resource_id, allowed))
    return found


def _who_can_give(place: Place, kind: PrincipalType, grant: Grant) -> list[User]:
    """The people who may give roles there and hold what this one allows, by e-mail address."""
    at = {
        ResourceType.ORGANIZATION: Place(place.organization_id),
        ResourceType.PROJECT: replace(place, index_id=None),
        ResourceType.INDEX: place,
    }[ResourceType(grant.resource_type)]
    if at.project_id is None:
        needed = Permission.MEMBER_UPDATE
    elif kind == PrincipalType.API_KEY:
        needed = Permission.API_KEY_UPDATE
    else:
        needed = Permission.PROJECT_MEMBER_UPDATE
    held: dict[UUID, set[Permission]] = defaultdict(set)
    of_groups: dict[UUID, set[Permission]] = defaultdict(set)
    rows = in_force().filter(
        Q(project_id=None) | Q(project_id=at.project_id),
        organization_id=place.organization_id,
        principal_type__in=[PrincipalType.USER, PrincipalType.GROUP],
    )
    for row in rows.select_related("custom_role"):
        binding = as_binding(row)
        if at.is_under(binding):
            is_group = row.principal_type == PrincipalType.GROUP
            (of_groups if is_group else held)[row.principal_id] |= permissions_in(binding)
    for group_id, user_id in GroupMembership.objects.filter(group_id__in=of_groups).values_list(
        "group_id", "user_id"
    ):
        held[user_id] |= of_groups[group_id]
    able = [pk for pk, permissions in held.items() if grant.permissions | {needed} <= permissions]
    return list(User.objects.filter(pk__in=able, is_active=True).order_by("email"))

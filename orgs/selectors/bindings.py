"""Reading role bindings: what somebody holds, and whether their organizations let it count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Value
from django.utils import timezone

from orgs.actors import Actor, Bar, Binding
from orgs.baseline import Facts, unmet
from orgs.errors import InvalidArgument, no_such
from orgs.identity_providers import identity_providers
from orgs.models import (
    GroupMembership,
    Membership,
    Organization,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import Permission, authorize, permissions_of


def not_over(at: datetime | None = None) -> QuerySet[RoleBinding]:
    """The role bindings whose time is not over, now or at that time; it may not have come yet."""
    return RoleBinding.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=at or timezone.now()),
    )


def in_force(at: datetime | None = None) -> QuerySet[RoleBinding]:
    """The role bindings whose time has come and is not over, now or at that time."""
    at = at or timezone.now()
    return not_over(at).filter(Q(not_before=None) | Q(not_before__lte=at))


def holdings_of(
    principal_type: PrincipalType, principal_id: UUID, *, facts: Facts
) -> tuple[tuple[Binding, ...], tuple[Bar, ...]]:
    """The principal's bindings in force, those of a person's groups included, and the organizations
    that don't let `facts` in: the person's place is suspended, their single sign-on is missing, or
    the security baseline is not met. One query.
    """
    is_person = principal_type == PrincipalType.USER
    held_by = Q(principal_type=principal_type, principal_id=principal_id)
    if is_person:
        groups = GroupMembership.objects.filter(user_id=principal_id).values("group_id")
        held_by |= Q(principal_type=PrincipalType.GROUP, principal_id__in=groups)
    suspended = Membership.objects.filter(
        organization_id=OuterRef("organization_id"),
        user_id=principal_id,
        suspended_at__isnull=False,
    )
    found = list(
        in_force()
        .filter(held_by)
        .select_related("organization__security_baseline", "custom_role")
        .annotate(is_suspended=Exists(suspended) if is_person else Value(False))
    )
    bars: dict[UUID, Bar] = {}
    for row in found:
        if row.organization_id in bars:
            continue
        bar = _bar(row.organization, facts, is_person=is_person, is_suspended=row.is_suspended)
        if bar is not None:
            bars[row.organization_id] = bar
    return tuple(as_binding(row) for row in found), tuple(bars.values())


def _bar(
    organization: Organization, facts: Facts, *, is_person: bool, is_suspended: bool
) -> Bar | None:
    """Why the organization does not let this one in; None: it does."""
    pk = organization.pk
    if is_suspended:
        return Bar(pk, f"{organization.name} has suspended your place in it; ask an owner.")
    baseline = getattr(organization, "security_baseline", None)
    if baseline is None:
        return None
    if is_person and baseline.sso_required and pk not in facts.sso_organizations:
        return Bar(
            pk,
            f"{organization.name} requires its single sign-on, also of people who are signed in"
            " already. Sign in through its identity provider.",
            url=identity_providers().sign_in_page(pk),
        )
    reason = unmet(
        replace(facts, has_mfa=facts.has_mfa or pk in facts.idp_mfa_organizations),
        is_person=is_person,
        mfa_required=baseline.mfa_required,
        session_hours=baseline.session_hours,
        ip_ranges=baseline.ip_ranges,
    )
    return Bar(pk, reason) if reason else None


def as_binding(row: RoleBinding) -> Binding:
    """The row as actors carry it. Its custom role has to be loaded."""
    custom = row.custom_role
    return Binding(
        role=row.role_name,
        organization_id=row.organization_id,
        project_id=row.project_id,
        index_id=row.resource_id if row.resource_type == ResourceType.INDEX else None,
        permissions=frozenset(custom.permissions) if custom else None,
        id=row.pk,
        group=str(row.principal_id) if row.principal_type == PrincipalType.GROUP else "",
    )


def roles_of(
    principal_type: PrincipalType,
    principal_ids: Sequence[UUID],
    *,
    resource_id: UUID | None = None,
) -> dict[UUID, list[str]]:
    """The role names of each principal, sorted, on one resource or on all. One query."""
    rows = in_force().filter(principal_type=principal_type, principal_id__in=principal_ids)
    if resource_id is not None:
        rows = rows.filter(resource_id=resource_id)
    found: dict[UUID, list[str]] = defaultdict(list)
    for row in rows.select_related("custom_role"):
        found[row.principal_id].append(row.role_name)
    return {principal_id: sorted(names) for principal_id, names in found.items()}


def actor_for(
    user: User,
    *,
    facts: Facts | None = None,
    authenticated_at: datetime | None = None,
    request_id: str = "",
) -> Actor:
    """The person as an actor, with the bindings in force now. A person switched off holds none."""
    facts = facts or Facts()
    bindings, bars = (
        holdings_of(PrincipalType.USER, user.pk, facts=facts) if user.is_active else ((), ())
    )
    return Actor(
        kind="user",
        id=str(user.pk),
        label=user.email,
        bindings=bindings,
        bars=bars,
        is_operator=user.is_operator and user.is_active,
        has_mfa=facts.has_mfa,
        authenticated_at=authenticated_at,
        ip=facts.ip,
        request_id=request_id,
    )


@dataclass(frozen=True, slots=True)
class BindingFilters:
    """What a list of role bindings is narrowed to; all that are set have to match.

    Attributes:
        role: a predefined role, or the id or the name of one of the organization's own.
    """

    principal_type: PrincipalType | None = None
    principal_id: UUID | None = None
    resource_type: ResourceType | None = None
    resource_id: UUID | None = None
    role: str = ""


def list_bindings(
    actor: Actor, organization_id: UUID, filters: BindingFilters
) -> QuerySet[RoleBinding]:
    """The role bindings that the actor may see, oldest first, those that are over left out.

    Raises:
        PermissionDenied: the actor does not meet the organization's security baseline.
        InvalidArgument: an id without the type that says whose it is.
    """
    for name, pk, kind in (
        ("principal", filters.principal_id, filters.principal_type),
        ("resource", filters.resource_id, filters.resource_type),
    ):
        if pk is not None and kind is None:
            raise InvalidArgument(
                f"{name}_id {pk} was given without {name}_type: send both, or {name}_type alone."
            )
    rows = bindings_visible_to(actor, organization_id)
    wanted = {
        "principal_type": filters.principal_type,
        "principal_id": filters.principal_id,
        "resource_type": filters.resource_type,
        "resource_id": filters.resource_id,
    }
    rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None})
    if filters.role:
        named = Q(role=filters.role) | Q(custom_role__name__iexact=filters.role)
        with suppress(ValueError):
            named |= Q(custom_role_id=UUID(filters.role))
        # PostgreSQL takes no NUL characters, and no role has one.
        rows = rows.filter(named) if filters.role.isprintable() else rows.none()
    return rows.order_by("created_at", "id")


def bindings_visible_to(actor: Actor, organization_id: UUID) -> QuerySet[RoleBinding]:
    """The role bindings that the actor may see: its own, those on the organization where it sees
    the people, those on a project and its indexes where it sees the project.

    Raises:
        PermissionDenied: the actor does not meet the organization's security baseline.
    """
    rows = not_over().filter(organization_id=organization_id).select_related("custom_role")
    if actor.is_system:
        return rows
    if actor.barred_from(organization_id):
        authorize(actor, Permission.MEMBER_READ, organization_id=organization_id)
    held = permissions_of(actor, organization_id=organization_id)
    visible = Q(pk__in=[])
    if actor.kind in PrincipalType and actor.organization_id in {None, organization_id}:
        visible |= Q(principal_type=actor.kind, principal_id=UUID(actor.id))
    if Permission.MEMBER_READ in held:
        visible |= Q(resource_type=ResourceType.ORGANIZATION)
    if Permission.PROJECT_READ in held:
        visible |= ~Q(resource_type=ResourceType.ORGANIZATION)
    else:
        visible |= Q(project_id__in=_projects_read_by(actor, organization_id))
    return rows.filter(visible)


def _projects_read_by(actor: Actor, organization_id: UUID) -> set[UUID]:
    named = {binding.project_id for binding in actor.bindings if binding.project_id}
    return {
        project_id
        for project_id in named
        if Permission.PROJECT_READ
        in permissions_of(actor, organization_id=organization_id, project_id=project_id)
    }


def knows_project(actor: Actor, organization_id: UUID, project_id: UUID) -> bool:
    """Whether the actor may know of the project: by a role on it or in it, or by seeing them all.

    A role on the organization alone does not tell of its projects.
    """
    held = permissions_of(actor, organization_id=organization_id, project_id=project_id)
    return Permission.PROJECT_READ in held or any(
        binding.organization_id == organization_id and binding.project_id == project_id
        for binding in actor.bindings
    )


def get_binding(actor: Actor, organization_id: UUID, binding_id: UUID) -> RoleBinding:
    """The role binding.

    Raises:
        NotFound: there is none, or none that the actor may see.
        PermissionDenied: the actor does not meet the organization's security baseline.
    """
    row = bindings_visible_to(actor, organization_id).filter(pk=binding_id).first()
    if row is None:
        raise no_such(f"role binding {binding_id}")
    return row

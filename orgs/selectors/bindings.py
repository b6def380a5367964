"""Reading role bindings: what somebody holds, and whether their organizations let it count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from orgs.actors import Actor, Bar, Binding
from orgs.baseline import Facts, unmet
from orgs.models import GroupMembership, PrincipalType, ResourceType, RoleBinding, User


def in_force() -> QuerySet[RoleBinding]:
    """The role bindings whose time has come and is not over."""
    now = timezone.now()
    return RoleBinding.objects.filter(
        Q(not_before=None) | Q(not_before__lte=now), Q(expires_at=None) | Q(expires_at__gt=now)
    )


def holdings_of(
    principal_type: PrincipalType, principal_id: UUID, *, facts: Facts
) -> tuple[tuple[Binding, ...], tuple[Bar, ...]]:
    """The principal's bindings in force, those of a person's groups included, and the organizations
    whose security baseline `facts` don't meet. One query.
    """
    is_person = principal_type == PrincipalType.USER
    held_by = Q(principal_type=principal_type, principal_id=principal_id)
    if is_person:
        groups = GroupMembership.objects.filter(user_id=principal_id).values("group_id")
        held_by |= Q(principal_type=PrincipalType.GROUP, principal_id__in=groups)
    found = list(
        in_force().filter(held_by).select_related("organization__security_baseline", "custom_role")
    )
    bars: dict[UUID, Bar] = {}
    for row in found:
        baseline = getattr(row.organization, "security_baseline", None)
        if baseline is None or row.organization_id in bars:
            continue
        reason = unmet(
            facts,
            is_person=is_person,
            mfa_required=baseline.mfa_required,
            session_hours=baseline.session_hours,
            ip_ranges=baseline.ip_ranges,
        )
        if reason:
            bars[row.organization_id] = Bar(row.organization_id, reason)
    return tuple(as_binding(row) for row in found), tuple(bars.values())


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
        authenticated_at=authenticated_at,
        ip=facts.ip,
        request_id=request_id,
    )

"""Reading people, organizations and role bindings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from orgs.actors import Actor, Binding
from orgs.errors import no_such
from orgs.models import Organization, RoleBinding, User
from orgs.permissions import Permission, permissions_of


def _in_force() -> QuerySet[RoleBinding]:
    now = timezone.now()
    return RoleBinding.objects.filter(
        Q(not_before=None) | Q(not_before__lte=now), Q(expires_at=None) | Q(expires_at__gt=now)
    )


def bindings_of(
    principal_type: RoleBinding.PrincipalType, principal_id: UUID
) -> tuple[Binding, ...]:
    """The principal's role bindings that are in force now. One query."""
    rows = (
        _in_force()
        .filter(principal_type=principal_type, principal_id=principal_id)
        .values_list("role", "organization_id", "resource_type", "resource_id")
    )
    return tuple(
        Binding(
            role=role,
            organization_id=organization_id,
            project_id=resource_id if resource_type == RoleBinding.ResourceType.PROJECT else None,
        )
        for role, organization_id, resource_type, resource_id in rows
    )


def roles_of(
    principal_type: RoleBinding.PrincipalType,
    principal_ids: Sequence[UUID],
    *,
    resource_id: UUID | None = None,
) -> dict[UUID, list[str]]:
    """The role names of each principal, sorted, on one resource or on all. One query."""
    rows = _in_force().filter(principal_type=principal_type, principal_id__in=principal_ids)
    if resource_id is not None:
        rows = rows.filter(resource_id=resource_id)
    found: dict[UUID, list[str]] = defaultdict(list)
    for principal_id, role in rows.order_by("role").values_list("principal_id", "role"):
        found[principal_id].append(role)
    return dict(found)


def actor_for(user: User, *, ip: str = "", request_id: str = "") -> Actor:
    """The person as an actor, with the bindings in force now."""
    return Actor(
        kind="user",
        id=str(user.pk),
        label=user.email,
        bindings=bindings_of(RoleBinding.PrincipalType.USER, user.pk),
        ip=ip,
        request_id=request_id,
    )


def organizations_visible_to(actor: Actor) -> QuerySet[Organization]:
    """The organizations that the actor holds an organization role in. One query."""
    ids = {
        binding.organization_id
        for binding in actor.bindings
        if Permission.ORGANIZATION_READ
        in permissions_of(actor, organization_id=binding.organization_id)
    }
    return Organization.objects.filter(pk__in=ids)


def get_organization(actor: Actor, organization_id: UUID) -> Organization:
    """The organization.

    Raises:
        NotFound: no such organization, or none that the actor may see.
    """
    organization = organizations_visible_to(actor).filter(pk=organization_id).first()
    if organization is None:
        raise no_such(f"organization {organization_id}")
    return organization


@dataclass(frozen=True, slots=True)
class Member:
    """A person in an organization, with the organization roles in force."""

    user: User
    roles: list[str]


def members_of(organization: Organization) -> list[Member]:
    """The organization's people by e-mail address. Two queries."""
    users = list(User.objects.filter(memberships__organization=organization).order_by("email"))
    roles = roles_of(
        RoleBinding.PrincipalType.USER,
        [user.pk for user in users],
        resource_id=organization.pk,
    )
    return [Member(user=user, roles=roles.get(user.pk, [])) for user in users]

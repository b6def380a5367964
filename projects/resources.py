"""How role bindings find projects, and what of an organization is counted here."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.utils import timezone

from orgs import registry
from orgs.models import Invitation, Membership, ResourceType
from orgs.plans import Entitlement
from orgs.registry import Found
from projects.contents import register_usage
from projects.models import Project
from projects.quotas import count_projects


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_resource(ResourceType.PROJECT, _find)
    registry.register_lister(ResourceType.PROJECT, _list)
    registry.register_namer(ResourceType.PROJECT, _names)
    register_usage(Entitlement.MAX_PROJECTS, count_projects)
    register_usage(Entitlement.MAX_MEMBERS, _members)


def _find(pk: UUID) -> Found | None:
    row = Project.objects.filter(pk=pk).first()
    return Found(row.pk, row.organization_id, row.pk, row.name) if row else None


def _list(organization_id: UUID) -> list[Found]:
    """Projects at work; archived ones are left out."""
    rows = Project.objects.filter(organization_id=organization_id, archived_at=None)
    return [Found(row.pk, row.organization_id, row.pk, row.name) for row in rows.order_by("name")]


def _names(pks: Collection[UUID]) -> dict[UUID, str]:
    return dict(Project.objects.filter(pk__in=pks).values_list("pk", "name"))


def _members(organization_id: UUID) -> int:
    """The organization's people, and those asked in whose invitation is open."""
    invited = Invitation.objects.filter(
        organization_id=organization_id, processed_at=None, expires_at__gt=timezone.now()
    )
    return Membership.objects.filter(organization_id=organization_id).count() + invited.count()

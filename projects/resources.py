"""How role bindings find projects."""

from __future__ import annotations

from uuid import UUID

from orgs import registry
from orgs.models import ResourceType
from orgs.registry import Found
from projects.models import Project


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_resource(ResourceType.PROJECT, _find)


def _find(pk: UUID) -> Found | None:
    row = Project.objects.filter(pk=pk).first()
    return Found(row.pk, row.organization_id, row.pk, row.name) if row else None

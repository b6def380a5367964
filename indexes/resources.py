"""How role bindings find indexes."""

from __future__ import annotations

from uuid import UUID

from indexes.models import Index
from orgs import registry
from orgs.models import ResourceType
from orgs.registry import Found


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_resource(ResourceType.INDEX, _find)


def _find(pk: UUID) -> Found | None:
    row = Index.objects.select_related("project").filter(pk=pk, deleted_at=None).first()
    return Found(row.pk, row.project.organization_id, row.project_id, row.name) if row else None

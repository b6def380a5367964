"""How role bindings find indexes, and how projects count them."""

from __future__ import annotations

from uuid import UUID

from indexes.models import Index
from indexes.services import forget_indexes
from orgs import registry
from orgs.models import ResourceType
from orgs.plans import Entitlement
from orgs.registry import Found
from projects.contents import register_contents, register_usage


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_resource(ResourceType.INDEX, _find)
    registry.register_lister(ResourceType.INDEX, _list)
    register_contents("indexes", _count, forget=forget_indexes)
    register_usage(Entitlement.MAX_INDEXES_PER_PROJECT, _count)


def _find(pk: UUID) -> Found | None:
    row = Index.objects.select_related("project").filter(pk=pk, deleted_at=None).first()
    return Found(row.pk, row.project.organization_id, row.project_id, row.name) if row else None


def _list(organization_id: UUID) -> list[Found]:
    rows = Index.objects.filter(project__organization_id=organization_id, deleted_at=None)
    fields = rows.order_by("name").values_list("pk", "project_id", "name")
    return [Found(pk, organization_id, project_id, name) for pk, project_id, name in fields]


def _count(project_id: UUID) -> int:
    """The project's indexes, those that are being deleted too."""
    return Index.objects.filter(project_id=project_id, deleted_at=None).count()

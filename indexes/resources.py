"""How role bindings find indexes, and how projects count them."""

from __future__ import annotations

from collections.abc import Collection
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
    registry.register_namer(ResourceType.INDEX, _names)
    register_contents("indexes", _count, forget=forget_indexes)
    register_usage(Entitlement.MAX_INDEXES_PER_PROJECT, _count)


def _find(pk: UUID) -> Found | None:
    row = Index.objects.select_related("project").filter(pk=pk, deleted_at=None).first()
    return Found(row.pk, row.project.organization_id, row.project_id, row.name) if row else None


def _names(pks: Collection[UUID]) -> dict[UUID, str]:
    return dict(Index.objects.filter(pk__in=pks, deleted_at=None).values_list("pk", "name"))


def _count(project_id: UUID) -> int:
    """The project's indexes, those that are being deleted too."""
    return Index.objects.filter(project_id=project_id, deleted_at=None).count()

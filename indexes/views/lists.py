"""The page of a project's indexes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from indexes.models import Index
from indexes.navigation import tone_of
from indexes.selectors import host_of, list_indexes
from orgs.decorators import PageRequest, page
from orgs.permissions import Permission
from projects.navigation import project_context
from projects.selectors import get_project, permissions_within


@dataclass(frozen=True, slots=True)
class Row:
    """An index as the table shows it."""

    index: Index
    host: str
    tone: str


@require_safe
@page
def project(request: PageRequest, project_id: UUID) -> HttpResponse:
    """The project's indexes: state with cause and remedy, address, shape."""
    found = get_project(request.actor, project_id)
    rows = [
        Row(index=index, host=host_of(index), tone=tone_of(index))
        for index in list_indexes(request.actor, found.pk)
    ]
    moving = (Index.State.INITIALIZING, Index.State.TERMINATING)
    context = project_context(found) | {
        "rows": rows,
        "can_create": Permission.INDEX_CREATE in permissions_within(request.actor, found),
        "is_moving": any(row.index.state in moving for row in rows),
    }
    return render(request, "indexes/list.html", context)

"""The page of one index."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from indexes.navigation import index_context
from indexes.selectors import get_index_by_id
from orgs.decorators import PageRequest, page


@require_safe
@page
def overview(request: PageRequest, project_id: UUID, index_id: UUID) -> HttpResponse:
    """How the index stands, and where it is reached."""
    index = get_index_by_id(request.actor, project_id, index_id)
    return render(request, "indexes/overview.html", index_context(index))

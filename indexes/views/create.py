"""The page that makes an index."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from indexes.forms.lifecycle import IndexForm
from indexes.models import Index
from indexes.rules import IndexSpec
from indexes.services import create_index
from orgs.decorators import PageRequest, page
from orgs.errors import AlreadyExists, Refused
from orgs.forms.refusals import add_refusal
from orgs.permissions import Permission
from orgs.plans import Entitlement
from projects.navigation import project_context
from projects.quotas import project_quota
from projects.selectors import get_project


@require_http_methods(["GET", "HEAD", "POST"])
@page
def create(request: PageRequest, project_id: UUID) -> HttpResponse:
    """The form for a new index; leads to its page, where its progress shows."""
    found = get_project(request.actor, project_id, Permission.INDEX_CREATE)
    form = IndexForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        spec = form.spec()
        try:
            index = create_index(actor=request.actor, project_id=found.pk, spec=spec)
        except AlreadyExists as error:
            same = _same(found.pk, spec)
            if same is not None:  # the form was sent twice
                messages.info(request, f"The index {same.name} exists already: here it is.")
                return redirect("indexes:overview", found.pk, same.pk)
            add_refusal(form, error, "name")
        except Refused as error:
            add_refusal(form, error)
        else:
            return redirect("indexes:overview", found.pk, index.pk)
    context = project_context(found) | {
        "form": form,
        "quota": project_quota(found, Entitlement.MAX_INDEXES_PER_PROJECT),
    }
    return render(request, "indexes/create.html", context, status=422 if form.errors else 200)


def _same(project_id: UUID, spec: IndexSpec) -> Index | None:
    """The project's index that looks just like this wish."""
    return Index.objects.filter(
        project=project_id,
        deleted_at=None,
        name=spec.name,
        dimension=spec.dimension,
        metric=spec.metric,
        vector_type=spec.vector_type,
    ).first()

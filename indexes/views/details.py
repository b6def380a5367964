"""The pages of one index: state, configuration, encryption, deletion."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from indexes.encryption import encryption_of
from indexes.forms.lifecycle import ConfigurationForm, DeleteIndexForm, tag_lines
from indexes.models import Index
from indexes.navigation import index_context
from indexes.progress import progress_of
from indexes.selectors import get_index_by_id
from indexes.services import configure_index, delete_index
from orgs.decorators import PageRequest, page
from orgs.errors import FailedPrecondition, Forbidden, InvalidArgument
from orgs.forms.refusals import add_refusal
from orgs.permissions import Permission, permissions_of

FORM_METHODS = ["GET", "HEAD", "POST"]


@require_safe
@page
def overview(request: PageRequest, project_id: UUID, index_id: UUID) -> HttpResponse:
    """How the index stands, how far the work on it is, and how it is used. Also once it is gone."""
    index = get_index_by_id(request.actor, project_id, index_id, gone=True)
    context = {"progress": progress_of(index), "keys": index.data_keys.order_by("-version")}
    return _render(request, "overview", index, context)


@require_http_methods(FORM_METHODS)
@page
def configuration(request: PageRequest, project_id: UUID, index_id: UUID) -> HttpResponse:
    """Tags and deletion protection, and what can't be changed."""
    index = get_index_by_id(request.actor, project_id, index_id)
    lines = tag_lines(index.tags)
    form = ConfigurationForm(
        request.POST if request.method == "POST" else None,
        initial={
            "tags": lines,
            "tags_shown": lines,
            "deletion_protection": index.deletion_protection,
        },
    )
    if request.method == "POST":
        # Before the form, so that whoever may not change it gets no hints about values.
        get_index_by_id(request.actor, project_id, index_id, Permission.INDEX_CONFIGURE)
    if form.is_valid():
        try:
            configure_index(
                actor=request.actor,
                project_id=project_id,
                name=index.name,
                tags=form.changed_tags(),
                deletion_protection=form.cleaned_data["deletion_protection"],
            )
        except InvalidArgument as error:
            add_refusal(form, error, "tags")
        except FailedPrecondition as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The index {index.name} is changed.")
            return redirect("indexes:configuration", project_id, index_id)
    return _render(request, "configuration", index, {"form": form})


@require_safe
@page
def encryption(request: PageRequest, project_id: UUID, index_id: UUID) -> HttpResponse:
    """What the index is encrypted with, at rest and on the wire."""
    index = get_index_by_id(request.actor, project_id, index_id)
    return _render(request, "encryption", index, {"encryption": encryption_of(index)})


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, project_id: UUID, index_id: UUID) -> HttpResponse:
    """Asks for the index's name, then deletes it."""
    index = get_index_by_id(request.actor, project_id, index_id, Permission.INDEX_DELETE)
    form = DeleteIndexForm(request.POST if request.method == "POST" else None, index=index)
    if form.is_valid():
        try:
            delete_index(actor=request.actor, project_id=project_id, name=index.name)
        except Forbidden as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The index {index.name} is being deleted.")
            return redirect("indexes:overview", project_id, index_id)
    return _render(request, "delete", index, {"form": form})


def _render(
    request: PageRequest, name: str, index: Index, context: Mapping[str, object]
) -> HttpResponse:
    held = permissions_of(
        request.actor,
        organization_id=index.project.organization_id,
        project_id=index.project_id,
        index_id=index.pk,
    )
    shared = index_context(index) | {
        "can_configure": Permission.INDEX_CONFIGURE in held,
        "can_delete": Permission.INDEX_DELETE in held,
    }
    form = context.get("form")
    refused = isinstance(form, ConfigurationForm | DeleteIndexForm) and bool(form.errors)
    status = 422 if refused else 200
    return render(request, f"indexes/{name}.html", {**shared, **context}, status=status)

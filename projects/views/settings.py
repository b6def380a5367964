"""Pages: a project's settings, its rest and its end."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from orgs.decorators import PageRequest, page
from orgs.errors import InvalidArgument
from orgs.forms.people import ConfirmForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.permissions import Permission
from projects.forms.settings import ProjectSettingsForm
from projects.navigation import project_context
from projects.selectors import get_project, permissions_within
from projects.services import (
    Changes,
    archive_project,
    delete_project,
    restore_project,
    update_project,
)

FORM_METHODS = ["GET", "HEAD", "POST"]


@require_http_methods(FORM_METHODS)
@page
def settings(request: PageRequest, project_id: UUID) -> HttpResponse:
    """Name and limits, and the danger zone."""
    found = get_project(request.actor, project_id, Permission.PROJECT_UPDATE)
    form = ProjectSettingsForm(request.POST if request.method == "POST" else None, project=found)
    if form.is_valid():
        data = form.cleaned_data
        try:
            update_project(
                actor=request.actor,
                project_id=found.pk,
                changes=Changes(
                    name=data["name"],
                    max_indexes=data["max_indexes"],
                    max_api_keys=data["max_api_keys"],
                ),
                check=form.check_version,
            )
        except SHOWN as error:
            add_refusal(form, error, "name" if isinstance(error, InvalidArgument) else None)
        else:
            messages.success(request, "The settings are changed.")
            return redirect("projects:settings", found.pk)
    held = permissions_within(request.actor, found)
    context = project_context(found) | {
        "form": form,
        "can_delete": Permission.PROJECT_DELETE in held,
    }
    return render(request, "projects/settings.html", context, status=422 if form.errors else 200)


@require_http_methods(FORM_METHODS)
@page
def archive(request: PageRequest, project_id: UUID) -> HttpResponse:
    """Asks, then lets the project rest."""
    found = get_project(request.actor, project_id, Permission.PROJECT_DELETE)
    if request.method == "POST":
        archive_project(actor=request.actor, project_id=found.pk)
        messages.success(request, f"The project {found.name} is archived.")
        return redirect("projects:settings", found.pk)
    return render(request, "projects/archive.html", project_context(found))


@require_POST
@page
def restore(request: PageRequest, project_id: UUID) -> HttpResponse:
    """Ends the rest of a project."""
    restore_project(actor=request.actor, project_id=project_id)
    messages.success(request, "The project is restored. Its index servers start within a minute.")
    return redirect("projects:settings", project_id)


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, project_id: UUID) -> HttpResponse:
    """Asks for the project's name, then deletes it."""
    found = get_project(request.actor, project_id, Permission.PROJECT_DELETE)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=found.name)
    if form.is_valid():
        try:
            delete_project(actor=request.actor, project_id=found.pk)
        except SHOWN as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The project {found.name} is deleted.")
            return redirect("console:organization", found.organization_id)
    context = project_context(found) | {"form": form}
    return render(request, "projects/delete.html", context, status=422 if form.errors else 200)

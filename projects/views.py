"""Pages: an organization with its projects and people, and a new project."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from orgs.decorators import PageRequest, page
from orgs.errors import InvalidArgument, PaymentRequired, QuotaExceeded
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.organizations import get_organization, members_of
from projects.forms import ProjectForm
from projects.navigation import project_context
from projects.quotas import project_quotas
from projects.selectors import get_project, projects_visible_to
from projects.services import create_project


@require_safe
@page
def organization(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The organization with its projects, as far as the person sees them, and its people."""
    found = get_organization(request.actor, organization_id)
    held = permissions_of(request.actor, organization_id=found.pk)
    context = {
        "organization": found,
        "projects": projects_visible_to(request.actor).filter(organization=found),
        "members": members_of(found),
        "can_create": Permission.PROJECT_CREATE in held,
    }
    return render(request, "projects/organization.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def create(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The form for a new project; leads to the project."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.PROJECT_CREATE, organization_id=found.pk)
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            project = create_project(
                actor=request.actor, organization_id=found.pk, name=form.cleaned_data["name"]
            )
        except (InvalidArgument, PaymentRequired, QuotaExceeded) as error:
            form.add_error("name", error.message)
        else:
            messages.success(request, f"The project {project.name} is ready.")
            return redirect("projects:overview", project.pk)
    context = {"organization": found, "form": form}
    return render(request, "projects/create.html", context, status=422 if form.errors else 200)


@require_safe
@page
def overview(request: PageRequest, project_id: UUID) -> HttpResponse:
    """The project at a glance: what it holds of what it may hold."""
    found = get_project(request.actor, project_id)
    context = project_context(found) | {"quotas": project_quotas(found)}
    return render(request, "projects/overview.html", context)

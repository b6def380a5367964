"""Pages: a new organization, and a new project in one."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from orgs.decorators import PageRequest, page
from orgs.errors import InvalidArgument, PaymentRequired, QuotaExceeded
from orgs.forms.refusals import add_refusal
from orgs.permissions import Permission, authorize
from orgs.selectors.organizations import get_organization
from orgs.services.organizations import check_founder, create_organization
from projects.forms.settings import OrganizationForm, ProjectForm
from projects.services import create_project

FORM_METHODS = ["GET", "HEAD", "POST"]


@require_http_methods(FORM_METHODS)
@page
def create_own_organization(request: PageRequest) -> HttpResponse:
    """The form for a new organization; leads on to its first project."""
    check_founder(request.actor, request.user)
    form = OrganizationForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            made = create_organization(
                actor=request.actor, name=form.cleaned_data["name"], owner=request.user
            )
        except InvalidArgument as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, f"{made.name} is yours. Give it a first project.")
            return redirect("projects:create", made.pk)
    status = 422 if form.errors else 200
    return render(request, "projects/create_organization.html", {"form": form}, status=status)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The form for a new project; leads on to its first query."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.PROJECT_CREATE, organization_id=found.pk)
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            project = create_project(
                actor=request.actor, organization_id=found.pk, name=form.cleaned_data["name"]
            )
        except (InvalidArgument, PaymentRequired, QuotaExceeded) as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, f"The project {project.name} is ready.")
            return redirect("console:start", project.pk)
    context = {"organization": found, "form": form}
    return render(request, "projects/create.html", context, status=422 if form.errors else 200)

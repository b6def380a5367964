"""The page of who reaches a project, and why."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from orgs.decorators import PageRequest, page
from orgs.forms.people import AddToTeamForm
from orgs.permissions import Permission, authorize
from orgs.selectors.access import holders_on
from orgs.selectors.organizations import list_members
from projects.navigation import project_context
from projects.selectors import get_project, permissions_within

PER_PAGE = 50


class MemberForm(AddToTeamForm):
    """Somebody to give a role to."""

    email = forms.EmailField(label="E-mail address of a member of the organization")


@require_http_methods(["GET", "HEAD", "POST"])
@page
def members(request: PageRequest, project_id: UUID) -> HttpResponse:
    """Everybody with a role on the project, an index of it, or the whole organization; by POST,
    on to the page that gives somebody a role.
    """
    found = get_project(request.actor, project_id, Permission.PROJECT_READ)
    organization = found.organization
    form = MemberForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        authorize(
            request.actor,
            Permission.PROJECT_MEMBER_UPDATE,
            organization_id=organization.pk,
            project_id=found.pk,
        )
    if form.is_valid():
        email = form.cleaned_data["email"]
        person = list_members(request.actor, organization.pk, email).first()
        if person is not None:
            page_of = reverse("orgs:grant", args=[organization.pk, "user", person.pk])
            return redirect(f"{page_of}?on={found.pk}")
        form.add_error("email", f"{email} is no member of {organization.name}. Invite them first.")
    rows = holders_on(request.actor, organization, found.pk)
    context = project_context(found) | {
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "form": form,
        "can_manage": Permission.PROJECT_MEMBER_UPDATE in permissions_within(request.actor, found),
    }
    return render(request, "projects/members.html", context, status=422 if form.errors else 200)

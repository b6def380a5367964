"""The start page: the person's organizations."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from orgs.decorators import PageRequest, page
from orgs.selectors.organizations import organizations_visible_to


@require_safe
@page
def home(request: PageRequest) -> HttpResponse:
    """The organizations of the person; straight into the only one."""
    organizations = list(organizations_visible_to(request.actor))
    if len(organizations) == 1:
        return redirect("projects:organization", organizations[0].pk)
    return render(request, "orgs/home.html", {"organizations": organizations})

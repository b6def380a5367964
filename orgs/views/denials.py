"""Pages: what was denied in an organization, and why a denial came about."""

from __future__ import annotations

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from orgs.decorators import PageRequest, page
from orgs.models import Organization
from orgs.permissions import PERMISSION_HELP
from orgs.selectors.decisions import decisions_of, explained, get_decision
from orgs.selectors.organizations import get_organization

PER_PAGE = 50


@require_safe
@page
def denials(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """All denials within 30 days, newest first."""
    organization = get_organization(request.actor, organization_id)
    found = decisions_of(request.actor, organization.pk).order_by("-created_at", "-id")
    shown = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {"organization": organization, "page": shown}
    return render(request, "orgs/denials/list.html", context)


@require_safe
@page
def denial(request: PageRequest, decision_id: UUID) -> HttpResponse:
    """Why it was denied, and what would allow it."""
    row = get_decision(request.actor, decision_id)
    found, people = explained(request.actor, row)
    known = {each.value: text for each, text in PERMISSION_HELP.items()}
    context = {
        "row": row,
        "organization": Organization.objects.filter(pk=row.organization_id).first(),
        "meaning": known.get(row.permission, ""),
        "found": found,
        "people": people,
        "is_own": row.actor_id == request.actor.id,
    }
    return render(request, "orgs/denials/denial.html", context)

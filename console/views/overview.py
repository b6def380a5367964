"""Pages at a glance: an organization, a project, and the way to a project's first query."""

from __future__ import annotations

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.attention import attention
from console.first_run import first_run
from console.overview import numbers_of_organization, numbers_of_project, projects_shown
from indexes.navigation import index_context
from keys.selectors.usage import working_keys
from orgs.decorators import PageRequest, page
from orgs.models import Membership
from orgs.permissions import Permission, permissions_of
from orgs.selectors.audit import EventFilter, events_of
from orgs.selectors.organizations import get_organization
from projects.navigation import project_context
from projects.quotas import project_quotas
from projects.selectors import get_project, permissions_within, projects_with

PER_PAGE = 20
EVENTS = 6


@require_safe
@page
def organization(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The organization: what needs a look, indexes, traffic, projects, people, what happened."""
    actor = request.actor
    found = get_organization(actor, organization_id)
    held = permissions_of(actor, organization_id=found.pk)
    with_keys = projects_with(actor, found.pk, Permission.API_KEY_READ)
    context = {
        "organization": found,
        "numbers": numbers_of_organization(actor, found.pk),
        "findings": attention(actor, found),
        "page": Paginator(projects_shown(actor, found.pk), PER_PAGE).get_page(
            request.GET.get("page")
        ),
        "member_count": Membership.objects.filter(organization=found).count(),
        "key_count": working_keys(with_keys).count(),
        "can_create": Permission.PROJECT_CREATE in held,
        "events": (
            events_of(actor, found.pk, EventFilter()).order_by("-time", "-id")[:EVENTS]
            if Permission.AUDIT_READ in held
            else None
        ),
    }
    return render(request, "console/organization.html", context)


@require_safe
@page
def project(request: PageRequest, project_id: UUID) -> HttpResponse:
    """The project: its indexes, traffic, keys, and what it may hold."""
    found = get_project(request.actor, project_id)
    held = permissions_within(request.actor, found)
    run = first_run(request.actor, found)
    context = project_context(found) | {
        "numbers": numbers_of_project(request.actor, found),
        "quotas": project_quotas(found),
        "run": run,
        "can_begin": bool({Permission.API_KEY_CREATE, Permission.INDEX_CREATE} & held),
    }
    return render(request, "console/project.html", context)


@require_safe
@page
def start(request: PageRequest, project_id: UUID) -> HttpResponse:
    """From nothing to the first query; the page looks by itself whether it has arrived."""
    found = get_project(request.actor, project_id)
    held = permissions_within(request.actor, found)
    run = first_run(request.actor, found)
    context = project_context(found) | {
        "run": run,
        "steps": run.steps,
        "can_create_key": Permission.API_KEY_CREATE in held,
        "can_create_index": Permission.INDEX_CREATE in held,
    }
    if run.index is not None:
        shared = index_context(run.index)
        # Not `index` itself: the page is one of the project's.
        context |= {"snippet_index": run.index, "host": shared["host"]}
    return render(request, "console/start.html", context)

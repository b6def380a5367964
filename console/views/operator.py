"""The operator area: how the installation stands, and what its organizations may use."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe
from kombu.exceptions import OperationalError

from console import operators
from console.forms import TenantForm
from indexes.tasks import reconcile_deployments
from orgs.decorators import PageRequest, page
from orgs.errors import Aborted, InvalidArgument
from orgs.permissions import require_operator
from orgs.services.organizations import set_plan

PER_PAGE = 50
AREA = {"operator_area": True}


@require_safe
@page
def overview(request: PageRequest) -> HttpResponse:
    """How every part of the installation stands."""
    checks = operators.health(request.actor)
    context = AREA | {"checks": checks, "is_well": all(each.level == "good" for each in checks)}
    return render(request, "console/operator/overview.html", context)


@require_safe
@page
def organizations(request: PageRequest) -> HttpResponse:
    """Who is on the installation: names, plans and counts."""
    text = request.GET.get("q", "")[:100]
    found = Paginator(operators.tenants(request.actor, text), PER_PAGE)
    context = AREA | {"text": text, "page": found.get_page(request.GET.get("page"))}
    return render(request, "console/operator/organizations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def organization(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Plan, payment status and exceptions of one organization."""
    tenant = operators.tenant(request.actor, organization_id)
    form = TenantForm(request.POST if request.method == "POST" else None, organization=tenant)
    if form.is_valid():
        try:
            set_plan(
                actor=request.actor,
                organization_id=tenant.pk,
                check=form.check_version,
                **form.changes(),
            )
        except (Aborted, InvalidArgument) as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"{tenant.name} is changed.")
            return redirect("console:operator_organization", tenant.pk)
    context = AREA | {"tenant": tenant, "form": form}
    status = 422 if form.errors else 200
    return render(request, "console/operator/organization.html", context, status=status)


@require_safe
@page
def work(request: PageRequest) -> HttpResponse:
    """What waits or failed: work on indexes, mail, audit streams."""
    found = Paginator(operators.unfinished_work(request.actor), PER_PAGE)
    context = AREA | {
        "page": found.get_page(request.GET.get("page")),
        "mail": operators.unfinished_mail(request.actor)[:PER_PAGE],
        "streams": operators.paused_streams(request.actor)[:PER_PAGE],
    }
    return render(request, "console/operator/work.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def drift(request: PageRequest) -> HttpResponse:
    """What the last comparison of rows and servers found; by POST, asks for the next one now."""
    require_operator(request.actor)
    if request.method == "POST":
        try:
            reconcile_deployments.delay()
        except OperationalError:
            messages.error(request, "The queue does not answer. The next round comes by itself.")
        else:
            messages.success(request, "A round is asked for. Its result shows here in a moment.")
        return redirect("console:operator_drift")
    context = AREA | {"round": operators.drift(request.actor)}
    return render(request, "console/operator/drift.html", context)

"""Pages: what an organization demands, what its plan gives it, its name and its end."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from orgs.decorators import PageRequest, page
from orgs.entitlements import entitlements
from orgs.errors import FailedPrecondition
from orgs.forms.people import ConfirmForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.forms.security import BaselineForm, OrganizationSettingsForm
from orgs.permissions import Permission, authorize, permissions_of
from orgs.plans import LIMITS, TITLES
from orgs.selectors.baseline import get_baseline
from orgs.selectors.organizations import get_organization
from orgs.services.baseline import Outcome, update_baseline
from orgs.services.organizations import delete_organization, rename_organization

FORM_METHODS = ["GET", "HEAD", "POST"]
SHOWN_LOCKED_OUT = 50


@require_http_methods(FORM_METHODS)
@page
def security(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The security baseline; `preview` shows whom a change would lock out."""
    found = get_organization(request.actor, organization_id)
    baseline = get_baseline(request.actor, found.pk)
    held = permissions_of(request.actor, organization_id=found.pk)
    form = BaselineForm(request.POST if request.method == "POST" else None, baseline=baseline)
    if request.method == "POST":
        authorize(request.actor, Permission.SECURITY_MANAGE, organization_id=found.pk)
    outcome: Outcome | None = None
    if form.is_valid():
        looking = "preview" in request.POST
        try:
            outcome = update_baseline(
                actor=request.actor,
                organization_id=found.pk,
                changes=form.changes(),
                force=form.cleaned_data["force"],
                dry_run=looking,
                check=form.check_version,
            )
        except SHOWN as error:
            add_refusal(form, error, "force" if isinstance(error, FailedPrecondition) else None)
        else:
            if not looking:
                messages.success(request, "The demands are in force from the next request on.")
                return redirect("orgs:security", found.pk)
    context = {
        "organization": found,
        "baseline": baseline,
        "form": form,
        "outcome": outcome,
        "locked_out": outcome.locked_out[:SHOWN_LOCKED_OUT] if outcome else [],
        "can_manage": Permission.SECURITY_MANAGE in held,
    }
    status = 422 if form.errors else 200
    return render(request, "orgs/settings/security.html", context, status=status)


@require_safe
@page
def plan(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """What the plan and the operator let the organization do, and why."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.BILLING_READ, organization_id=found.pk)
    rows = entitlements(found).items()
    context = {
        "organization": found,
        "switches": [(TITLES[name], each) for name, each in rows if name not in LIMITS],
        "limits": [(TITLES[name], each) for name, each in rows if name in LIMITS],
    }
    return render(request, "orgs/settings/plan.html", context)


@require_http_methods(FORM_METHODS)
@page
def settings(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The organization's name and facts, and the danger zone."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.ORGANIZATION_UPDATE, organization_id=found.pk)
    form = OrganizationSettingsForm(
        request.POST if request.method == "POST" else None, organization=found
    )
    if form.is_valid():
        try:
            rename_organization(
                actor=request.actor,
                organization_id=found.pk,
                name=form.cleaned_data["name"],
                check=form.check_version,
            )
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, "The organization is renamed.")
            return redirect("orgs:settings", found.pk)
    held = permissions_of(request.actor, organization_id=found.pk)
    context = {
        "organization": found,
        "form": form,
        "can_delete": Permission.ORGANIZATION_DELETE in held,
    }
    status = 422 if form.errors else 200
    return render(request, "orgs/settings/general.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Asks for the organization's name, then deletes it."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.ORGANIZATION_DELETE, organization_id=found.pk)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=found.name)
    if form.is_valid():
        try:
            delete_organization(actor=request.actor, organization_id=found.pk)
        except SHOWN as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The organization {found.name} is deleted.")
            return redirect("orgs:home")
    context = {"organization": found, "form": form}
    status = 422 if form.errors else 200
    return render(request, "orgs/settings/delete.html", context, status=status)

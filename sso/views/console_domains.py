"""Pages of an organization's mail domains: claim one, prove it, say who signs its people in."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from orgs.decorators import PageRequest, page
from orgs.errors import Refused, no_such
from sso.forms import AssignForm, DomainForm
from sso.models import Domain
from sso.selectors.connections import connections_of
from sso.selectors.domains import domains_of, get_domain, label_of
from sso.services.domains import add_domain, assign_domain, remove_domain, verify_domain
from sso.views.console import FORM_METHODS, organization_for, reason_of, status_of


@require_http_methods(FORM_METHODS)
@page
def domains(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The organization's domains, and the form for one more; leads to its record."""
    found = organization_for(request, organization_id)
    connections = list(connections_of(request.actor, found.pk))
    form = DomainForm(
        request.POST if request.method == "POST" else None,
        connections=connections,
        initial={
            "connection": request.GET.get("connection")
            or (str(connections[0].pk) if len(connections) == 1 else "")
        },
    )
    if form.is_valid():
        try:
            made = add_domain(
                actor=request.actor,
                organization_id=found.pk,
                name=form.cleaned_data["name"],
                connection_id=_id(form.cleaned_data["connection"]),
            )
        except Refused as error:
            form.add_error("name", reason_of(error))
        else:
            return redirect("sso:domain", found.pk, made.pk)
    context = {
        "organization": found,
        "domains": list(domains_of(request.actor, found.pk)),
        "form": form,
    }
    return render(request, "sso/domains/list.html", context, status=status_of(context))


@require_http_methods(FORM_METHODS)
@page
def domain(request: PageRequest, organization_id: UUID, domain_id: UUID) -> HttpResponse:
    """The record to set, what was found last, and which connection the people sign in by."""
    found = _domain_for(request, organization_id, domain_id)
    connections = list(connections_of(request.actor, organization_id))
    form = AssignForm(
        request.POST if request.POST.get("act") == "assign" else None,
        connections=connections,
        initial={"connection": str(found.connection_id or "")},
    )
    refused = ""
    try:
        if request.POST.get("act") == "check":
            verify_domain(actor=request.actor, domain_id=found.pk)
            messages.success(request, f"{found.name} is yours: the record was found.")
            return redirect("sso:domain", organization_id, found.pk)
        if form.is_valid():
            assign_domain(
                actor=request.actor,
                domain_id=found.pk,
                connection_id=_id(form.cleaned_data["connection"]),
            )
            messages.success(request, "Kept.")
            return redirect("sso:domain", organization_id, found.pk)
    except Refused as error:
        refused = reason_of(error)
        found.refresh_from_db()
    context = {
        "organization": found.organization,
        "domain": found,
        "form": form,
        "refused": refused,
        "is_in_use": _is_in_use(found),
    }
    return render(request, "sso/domains/detail.html", context, status=status_of(context))


@require_http_methods(FORM_METHODS)
@page
def domain_remove(request: PageRequest, organization_id: UUID, domain_id: UUID) -> HttpResponse:
    """Say what follows, then give the domain up."""
    found = _domain_for(request, organization_id, domain_id)
    refused = ""
    if request.method == "POST":
        try:
            remove_domain(actor=request.actor, domain_id=found.pk)
        except Refused as error:
            refused = reason_of(error)
        else:
            messages.success(request, f"{found.name} is removed.")
            return redirect("sso:domains", organization_id)
    context = {
        "organization": found.organization,
        "domain": found,
        "is_in_use": _is_in_use(found),
        "refused": refused,
    }
    return render(request, "sso/domains/remove.html", context, status=status_of(context))


def _domain_for(request: PageRequest, organization_id: UUID, domain_id: UUID) -> Domain:
    found = get_domain(request.actor, domain_id)
    if found.organization_id != organization_id:
        raise no_such(label_of(domain_id))
    return found


def _is_in_use(domain: Domain) -> bool:
    """Whether people sign in by it."""
    return bool(domain.verified_at and domain.connection and domain.connection.is_usable)


def _id(text: str) -> UUID | None:
    return UUID(text) if text else None

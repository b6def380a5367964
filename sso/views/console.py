"""Pages for owners: single sign-on of an organization at a glance, new connections, old ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from orgs.decorators import PageRequest, page
from orgs.entitlements import entitlements
from orgs.errors import ReauthenticationRequired, Refused, SignInRequired, no_such
from orgs.models import Organization
from orgs.permissions import Permission, authorize
from orgs.plans import Entitlement
from orgs.selectors.organizations import get_organization
from sso.forms import NewConnectionForm, TypedNameForm
from sso.models import Connection
from sso.selectors import break_glass as break_glass_selectors
from sso.selectors.connections import (
    authorize_reading,
    connections_of,
    expiring,
    get_connection,
    label_of,
)
from sso.selectors.domains import domains_of
from sso.services.connections import create_connection, delete_connection, set_state

FORM_METHODS = ["GET", "HEAD", "POST"]
SETTABLE = (Connection.State.TESTING, Connection.State.ACTIVE)
SAID = {
    Connection.State.TESTING: "{0} can be tested now. Nobody is signed in by it yet.",
    Connection.State.ACTIVE: "{0} is on: people of its domains can sign in by it.",
}


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of the connection."""

    label: str
    url: str
    is_current: bool


TABS = (
    ("Set-up", "sso:connection", ""),
    ("Settings", "sso:settings", ""),
    ("People and roles", "sso:roles", ""),
    ("Certificates", "sso:certificates", Connection.Protocol.SAML.value),
    ("Linked people", "sso:people", ""),
    ("Sign-in log", "sso:log", ""),
    ("SCIM", "sso:scim", ""),
)
"""Label, URL name, and the only protocol that has the page (empty: all have)."""


def reason_of(error: Refused) -> str:
    """What to say beside the form that was refused.

    Raises:
        Refused: the error itself, where a proof of who is there is missing: the person is led to
            give it, and back.
    """
    if isinstance(error, (ReauthenticationRequired, SignInRequired)):
        raise error
    return error.message


def organization_for(
    request: PageRequest, organization_id: UUID, *, to_change: bool = False
) -> Organization:
    """The organization, for who may configure its single sign-on.

    Args:
        to_change: the page has a form to fill in: the fresh proof of who is there comes before.

    Raises:
        NotFound, PermissionDenied: the person may not.
        ReauthenticationRequired: the proof is missing.
    """
    found = get_organization(request.actor, organization_id)
    _authorize(request, found.pk, f"organization {found.pk}", to_change=to_change)
    return found


def _authorize(request: PageRequest, organization_id: UUID, what: str, *, to_change: bool) -> None:
    if to_change:
        authorize(request.actor, Permission.SSO_MANAGE, organization_id=organization_id, what=what)
    else:
        authorize_reading(request.actor, organization_id, what)


def connection_for(
    request: PageRequest, organization_id: UUID, connection_id: UUID, *, to_change: bool = False
) -> Connection:
    """The connection, of this organization.

    Args:
        to_change: as with `organization_for`.

    Raises:
        NotFound: there is none of that id in the organization, or the person may not know of it.
        PermissionDenied: the person may not configure it.
        ReauthenticationRequired: the proof is missing.
    """
    found = get_connection(request.actor, connection_id)
    if found.organization_id != organization_id:
        raise no_such(label_of(connection_id))
    _authorize(request, organization_id, label_of(connection_id), to_change=to_change)
    return found


def show(
    request: PageRequest,
    template: str,
    connection: Connection,
    *,
    current: str,
    context: Mapping[str, object],
) -> HttpResponse:
    """A page of a connection; 422 where a form in it was refused."""
    tabs = [
        Tab(label, page_of(connection, name), name == current)
        for label, name, protocol in TABS
        if protocol in {"", connection.protocol}
    ]
    shared = {"connection": connection, "organization": connection.organization, "tabs": tabs}
    return render(request, template, shared | dict(context), status=status_of(context))


def status_of(context: Mapping[str, object]) -> int:
    """422 where the context has a form that was sent and refused, or says `refused`."""
    refused = bool(context.get("refused")) or any(
        getattr(each, "is_bound", False) and getattr(each, "errors", None)
        for each in context.values()
    )
    return 422 if refused else 200


def page_of(connection: Connection, name: str = "sso:connection", *more: object) -> str:
    """The address of a page of the connection."""
    return reverse(name, args=[connection.organization_id, connection.pk, *more])


@require_safe
@page
def overview(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Connections, domains, what is required, what runs out, and who comes in in an emergency."""
    found = organization_for(request, organization_id)
    connections = list(connections_of(request.actor, found.pk).prefetch_related("domains"))
    context = {
        "organization": found,
        "entitled": entitlements(found)[Entitlement.SSO],
        "connections": connections,
        "enforced": [c for c in connections if c.state == Connection.State.ENFORCED],
        "domains": list(domains_of(request.actor, found.pk)),
        "expiring": expiring(found.pk),
        "break_glass_owners": list(break_glass_selectors.owners_of(request.actor, found.pk)),
    }
    return render(request, "sso/overview.html", context)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The form for a new connection; leads to its set-up."""
    found = organization_for(request, organization_id, to_change=True)
    form = NewConnectionForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            made = create_connection(
                actor=request.actor,
                organization_id=found.pk,
                name=form.cleaned_data["name"],
                protocol=form.cleaned_data["protocol"],
            )
        except Refused as error:
            form.add_error(None, reason_of(error))
        else:
            return redirect(page_of(made))
    entitled = entitlements(found)[Entitlement.SSO]
    context = {"organization": found, "form": form, "entitled": entitled}
    return render(request, "sso/create.html", context, status=status_of(context))


@require_http_methods(FORM_METHODS)
@page
def state(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Put the connection to the test, or switch it on."""
    found = connection_for(request, organization_id, connection_id)
    wanted = request.POST.get("state", "")
    if request.method == "POST" and wanted in SETTABLE:
        try:
            set_state(actor=request.actor, connection_id=found.pk, state=wanted)
        except Refused as error:
            messages.error(request, reason_of(error))
        else:
            messages.success(request, SAID[Connection.State(wanted)].format(found.name))
    return redirect(page_of(found))


@require_http_methods(FORM_METHODS)
@page
def switch_off(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Say what follows, then switch the connection off."""
    found = connection_for(request, organization_id, connection_id)
    if found.state == Connection.State.ENFORCED:
        return redirect(page_of(found, "sso:relax"))
    context: dict[str, object] = {"refused": ""}
    if request.method == "POST":
        try:
            set_state(actor=request.actor, connection_id=found.pk, state=Connection.State.DISABLED)
        except Refused as error:
            context["refused"] = reason_of(error)
        else:
            messages.success(request, f"{found.name} is switched off.")
            return redirect(page_of(found))
    return show(
        request, "sso/connection/switch_off.html", found, current="sso:connection", context=context
    )


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Ask for the connection's name, then delete it."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    form = TypedNameForm(request.POST if request.method == "POST" else None, name=found.name)
    if form.is_valid():
        try:
            delete_connection(actor=request.actor, connection_id=found.pk)
        except Refused as error:
            form.add_error(None, reason_of(error))
        else:
            messages.success(request, f"The connection {found.name} is deleted.")
            return redirect("sso:overview", found.organization_id)
    return show(
        request,
        "sso/connection/delete.html",
        found,
        current="sso:settings",
        context={"form": form, "people": found.identities.count()},
    )

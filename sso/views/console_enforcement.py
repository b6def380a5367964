"""Pages: requiring single sign-on of everybody, making it optional again, and who gets in then in
an emergency."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from orgs.decorators import PageRequest, page
from orgs.errors import Refused
from orgs.models import User
from orgs.selectors.owners import owners_of as organization_owners
from sso.forms import BreakGlassOwnerForm, RelaxForm
from sso.models import Connection
from sso.selectors.break_glass import accesses_of, owners_of
from sso.services.break_glass import approve_access, end_access, name_owner, remove_owner
from sso.services.enforcement import enforce, readiness, relax
from sso.views.console import (
    FORM_METHODS,
    connection_for,
    organization_for,
    page_of,
    reason_of,
    show,
)
from sso.views.console import status_of as status_of_context

State = Connection.State
SHOWN_ACCESSES = 20


@require_http_methods(FORM_METHODS)
@page
def require(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """What has to hold before everybody has to use it, who would be locked out, and the button."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    if found.state == State.ENFORCED:
        return redirect(page_of(found, "sso:relax"))
    context: dict[str, object] = {"refused": ""}
    if request.method == "POST":
        try:
            own_session = request.session.session_key or ""
            enforce(actor=request.actor, connection_id=found.pk, keep=own_session)
        except Refused as error:
            context["refused"] = reason_of(error)
        else:
            messages.success(request, f"{found.name} is required of everybody from now on.")
            return redirect(page_of(found))
    context["readiness"] = readiness(actor=request.actor, connection_id=found.pk)
    return show(
        request, "sso/connection/require.html", found, current="sso:connection", context=context
    )


@require_http_methods(FORM_METHODS)
@page
def relax_(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Make a required connection optional, or switch it off."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    if found.state != State.ENFORCED:
        return redirect(page_of(found))
    form = RelaxForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            to_state = form.cleaned_data["to_state"]
            relax(actor=request.actor, connection_id=found.pk, to_state=to_state)
        except Refused as error:
            form.add_error(None, reason_of(error))
        else:
            messages.success(request, f"{found.name} is required of nobody any more.")
            return redirect(page_of(found))
    return show(
        request,
        "sso/connection/relax.html",
        found,
        current="sso:connection",
        context={"form": form},
    )


@require_http_methods(FORM_METHODS)
@page
def break_glass(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The owners who come in in an emergency, the accesses that there were, and those that wait."""
    found = organization_for(request, organization_id)
    named = list(owners_of(request.actor, found.pk))
    possible = User.objects.filter(
        pk__in=organization_owners(found.pk).everybody - {row.user_id for row in named}
    ).order_by("email")
    owners = list(possible)
    form = BreakGlassOwnerForm(owners=owners)
    act = request.POST.get("act", "")
    if act == "name":
        form = BreakGlassOwnerForm(request.POST, owners=owners)
        if form.is_valid():
            try:
                name_owner(
                    actor=request.actor,
                    organization_id=found.pk,
                    user_id=UUID(form.cleaned_data["user"]),
                )
            except Refused as error:
                form.add_error("user", reason_of(error))
            else:
                return _done(request, found.pk, "The owner is named. Exercise the access next.")
    elif act in _ACTS:
        try:
            said = _ACTS[act](request, found.pk)
        except Refused as error:
            messages.error(request, reason_of(error))
            return redirect("sso:break_glass_owners", found.pk)
        return _done(request, found.pk, said)
    context = {
        "organization": found,
        "named": named,
        "can_name": bool(owners),
        "accesses": list(accesses_of(request.actor, found.pk)[:SHOWN_ACCESSES]),
        "form": form,
        "now": timezone.now(),
    }
    return render(
        request, "sso/break_glass_owners.html", context, status=status_of_context(context)
    )


def _done(request: PageRequest, organization_id: UUID, said: str) -> HttpResponse:
    messages.success(request, said)
    return redirect("sso:break_glass_owners", organization_id)


def _sent_id(request: PageRequest) -> UUID:
    """The id that the form carries; one that means nothing where it is none."""
    try:
        return UUID(request.POST.get("id", ""))
    except ValueError:
        return UUID(int=0)


def _remove(request: PageRequest, organization_id: UUID) -> str:
    remove_owner(actor=request.actor, organization_id=organization_id, user_id=_sent_id(request))
    return "The owner is named no longer."


def _approve(request: PageRequest, _: UUID) -> str:
    approve_access(actor=request.actor, access_id=_sent_id(request))
    return "The access is approved."


def _end(request: PageRequest, _: UUID) -> str:
    end_access(actor=request.actor, access_id=_sent_id(request))
    return "The access is ended."


_ACTS: dict[str, Callable[[PageRequest, UUID], str]] = {
    "remove": _remove,
    "approve": _approve,
    "end": _end,
}

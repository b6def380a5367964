"""The pages of one API key: how it stands and who uses it, what it may, and switching it off."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from keys.forms import EditKeyForm
from keys.models import ApiKey
from keys.selectors.api_keys import get_key, key_roles, state_of, stops_at, with_secrets
from keys.selectors.rotation import users_of
from keys.services.api_keys import disable_api_key, enable_api_key, update_api_key
from keys.services.rotation import end_overlap
from orgs.decorators import PageRequest, page
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.permissions import Permission, authorize, permissions_of
from projects.models import Project
from projects.navigation import project_context
from projects.selectors import get_project

USES = 50


@require_safe
@page
def key(request: PageRequest, project_id: UUID, key_id: UUID) -> HttpResponse:
    """How the key stands, what it may, who uses each of its secrets, and for what."""
    found = get_project(request.actor, project_id)
    shown = _key(request, found, key_id)
    users = users_of(shown)
    held = permissions_of(request.actor, organization_id=found.organization_id, project_id=found.pk)
    context = {
        "key": shown,
        "state": state_of(shown).value,
        "stops_at": stops_at(shown),
        "roles": key_roles([shown]).get(shown.pk, []),
        "secrets": [(secret, users[secret.lookup_id]) for secret in shown.secrets.all()],
        "uses": shown.usage.order_by("-last_at", "-id")[:USES],
        "can_change": Permission.API_KEY_UPDATE in held,
        "can_revoke": Permission.API_KEY_REVOKE in held,
    }
    return render(request, "keys/key.html", project_context(found) | context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def edit(request: PageRequest, project_id: UUID, key_id: UUID) -> HttpResponse:
    """Changes name, roles and limits; the secret stays."""
    found = get_project(request.actor, project_id)
    shown = _key(request, found, key_id)
    authorize(
        request.actor,
        Permission.API_KEY_UPDATE,
        organization_id=found.organization_id,
        project_id=found.pk,
    )
    form = EditKeyForm(
        request.POST if request.method == "POST" else None,
        key=shown,
        roles=key_roles([shown]).get(shown.pk, []),
    )
    if form.is_valid():
        try:
            update_api_key(
                actor=request.actor,
                key_id=shown.pk,
                name=form.cleaned_data["name"],
                roles=form.chosen_roles(),
                limits=form.limits(),
                check=form.check_version,
            )
        except SHOWN as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The API key {shown.name} is changed.")
            return redirect("keys:key", found.pk, shown.pk)
    context = project_context(found) | {"key": shown, "form": form}
    return render(request, "keys/edit.html", context, status=422 if form.errors else 200)


@require_POST
@page
def switch(request: PageRequest, project_id: UUID, key_id: UUID) -> HttpResponse:
    """Switches the key off, or on again (`on`)."""
    found = get_project(request.actor, project_id)
    shown = _key(request, found, key_id)
    turn = enable_api_key if "on" in request.POST else disable_api_key
    turn(actor=request.actor, key_id=shown.pk)
    state = "on again" if "on" in request.POST else "off: every request with it is refused"
    messages.success(request, f"The API key {shown.name} is {state}.")
    return redirect("keys:key", found.pk, shown.pk)


@require_POST
@page
def end_old_secret(request: PageRequest, project_id: UUID, key_id: UUID) -> HttpResponse:
    """Ends the secret from before the last rotation, at once."""
    found = get_project(request.actor, project_id)
    shown = _key(request, found, key_id)
    try:
        end_overlap(actor=request.actor, key_id=shown.pk)
    except SHOWN as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "The old secret is refused from now on.")
    return redirect("keys:key", found.pk, shown.pk)


def _key(request: PageRequest, project: Project, key_id: UUID) -> ApiKey:
    get_key(request.actor, project, key_id)
    return with_secrets(ApiKey.objects.filter(pk=key_id, project=project)).get()

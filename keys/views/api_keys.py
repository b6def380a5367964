"""Pages: a project's API keys, a new one, a new secret for one, and the end of one."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from keys.forms import ApiKeyForm, RevokeForm, RotateForm, new_token
from keys.selectors.api_keys import get_key, key_roles, keys_of, state_of, stops_at
from keys.services.api_keys import create_api_key, revoke_api_key
from keys.services.rotation import rotate_api_key
from orgs.decorators import PageRequest, page
from orgs.errors import AlreadyExists, FailedPrecondition, PermissionDenied, Refused
from orgs.permissions import Permission, authorize, permissions_of
from projects.models import Project
from projects.navigation import project_context
from projects.selectors import get_project

PER_PAGE = 50
FORM_METHODS = ["GET", "HEAD", "POST"]
EXPIRED_FORM = "This form is too old or was not made here. It is fresh now: send it again."


@require_safe
@page
def project(request: PageRequest, project_id: UUID) -> HttpResponse:
    """The project's keys."""
    found = get_project(request.actor, project_id)
    held = permissions_of(request.actor, organization_id=found.organization_id, project_id=found.pk)
    text = request.GET.get("q", "").replace("\0", "")[:100].strip()
    wanted = keys_of(request.actor, found)
    if text:
        wanted = wanted.filter(Q(name__icontains=text) | Q(pk__icontains=text))
    shown = Paginator(wanted, PER_PAGE).get_page(request.GET.get("page"))
    keys = list(shown)
    roles = key_roles(keys)
    context = {
        "keys": [
            {
                "key": key,
                "roles": roles.get(key.pk, []),
                "state": state_of(key).value,
                "stops_at": stops_at(key),
            }
            for key in keys
        ],
        "page": shown,
        "text": text,
        "can_create": Permission.API_KEY_CREATE in held,
        "can_rotate": Permission.API_KEY_UPDATE in held,
        "can_revoke": Permission.API_KEY_REVOKE in held,
    }
    return _render(request, "keys/list.html", found, context)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, project_id: UUID) -> HttpResponse:
    """The form for a new key; answers with the secret, once."""
    found = _project_for(request, project_id, Permission.API_KEY_CREATE)
    if request.method != "POST":
        form = ApiKeyForm(initial={"token": new_token(found.pk)})
        return _render(request, "keys/create.html", found, {"form": form})
    form = ApiKeyForm(request.POST)
    if form.is_valid() and (key_id := form.key_id(found.pk)):
        try:
            key, secret = create_api_key(
                actor=request.actor,
                project=found,
                name=form.cleaned_data["name"],
                roles=form.chosen_roles(),
                limits=form.limits(),
                key_id=key_id,
            )
        except AlreadyExists as error:
            messages.error(request, error.message)
            return redirect("keys:list", found.pk)
        except Refused as error:
            form.add_error(None, error.message)
        else:
            return _render(request, "keys/created.html", found, {"key": key, "secret": secret})
    elif form.is_valid() or "token" in form.errors:
        form = ApiKeyForm(
            {**request.POST.dict(), "roles": request.POST.getlist("roles")}
            | {"token": new_token(found.pk)}
        )
        form.add_error(None, EXPIRED_FORM)
    return _render(request, "keys/create.html", found, {"form": form}, status=422)


@require_http_methods(FORM_METHODS)
@page
def rotate(request: PageRequest, project_id: UUID, key_id: UUID) -> HttpResponse:
    """Asks how long the old secret is to work on; answers with the new one, once."""
    found = _project_for(request, project_id, Permission.API_KEY_UPDATE)
    key = get_key(request.actor, found, key_id)
    form = RotateForm(
        request.POST if request.method == "POST" else None, initial={"version": key.version}
    )
    if form.is_valid():
        try:
            key, secret = rotate_api_key(
                actor=request.actor,
                key_id=key.pk,
                overlap=form.overlap(),
                check=form.check_version,
            )
        except FailedPrecondition as error:
            messages.error(request, error.message)
            return redirect("keys:list", found.pk)
        except PermissionDenied as error:
            form.add_error(None, error.message)
        else:
            return _render(request, "keys/created.html", found, {"key": key, "secret": secret})
    status = 422 if form.errors else 200
    return _render(request, "keys/rotate.html", found, {"key": key, "form": form}, status=status)


@require_http_methods(FORM_METHODS)
@page
def revoke(request: PageRequest, project_id: UUID, key_id: UUID) -> HttpResponse:
    """Asks for the key's name, then revokes it."""
    found = _project_for(request, project_id, Permission.API_KEY_REVOKE)
    key = get_key(request.actor, found, key_id)
    form = RevokeForm(request.POST if request.method == "POST" else None, name=key.name)
    if form.is_valid():
        revoke_api_key(actor=request.actor, key_id=key.pk)
        messages.success(request, f"The API key {key.name} is revoked.")
        return redirect("keys:list", found.pk)
    status = 422 if form.errors else 200
    return _render(request, "keys/revoke.html", found, {"key": key, "form": form}, status=status)


def _project_for(request: PageRequest, project_id: UUID, permission: Permission) -> Project:
    found = get_project(request.actor, project_id)
    authorize(request.actor, permission, organization_id=found.organization_id, project_id=found.pk)
    return found


def _render(
    request: PageRequest,
    template: str,
    project: Project,
    context: dict[str, object],
    status: int = 200,
) -> HttpResponse:
    shared = project_context(project)
    return render(request, template, shared | context, status=status)

"""Pages: what each role allows, and roles of the organization's own, with a look ahead."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from orgs.decorators import PageRequest, page
from orgs.forms.people import ConfirmForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.forms.security import RoleForm
from orgs.models import CustomRole, ResourceType, RoleBinding
from orgs.permissions import (
    BINDABLE,
    PERMISSION_HELP,
    ROLE_HELP,
    ROLES,
    Permission,
    Role,
    authorize,
    permissions_of,
)
from orgs.role_hints import hints_for
from orgs.selectors.access import Effect, effects
from orgs.selectors.organizations import get_organization
from orgs.selectors.roles import custom_roles, get_custom_role
from orgs.services import roles as services
from orgs.services.preview import preview

FORM_METHODS = ["GET", "HEAD", "POST"]


@require_safe
@page
def roles(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The organization's own roles, and what every predefined one allows."""
    found = get_organization(request.actor, organization_id)
    held = permissions_of(request.actor, organization_id=found.pk)
    context = {
        "organization": found,
        "own": custom_roles(request.actor, found.pk),
        "kinds": [
            (
                kind,
                [(role, ROLE_HELP[role], _sorted(ROLES[role])) for role in Role if role in names],
            )
            for kind, names in BINDABLE.items()
            if kind != ResourceType.INDEX
        ],
        "can_manage": Permission.ROLE_MANAGE in held,
    }
    return render(request, "orgs/roles/list.html", context)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, organization_id: UUID, kind: str) -> HttpResponse:
    """Makes a role that is held on the organization, a project or an index."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.ROLE_MANAGE, organization_id=found.pk)
    resource_type = ResourceType(kind) if kind in ResourceType else ResourceType.PROJECT
    form = RoleForm(request.POST if request.method == "POST" else None, kind=resource_type)
    if form.is_valid():
        try:
            made = services.create_role(
                actor=request.actor,
                organization_id=found.pk,
                resource_type=resource_type,
                **form.values(),
            )
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, f"The role {made.name} is made.")
            return redirect("orgs:role", found.pk, made.pk)
    context = {
        "organization": found,
        "form": form,
        "kind": resource_type,
        "kinds": list(ResourceType),
    }
    status = 422 if form.errors else 200
    return render(request, "orgs/roles/create.html", context, status=status)


@require_safe
@page
def role(request: PageRequest, organization_id: UUID, role_id: UUID) -> HttpResponse:
    """One role of the organization's own: what it allows, and on how many places it is held."""
    found = get_organization(request.actor, organization_id)
    shown = get_custom_role(request.actor, found.pk, role_id)
    held = permissions_of(request.actor, organization_id=found.pk)
    context = {
        "organization": found,
        "role": shown,
        "permissions": _sorted(frozenset(shown.permissions)),
        "hints": hints_for(shown.permissions),
        "can_manage": Permission.ROLE_MANAGE in held,
    }
    return render(request, "orgs/roles/role.html", context)


@require_http_methods(FORM_METHODS)
@page
def edit(request: PageRequest, organization_id: UUID, role_id: UUID) -> HttpResponse:
    """Changes a role for everybody who holds it; `preview` shows who gains or loses what."""
    found = get_organization(request.actor, organization_id)
    shown = get_custom_role(request.actor, found.pk, role_id)
    authorize(request.actor, Permission.ROLE_MANAGE, organization_id=found.pk)
    form = RoleForm(
        request.POST if request.method == "POST" else None,
        kind=ResourceType(shown.resource_type),
        role=shown,
    )
    looked: list[Effect] | None = None
    if form.is_valid():

        def change() -> CustomRole:
            return services.update_role(
                actor=request.actor,
                organization_id=found.pk,
                role_id=shown.pk,
                check=form.check_version,
                **form.values(),
            )

        try:
            if "preview" in request.POST:
                flips = preview(
                    change,
                    organization_id=found.pk,
                    affected=lambda: services.holders_of(found.pk, shown.pk),
                )
                looked = effects(found, flips)
            else:
                change()
        except SHOWN as error:
            add_refusal(form, error)
        if looked is None and not form.errors:
            messages.success(request, "The role is changed.")
            return redirect("orgs:role", found.pk, shown.pk)
    context = {"organization": found, "role": shown, "form": form, "effects": looked}
    status = 422 if form.errors else 200
    return render(request, "orgs/roles/edit.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, organization_id: UUID, role_id: UUID) -> HttpResponse:
    """Asks for the role's name, then deletes it; refused while somebody holds it."""
    found = get_organization(request.actor, organization_id)
    shown = get_custom_role(request.actor, found.pk, role_id)
    authorize(request.actor, Permission.ROLE_MANAGE, organization_id=found.pk)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=shown.name)
    if form.is_valid():
        try:
            services.delete_role(actor=request.actor, organization_id=found.pk, role_id=shown.pk)
        except SHOWN as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The role {shown.name} is deleted.")
            return redirect("orgs:roles", found.pk)
    context = {
        "organization": found,
        "role": shown,
        "form": form,
        "held": RoleBinding.objects.filter(custom_role=shown).count(),
    }
    status = 422 if form.errors else 200
    return render(request, "orgs/roles/delete.html", context, status=status)


def _predefined(role: Role) -> tuple[Role, str, list[tuple[str, str]]]:
    return role, ROLE_HELP[role], _sorted(ROLES[role])


def _sorted(held: frozenset[Permission] | frozenset[str]) -> list[tuple[str, str]]:
    """The permissions in the order of their table, with a sentence each."""
    return [(each.value, PERMISSION_HELP[each]) for each in Permission if each.value in held]

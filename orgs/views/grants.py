"""Pages: giving a role, putting another in its place, taking it away; each with a look ahead."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from orgs import registry
from orgs.decorators import PageRequest, page
from orgs.errors import no_such
from orgs.forms.people import ChangeRoleForm, GrantForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.models import Organization, PrincipalType, ResourceType, RoleBinding
from orgs.permissions import Permission, permissions_of
from orgs.selectors.access import Effect, effects, help_of, names_of, projects_to_give
from orgs.selectors.bindings import get_binding
from orgs.selectors.groups import get_group
from orgs.selectors.organizations import get_member, get_organization
from orgs.selectors.reach import Principal, behind
from orgs.services.bindings import authorize_change, grant_role, revoke_role, scope_of
from orgs.services.preview import preview
from orgs.services.role_changes import change_role

PAGES = {
    PrincipalType.USER: "orgs:member",
    PrincipalType.GROUP: "orgs:team",
    PrincipalType.SERVICE_ACCOUNT: "keys:account",
}
"""Where each kind of principal is shown."""
FORM_METHODS = ["GET", "HEAD", "POST"]


@require_http_methods(FORM_METHODS)
@page
def grant(
    request: PageRequest, organization_id: UUID, kind: str, principal_id: UUID
) -> HttpResponse:
    """Gives a person or a team a role; `preview` shows what that changes."""
    found = get_organization(request.actor, organization_id)
    principal, name = _principal(request, found, kind, principal_id)
    form = _grant_form(request, found)
    looked: list[Effect] | None = None
    if form.is_valid():

        def change() -> RoleBinding:
            return grant_role(
                actor=request.actor,
                organization_id=found.pk,
                principal=principal,
                role=form.cleaned_data["role"],
                resource=form.place(),
                reason=form.cleaned_data["reason"],
                period=(None, form.expires_at()),
            )

        try:
            if "preview" in request.POST:
                looked = _ahead(found, principal, change)
            else:
                change()
        except SHOWN as error:
            add_refusal(form, error, "role")
        if looked is None and not form.errors:
            messages.success(request, f"{name} has the role.")
            return redirect(_page_of(found, *principal))
    context = {
        "organization": found,
        "form": form,
        "name": name,
        "back": _page_of(found, *principal),
        "effects": looked,
    }
    status = 422 if form.errors else 200
    return render(request, "orgs/grants/grant.html", context, status=status)


def _grant_form(request: PageRequest, organization: Organization) -> GrantForm:
    """With the places where the person may give roles.

    Raises:
        NotFound: there is none.
    """
    actor = request.actor
    held = permissions_of(actor, organization_id=organization.pk)
    everywhere = Permission.MEMBER_UPDATE in held
    projects = projects_to_give(actor, organization)
    if not everywhere and not projects:
        raise no_such("page")
    return GrantForm(
        request.POST if request.method == "POST" else None,
        organization=organization if everywhere else None,
        projects=projects,
        own_roles_of=organization,
        initial={"resource": request.GET.get("on", "")},
    )


@require_http_methods(FORM_METHODS)
@page
def change(request: PageRequest, organization_id: UUID, binding_id: UUID) -> HttpResponse:
    """Puts another role in the place of one; `preview` shows what that changes."""
    found = get_organization(request.actor, organization_id)
    row = _changeable(request, found, binding_id)
    principal, name = _holder(request, found, row)
    current = str(row.custom_role_id) if row.custom_role_id else row.role
    form = ChangeRoleForm(
        request.POST if request.method == "POST" else None,
        organization=found,
        kind=ResourceType(row.resource_type),
        role=current,
    )
    looked: list[Effect] | None = None
    if form.is_valid():

        def put() -> RoleBinding:
            return change_role(
                actor=request.actor,
                organization_id=found.pk,
                binding_id=row.pk,
                role=form.cleaned_data["role"],
            )

        try:
            if "preview" in request.POST:
                looked = _ahead(found, principal, put)
            else:
                put()
        except SHOWN as error:
            add_refusal(form, error, "role")
        if looked is None and not form.errors:
            messages.success(request, f"{name} has another role now.")
            return redirect(_page_of(found, *principal))
    context = _about(found, row, principal, name) | {"form": form, "effects": looked}
    status = 422 if form.errors else 200
    return render(request, "orgs/grants/change.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def revoke(request: PageRequest, organization_id: UUID, binding_id: UUID) -> HttpResponse:
    """Shows what taking the role away changes, and takes it away."""
    found = get_organization(request.actor, organization_id)
    row = _changeable(request, found, binding_id)
    principal, name = _holder(request, found, row)

    def take() -> None:
        revoke_role(actor=request.actor, organization_id=found.pk, binding_id=row.pk)

    looked: list[Effect] = []
    refused = ""
    try:
        if request.method == "POST":
            take()
        else:
            looked = _ahead(found, principal, take)
    except SHOWN as error:
        refused = error.message
    if request.method == "POST" and not refused:
        messages.success(request, f"{name} has lost the role {row.role_name}.")
        is_person = principal[0] == PrincipalType.USER
        return (
            redirect("orgs:members", found.pk)
            if is_person
            else redirect(_page_of(found, *principal))
        )
    context = _about(found, row, principal, name) | {"effects": looked, "refused": refused}
    status = 422 if refused and request.method == "POST" else 200
    return render(request, "orgs/grants/revoke.html", context, status=status)


def _ahead(
    organization: Organization, principal: Principal, change: Callable[[], object]
) -> list[Effect]:
    flips = preview(change, organization_id=organization.pk, affected=lambda: behind(principal))
    return effects(organization, flips)


def _principal(
    request: PageRequest, organization: Organization, kind: str, pk: UUID
) -> tuple[Principal, str]:
    """Who gets a role, and what people call them.

    Raises:
        NotFound: there is no such person, team or program in the organization.
    """
    if kind == PrincipalType.USER:
        person = get_member(request.actor, organization.pk, pk)
        return (PrincipalType.USER, person.pk), person.email
    if kind == PrincipalType.GROUP:
        team = get_group(request.actor, organization.pk, pk)
        return (PrincipalType.GROUP, team.pk), f"The team {team.name}"
    if kind == PrincipalType.SERVICE_ACCOUNT:
        found = registry.find_principal(kind, pk)
        if found is not None and found.organization_id == organization.pk:
            return (PrincipalType.SERVICE_ACCOUNT, pk), f"The service account {found.label}"
    raise no_such("page")


def _changeable(request: PageRequest, organization: Organization, binding_id: UUID) -> RoleBinding:
    """The role binding, where the person may change it.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: they may not.
    """
    row = get_binding(request.actor, organization.pk, binding_id)
    kind = PrincipalType(row.principal_type)
    authorize_change(request.actor, scope_of(row), kind, what=f"role binding {binding_id}")
    return row


def _holder(
    request: PageRequest, organization: Organization, row: RoleBinding
) -> tuple[Principal, str]:
    return _principal(request, organization, row.principal_type, row.principal_id)


def _about(
    organization: Organization, row: RoleBinding, principal: Principal, name: str
) -> dict[str, object]:
    return {
        "organization": organization,
        "row": row,
        "name": name,
        "where": names_of([row], organization)[row.resource_id],
        "help": help_of(row),
        "back": _page_of(organization, *principal),
    }


def _page_of(organization: Organization, kind: PrincipalType, pk: UUID) -> str:
    return reverse(PAGES[kind], args=[organization.pk, pk])

"""Pages: teams, which the API calls groups: people who hold roles together."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from orgs.decorators import PageRequest, page
from orgs.forms.people import AddToTeamForm, ConfirmForm, TeamForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.models import PrincipalType
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.access import held_by
from orgs.selectors.groups import get_group, groups_of, members_of_group
from orgs.selectors.organizations import get_organization, list_members
from orgs.services import groups as services

PER_PAGE = 50
FORM_METHODS = ["GET", "HEAD", "POST"]


@require_safe
@page
def teams(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The teams with their sizes."""
    found = get_organization(request.actor, organization_id)
    rows = groups_of(request.actor, found.pk).order_by("name", "pk")
    context = {
        "organization": found,
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "can_manage": _can_manage(request, found.pk),
    }
    return render(request, "orgs/teams/list.html", context)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Makes a team; leads to its page."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.GROUP_MANAGE, organization_id=found.pk)
    form = TeamForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            made = services.create_group(
                actor=request.actor, organization_id=found.pk, **form.cleaned_data
            )
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            return redirect("orgs:team", found.pk, made.pk)
    context = {"organization": found, "form": form}
    status = 422 if form.errors else 200
    return render(request, "orgs/teams/create.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def team(request: PageRequest, organization_id: UUID, group_id: UUID) -> HttpResponse:
    """One team: its people and its roles; by POST, one more person."""
    found = get_organization(request.actor, organization_id)
    group = get_group(request.actor, found.pk, group_id)
    form = AddToTeamForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        authorize(request.actor, Permission.GROUP_MANAGE, organization_id=found.pk)
    if form.is_valid():
        email = form.cleaned_data["email"]
        person = list_members(request.actor, found.pk, email).first()
        if person is None:
            form.add_error("email", f"{email} is no member of {found.name}. Invite them first.")
        else:
            try:
                services.add_group_member(
                    actor=request.actor,
                    organization_id=found.pk,
                    group_id=group.pk,
                    user_id=person.pk,
                )
            except SHOWN as error:
                add_refusal(form, error, "email")
            else:
                messages.success(request, f"{email} is in the team.")
                return redirect("orgs:team", found.pk, group.pk)
    people = members_of_group(request.actor, found.pk, group.pk).order_by("user__email")
    context = {
        "organization": found,
        "team": group,
        "page": Paginator(people, PER_PAGE).get_page(request.GET.get("page")),
        "roles": held_by(request.actor, found, (PrincipalType.GROUP, group.pk)),
        "form": form,
        "can_manage": _can_manage(request, found.pk),
        "can_grant": Permission.MEMBER_UPDATE
        in permissions_of(request.actor, organization_id=found.pk),
    }
    status = 422 if form.errors else 200
    return render(request, "orgs/teams/team.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def edit(request: PageRequest, organization_id: UUID, group_id: UUID) -> HttpResponse:
    """Renames and describes a team."""
    found = get_organization(request.actor, organization_id)
    group = get_group(request.actor, found.pk, group_id)
    authorize(request.actor, Permission.GROUP_MANAGE, organization_id=found.pk)
    form = TeamForm(
        request.POST if request.method == "POST" else None,
        initial={"name": group.name, "description": group.description},
    )
    if form.is_valid():
        try:
            services.update_group(
                actor=request.actor,
                organization_id=found.pk,
                group_id=group.pk,
                **form.cleaned_data,
            )
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, "The team is changed.")
            return redirect("orgs:team", found.pk, group.pk)
    context = {"organization": found, "team": group, "form": form}
    status = 422 if form.errors else 200
    return render(request, "orgs/teams/edit.html", context, status=status)


@require_POST
@page
def take_out(
    request: PageRequest, organization_id: UUID, group_id: UUID, user_id: UUID
) -> HttpResponse:
    """Takes a person out of a team."""
    get_group(request.actor, organization_id, group_id)
    try:
        services.remove_group_member(
            actor=request.actor,
            organization_id=organization_id,
            group_id=group_id,
            user_id=user_id,
        )
    except SHOWN as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "Taken out of the team.")
    return redirect("orgs:team", organization_id, group_id)


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, organization_id: UUID, group_id: UUID) -> HttpResponse:
    """Asks for the team's name, then deletes it with its roles."""
    found = get_organization(request.actor, organization_id)
    group = get_group(request.actor, found.pk, group_id)
    authorize(request.actor, Permission.GROUP_MANAGE, organization_id=found.pk)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=group.name)
    if form.is_valid():
        try:
            services.delete_group(actor=request.actor, organization_id=found.pk, group_id=group.pk)
        except SHOWN as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The team {group.name} is deleted.")
            return redirect("orgs:teams", found.pk)
    context = {"organization": found, "team": group, "form": form}
    status = 422 if form.errors else 200
    return render(request, "orgs/teams/delete.html", context, status=status)


def _can_manage(request: PageRequest, organization_id: UUID) -> bool:
    held = permissions_of(request.actor, organization_id=organization_id)
    return Permission.GROUP_MANAGE in held

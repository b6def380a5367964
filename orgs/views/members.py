"""Pages: an organization's people, one of them, and asking others in."""

from __future__ import annotations

from uuid import UUID

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from orgs.decorators import PageRequest, page
from orgs.forms.people import ConfirmForm, InviteForm
from orgs.forms.refusals import SHOWN
from orgs.identity_providers import identity_providers
from orgs.models import Membership, Organization, PrincipalType, ResourceType
from orgs.permissions import OWNER_ROLE, Permission, authorize, permissions_of
from orgs.selectors.access import held_by, projects_to_give
from orgs.selectors.bindings import roles_of
from orgs.selectors.invitations import get_invitation, list_invitations, roles_in_words
from orgs.selectors.organizations import get_member, get_organization, list_members
from orgs.selectors.transfers import list_transfers
from orgs.services import transfers
from orgs.services.invitations import (
    InvitedRole,
    create_invitation,
    delete_invitation,
    resend_invitation,
)
from orgs.services.members import leave_organization, remove_member

PER_PAGE = 50
FORM_METHODS = ["GET", "HEAD", "POST"]


@require_safe
@page
def members(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The people with their roles, and the invitations that are open."""
    found = get_organization(request.actor, organization_id)
    text = request.GET.get("q", "").replace("\0", "")[:100].strip()
    people = list_members(request.actor, found.pk).order_by("email")
    if text:
        people = people.filter(Q(email__icontains=text) | Q(name__icontains=text))
    shown = Paginator(people, PER_PAGE).get_page(request.GET.get("page"))
    ids = [person.pk for person in shown]
    roles = roles_of(PrincipalType.USER, ids, resource_id=found.pk)
    places = Membership.objects.filter(organization=found, user__in=ids)
    suspended = set(places.exclude(suspended_at=None).values_list("user_id", flat=True))
    held = permissions_of(request.actor, organization_id=found.pk)
    can_manage = Permission.MEMBER_UPDATE in held
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    secured = Authenticator.objects.filter(user__in=ids, type__in=kinds) if can_manage else None
    with_factor = set(secured.values_list("user_id", flat=True)) if secured is not None else set()
    context = {
        "organization": found,
        "text": text,
        "page": shown,
        "rows": [
            {
                "person": person,
                "roles": roles.get(person.pk, []),
                "is_suspended": person.pk in suspended,
                "has_factor": person.pk in with_factor,
            }
            for person in shown
        ],
        "invitations": list_invitations(request.actor, found.pk),
        "transfers": [
            each for each in list_transfers(request.actor, found.pk) if each.status == "pending"
        ],
        "can_manage": can_manage,
        "can_invite": Permission.MEMBER_INVITE in held,
        "has_mail": settings.TAMARACK_HAS_MAIL,
    }
    return render(request, "orgs/members/list.html", context)


@require_http_methods(FORM_METHODS)
@page
def invite(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Asks people in, each address for itself: what worked stays done."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.MEMBER_INVITE, organization_id=found.pk)
    form = InviteForm(
        request.POST if request.method == "POST" else None,
        organization=found,
        projects=projects_to_give(request.actor, found),
    )
    if form.is_valid():
        left = _invite_all(request, found, form)
        if not left:
            return redirect("orgs:members", found.pk)
        # The form comes back with the addresses that are left to be mended.
        form.data = {**request.POST.dict(), "emails": "\n".join(left)}
    context = {"organization": found, "form": form, "has_mail": settings.TAMARACK_HAS_MAIL}
    status = 422 if form.errors else 200
    return render(request, "orgs/members/invite.html", context, status=status)


def _invite_all(request: PageRequest, organization: Organization, form: InviteForm) -> list[str]:
    """Invite each; the addresses that were refused, with the reasons in the form."""
    data = form.cleaned_data
    roles = [InvitedRole(data["role"], ResourceType.ORGANIZATION)]
    if data["project"]:
        project = UUID(data["project"])
        roles.append(InvitedRole(data["project_role"], ResourceType.PROJECT, project))
    left: list[str] = []
    done: list[str] = []
    for email in data["emails"]:
        try:
            create_invitation(
                actor=request.actor, organization_id=organization.pk, email=email, roles=roles
            )
        except SHOWN as error:
            left.append(email)
            form.add_error("emails", f"{email}: {error.message}")
        else:
            done.append(email)
    if done:
        messages.success(request, f"Invited: {', '.join(done)}.")
    return left


@require_POST
@page
def resend(request: PageRequest, organization_id: UUID, invitation_id: UUID) -> HttpResponse:
    """Sends an invitation again, with a new link."""
    get_organization(request.actor, organization_id)
    try:
        sent = resend_invitation(actor=request.actor, invitation_id=invitation_id)
    except SHOWN as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"Sent again to {sent.email}. The link before it is dead.")
    return redirect("orgs:members", organization_id)


@require_http_methods(FORM_METHODS)
@page
def take_back(request: PageRequest, organization_id: UUID, invitation_id: UUID) -> HttpResponse:
    """Asks, then takes an invitation back."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.MEMBER_INVITE, organization_id=found.pk)
    invitation = get_invitation(request.actor, invitation_id)
    if request.method == "POST":
        try:
            delete_invitation(actor=request.actor, invitation_id=invitation.pk)
        except SHOWN as error:
            messages.error(request, error.message)
        else:
            messages.success(request, f"The invitation of {invitation.email} is taken back.")
        return redirect("orgs:members", found.pk)
    context = {
        "organization": found,
        "invitation": invitation,
        "roles": roles_in_words(invitation),
    }
    return render(request, "orgs/members/take_back.html", context)


@require_safe
@page
def member(request: PageRequest, organization_id: UUID, user_id: UUID) -> HttpResponse:
    """One person: every role, why they have it, and what can be done about it."""
    found = get_organization(request.actor, organization_id)
    person = get_member(request.actor, found.pk, user_id)
    held = permissions_of(request.actor, organization_id=found.pk)
    roles = held_by(request.actor, found, (PrincipalType.USER, person.pk))
    is_self = person.pk == request.user.pk
    own = roles_of(PrincipalType.USER, [request.user.pk], resource_id=found.pk)
    context = {
        "organization": found,
        "person": person,
        "roles": roles,
        "is_self": is_self,
        "can_manage": Permission.MEMBER_UPDATE in held,
        "can_offer": not is_self and OWNER_ROLE.value in own.get(request.user.pk, []),
        "managed_by": identity_providers().manager_of(found.pk, person.pk),
    }
    return render(request, "orgs/members/member.html", context)


@require_http_methods(FORM_METHODS)
@page
def remove(request: PageRequest, organization_id: UUID, user_id: UUID) -> HttpResponse:
    """Asks for the address, then takes the person out; oneself: leaves."""
    found = get_organization(request.actor, organization_id)
    person = get_member(request.actor, found.pk, user_id)
    is_self = person.pk == request.user.pk
    if not is_self:
        authorize(request.actor, Permission.MEMBER_UPDATE, organization_id=found.pk)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=person.email)
    if form.is_valid():
        try:
            if is_self:
                leave_organization(actor=request.actor, organization_id=found.pk)
            else:
                remove_member(actor=request.actor, organization_id=found.pk, user_id=person.pk)
        except SHOWN as error:
            form.add_error(None, error.message)
        else:
            who = "You have" if is_self else f"{person.email} has"
            messages.success(request, f"{who} left {found.name}.")
            return redirect("orgs:home") if is_self else redirect("orgs:members", found.pk)
    context = {"organization": found, "person": person, "is_self": is_self, "form": form}
    status = 422 if form.errors else 200
    return render(request, "orgs/members/remove.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def offer(request: PageRequest, organization_id: UUID, user_id: UUID) -> HttpResponse:
    """Asks, then offers the organization to the person."""
    found = get_organization(request.actor, organization_id)
    person = get_member(request.actor, found.pk, user_id)
    authorize(request.actor, Permission.ORGANIZATION_DELETE, organization_id=found.pk)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=person.email)
    if form.is_valid():
        try:
            transfers.offer_ownership(
                actor=request.actor, organization_id=found.pk, user_id=person.pk
            )
        except SHOWN as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"{person.email} is asked to own {found.name}.")
            return redirect("orgs:members", found.pk)
    context = {"organization": found, "person": person, "form": form}
    status = 422 if form.errors else 200
    return render(request, "orgs/members/offer.html", context, status=status)


@require_POST
@page
def cancel_offer(request: PageRequest, organization_id: UUID, transfer_id: UUID) -> HttpResponse:
    """Takes an offer of the organization back."""
    get_organization(request.actor, organization_id)
    try:
        transfers.cancel_offer(actor=request.actor, transfer_id=transfer_id)
    except SHOWN as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "The offer is taken back.")
    return redirect("orgs:members", organization_id)

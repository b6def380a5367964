"""The start page, and the pages where people come into an organization or take one over."""

from __future__ import annotations

from uuid import UUID

from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import perform_login
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from orgs.actors import Actor
from orgs.authentication import actor_of, client_ip, request_id
from orgs.decorators import PageRequest, page
from orgs.errors import AlreadyExists, InvalidArgument
from orgs.forms.entrance import NewPersonForm
from orgs.identity_providers import identity_providers
from orgs.models import Invitation, User
from orgs.selectors.invitations import (
    LinkState,
    find_by_nonce,
    link_token,
    read_token,
    roles_in_words,
)
from orgs.selectors.organizations import (
    may_found,
    organizations_barring,
    organizations_visible_to,
)
from orgs.selectors.transfers import get_transfer
from orgs.services.invitations import InvitationOver, accept_as_new_person, accept_invitation
from orgs.services.transfers import accept_ownership, cancel_offer, decline_ownership

LINKS = "invitations"
"""Where the session notes the links that its visitor has shown, by invitation and nonce: no other
page's address, and so no log and no Referer, holds one, and the session none that would work."""
MAX_LINKS = 10
TRANSFER_ACTIONS = {
    "accept": (accept_ownership, "You own {0} now."),
    "decline": (decline_ownership, "You declined. {0} keeps its owner."),
    "cancel": (cancel_offer, "The offer is taken back. {0} keeps its owner."),
}


@require_safe
@page
def home(request: PageRequest) -> HttpResponse:
    """The organizations of the person; straight into the only one."""
    organizations = list(organizations_visible_to(request.actor))
    barring = organizations_barring(request.actor)
    if len(organizations) == 1 and not barring:
        return redirect("console:organization", organizations[0].pk)
    context = {
        "organizations": organizations,
        "barring": barring,
        "can_found": may_found(request.actor),
    }
    return render(request, "orgs/home.html", context)


@require_safe
@never_cache
def invitation_link(request: HttpRequest, token: str) -> HttpResponse:
    """Where the link in the mail leads: to the invitation's own page, without the secret."""
    shown = read_token(token)
    if shown is None:
        return _over(request, LinkState.UNKNOWN, None)
    invitation, state = find_by_nonce(*shown)
    if invitation is None or state != LinkState.OPEN:
        return _over(request, state, invitation)
    links = dict(request.session.get(LINKS, {}))
    links.pop(str(invitation.pk), None)
    links[str(invitation.pk)] = str(invitation.nonce)
    request.session[LINKS] = dict(list(links.items())[-MAX_LINKS:])
    return redirect("orgs:invitation", invitation.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    """Who invites, to what, as what, and the way in."""
    nonce = request.session.get(LINKS, {}).get(str(invitation_id))
    if nonce is None:
        return _over(request, LinkState.UNKNOWN, None)
    found, state = find_by_nonce(invitation_id, UUID(nonce))
    if found is None or state != LinkState.OPEN:
        return _over(request, state, found)
    way_in = _way_in(request, found)
    form = NewPersonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        try:
            if way_in == "accept":
                return _accept(request, found)
            if way_in == "sign_up" and form.is_valid():
                return _sign_up(request, found, form)
        except InvitationOver as error:
            return _over(request, error.state, found)
        except InvalidArgument as error:
            form.add_error(None, error.message)
    context = {
        "required": identity_providers().required_sign_in(found.email),
        "invitation": found,
        "roles": roles_in_words(found),
        "way_in": way_in,
        "token": link_token(found),
        "form": form,
    }
    refused = way_in == "sign_up" and form.is_bound and bool(form.errors)
    return render(request, "orgs/invitation.html", context, status=422 if refused else 200)


def _way_in(request: HttpRequest, invitation: Invitation) -> str:
    """How the visitor can come in: `accept`, `other` (signed in as somebody else), `sign_in`, `off`
    (the account is switched off), `sso` (through an organization), `sign_up`.
    """
    user = request.user
    if isinstance(user, User):
        return "accept" if user.email == invitation.email else "other"
    account = User.objects.filter(email=invitation.email).first()
    if account is not None and not account.is_active:
        return "off"
    if identity_providers().required_sign_in(invitation.email) is not None:
        return "sso"
    return "sign_up" if account is None else "sign_in"


def _accept(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)  # noqa: S101  that is what the way in says
    accept_invitation(
        actor=actor_of(request, user), invitation_id=invitation.pk, nonce=invitation.nonce
    )
    messages.success(request, f"You belong to {invitation.organization.name} now.")
    return redirect("orgs:home")


def _sign_up(request: HttpRequest, invitation: Invitation, form: NewPersonForm) -> HttpResponse:
    """An account and a place, then signed in; where somebody was faster, the page once more."""
    actor = Actor(
        kind="user",
        id="",
        label=invitation.email,
        ip=client_ip(request),
        request_id=request_id(request),
    )
    try:
        user = accept_as_new_person(
            actor=actor,
            invitation_id=invitation.pk,
            nonce=invitation.nonce,
            name=form.cleaned_data["name"],
            password=form.cleaned_data["password"],
        )
    except AlreadyExists as error:
        messages.error(request, error.message)
        return redirect("orgs:invitation", invitation.pk)
    record_authentication(request, user, method="password", email=user.email)
    response: HttpResponse = perform_login(request, user, redirect_url="/")
    return response


def _over(request: HttpRequest, state: LinkState, invitation: Invitation | None) -> HttpResponse:
    """A link that leads nowhere any more; whoever came in by it goes on."""
    user = request.user
    accepted_by = invitation.accepted_by_id if invitation else None
    if state == LinkState.ACCEPTED and isinstance(user, User) and accepted_by == user.pk:
        return redirect("orgs:home")
    status = 404 if state == LinkState.UNKNOWN else 410
    context = {"state": state.value, "invitation": invitation}
    return render(request, "orgs/invitation_over.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def transfer(request: PageRequest, transfer_id: UUID) -> HttpResponse:
    """An offer to own an organization: accept, decline or take it back."""
    offer = get_transfer(request.actor, transfer_id)
    action = TRANSFER_ACTIONS.get(request.POST.get("action", ""))
    if request.method == "POST" and action is not None:
        act, said = action
        act(actor=request.actor, transfer_id=transfer_id)
        messages.success(request, said.format(offer.organization.name))
        return redirect("orgs:home")
    is_mine = request.user.pk == offer.offered_to_id
    return render(request, "orgs/transfer.html", {"offer": offer, "is_mine": is_mine})

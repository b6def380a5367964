"""Pages: coming in without the identity provider, approving that, and ending it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.stagekit import clear_login
from allauth.account.utils import perform_login
from allauth.decorators import rate_limit
from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from orgs.account.forms import AuthenticateCodeForm
from orgs.authentication import client_ip, request_id
from orgs.decorators import PageRequest, page
from orgs.errors import Refused
from orgs.models import Organization, User
from orgs.services.people import record_failed_sign_in
from sso.models import BreakGlassAccess
from sso.selectors.break_glass import (
    get_access,
    is_backed,
    is_required,
    organizations_to_enter,
    proven_actor,
)
from sso.services.break_glass import (
    REASON_LENGTH,
    approve_access,
    begin_access,
    end_access,
    note_session,
    request_access,
)

FORM_METHODS = ["GET", "HEAD", "POST"]
BANNER = "break_glass"
"""Where the session keeps what the banner on every page says."""
NOT_PROVEN = (
    "That was not an owner's e-mail address, password and code, or this owner can't come in without"
    " single sign-on."
)
PASSWORD_LENGTH = 1000
CODE_LENGTH = 64


class EmergencyForm(forms.Form):
    """Who comes in, and why. With `approve`, somebody else comes in."""

    use_required_attribute = False
    email = forms.EmailField(
        label="E-mail address", widget=forms.EmailInput({"autocomplete": "username"})
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=PASSWORD_LENGTH,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )
    code = forms.CharField(
        label="Code",
        max_length=CODE_LENGTH,
        help_text="Of your authenticator app, or a recovery code.",
        widget=forms.TextInput({"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
    reason = forms.CharField(
        label="Reason",
        max_length=REASON_LENGTH,
        required=False,
        help_text="All owners read it.",
    )
    is_drill = forms.BooleanField(
        label="This is an exercise", required=False, widget=forms.CheckboxInput
    )
    organization = forms.TypedChoiceField(
        label="Organization", required=False, coerce=UUID, empty_value=None
    )
    approve = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        approves = bool((data or self.initial).get("approve"))
        if approves:
            for name in ("reason", "is_drill", "organization"):
                del self.fields[name]
        elif (wanted := (data or {}).get("organization")) and _is_uuid(wanted):
            self.fields["organization"].choices = [(wanted, "")]  # type: ignore[attr-defined]  # a choice field's
        else:
            self.fields["organization"].widget = forms.HiddenInput()

    def ask_for_organization(self, own: list[Organization]) -> None:
        """Let the person, who proved who they are, say which of theirs they mean."""
        field = self.fields["organization"]
        field.widget = forms.Select()
        field.choices = [(str(each.pk), each.name) for each in own]  # type: ignore[attr-defined]  # a choice field's


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Proof:
    """Somebody who showed password and second factor just now, and what they could enter."""

    user: User
    code: Any
    own: list[Organization]


class _NotSignedIn(Exception):
    """The sign-in ended with another answer; rolls back what was written for it."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__()
        self.response = response


@rate_limit(action="login")  # type: ignore[untyped-decorator]  # allauth ships no types
@sensitive_post_parameters("password", "code")
@require_http_methods(FORM_METHODS)
@never_cache
def break_glass(request: HttpRequest) -> HttpResponse:
    """The way in for owners by password and second factor; also for who approves another one."""
    if request.method != "POST":
        asked = request.GET.get("approve", "")
        return _show(request, EmergencyForm(initial={"approve": asked if _is_uuid(asked) else ""}))
    form = EmergencyForm(request.POST)
    if form.is_valid():
        try:
            proof = _prove(request, form.cleaned_data)
            if proof is None:
                form.add_error(None, NOT_PROVEN)
            elif form.cleaned_data["approve"]:
                return _approve(request, proof, form.cleaned_data["approve"])
            else:
                return _ask(request, proof, form)
        except ValidationError as error:
            form.add_error(None, error)
        except Refused as error:
            form.add_error(None, error.message)
    return _show(request, form)


def _show(request: HttpRequest, form: EmergencyForm) -> HttpResponse:
    status = 422 if form.is_bound else 200
    context = {"form": form, "approves": "reason" not in form.fields}
    return render(request, "sso/break_glass/form.html", context, status=status)


def _prove(request: HttpRequest, data: dict[str, Any]) -> Proof | None:
    """Who it is; None: nobody who could come in, whatever of it was wrong.

    Raises:
        ValidationError: too many wrong ones.
    """
    email = data["email"].lower()
    user = get_adapter(request).authenticate(request, email=email, password=data["password"])
    if not isinstance(user, User):
        return None
    own = organizations_to_enter(user) if user.is_active else []
    if not own:
        _note_failure(request, email, "no owner who could come in without single sign-on")
        return None
    code = AuthenticateCodeForm({"code": data["code"]}, user=user)
    return Proof(user, code, own) if code.is_valid() else None


def _note_failure(request: HttpRequest, email: str, reason: str) -> None:
    record_failed_sign_in(
        email=email, reason=reason, ip=client_ip(request), request_id=request_id(request)
    )


def _actor(request: HttpRequest, proof: Proof, organization_id: UUID) -> Any:
    return proven_actor(
        proof.user, organization_id, ip=client_ip(request), request_id=request_id(request)
    )


def _approve(request: HttpRequest, proof: Proof, access_id: UUID) -> HttpResponse:
    access = BreakGlassAccess.objects.filter(
        pk=access_id, organization__in=[each.pk for each in proof.own]
    ).first()
    organization_id = access.organization_id if access else proof.own[0].pk
    approved = approve_access(actor=_actor(request, proof, organization_id), access_id=access_id)
    return _done(request, approved, "approved")


def _ask(request: HttpRequest, proof: Proof, form: EmergencyForm) -> HttpResponse:
    """Come in, or wait for another owner."""
    is_drill = form.cleaned_data["is_drill"]
    wanted = form.cleaned_data["organization"]
    fitting = [each for each in proof.own if is_required(each.pk) is not is_drill]
    own = fitting or proof.own
    found = [each for each in own if wanted in {None, each.pk}]
    if len(found) != 1:
        form.ask_for_organization(own)
        form.add_error("organization", "You own several. Choose one, with a new code.")
        return _show(request, form)
    access = request_access(
        actor=_actor(request, proof, found[0].pk),
        organization_id=found[0].pk,
        reason=form.cleaned_data["reason"],
        is_drill=is_drill,
    )
    if not is_backed(access):
        return _done(request, access, "waits")
    return _come_in(request, proof, access)


def _done(request: HttpRequest, access: BreakGlassAccess, state: str) -> HttpResponse:
    return render(request, "sso/break_glass/done.html", {"access": access, "state": state})


def _come_in(request: HttpRequest, proof: Proof, access: BreakGlassAccess) -> HttpResponse:
    """Into the session at hand, or by a new one that ends with the access."""
    user = request.user
    is_in = isinstance(user, User) and user.pk == proof.user.pk
    if isinstance(user, User) and not is_in:
        get_adapter(request).logout(request)
    try:
        with transaction.atomic():
            begun = begin_access(
                actor=_actor(request, proof, access.organization_id), access_id=access.pk
            )
            _record(request, proof, begun)
            response = redirect("orgs:home") if is_in else _sign_in(request, proof, begun)
    except _NotSignedIn as refused:
        clear_login(request)
        _note_failure(request, proof.user.email, "another sign-in is required")
        return refused.response
    if begun.is_drill:
        messages.success(request, "The exercise succeeded: you could come in this way.")
    else:
        request.session[BANNER] = {
            "access": str(begun.pk),
            "organization": begun.organization.name,
            "until": f"{begun.expires_at:%H:%M}",
            "opened": not is_in,
        }
    return response


def _record(request: HttpRequest, proof: Proof, access: BreakGlassAccess) -> None:
    record_authentication(request, proof.user, method="password", email=proof.user.email)
    proof.code.save()
    if not access.is_drill:
        record_authentication(
            request,
            proof.user,
            method="break_glass",
            organization=str(access.organization_id),
            until=access.expires_at.timestamp(),
            access=str(access.pk),
        )


def _sign_in(request: HttpRequest, proof: Proof, access: BreakGlassAccess) -> HttpResponse:
    """A new session.

    Raises:
        _NotSignedIn: another organization demands its own sign-in of the person.
    """
    response: HttpResponse = perform_login(request, proof.user, redirect_url=reverse("orgs:home"))
    if request.user.pk != proof.user.pk:
        raise _NotSignedIn(response)
    request.session.set_expiry(0)
    if not access.is_drill:
        request.session["ends"] = access.expires_at.timestamp()
        note_session(access=access, session_key=request.session.session_key or "")
    return response


@require_http_methods(FORM_METHODS)
@page
def access(request: PageRequest, access_id: UUID) -> HttpResponse:
    """One access: what was asked for, and what an owner can do about it."""
    act = request.POST.get("act", "")
    if request.method == "POST" and act == "end":
        return _end(request, access_id)
    if request.method == "POST" and act == "approve":
        approve_access(actor=request.actor, access_id=access_id)
        messages.success(request, "The access is approved.")
        return redirect("sso:break_glass_access", access_id)
    found = get_access(request.actor, access_id)
    is_open = not found.is_over
    context = {
        "access": found,
        "is_open": is_open,
        "can_approve": is_open
        and not is_backed(found)
        and found.began_at is None
        and found.user_id != request.user.pk,
    }
    return render(request, "sso/break_glass/access.html", context)


def _end(request: PageRequest, access_id: UUID) -> HttpResponse:
    """End it, and one's own session where the access opened that."""
    banner = request.session.get(BANNER, {})
    end_access(actor=request.actor, access_id=access_id)
    if banner.get("access") != str(access_id):
        messages.success(request, "The access is ended.")
        return redirect("sso:break_glass_access", access_id)
    del request.session[BANNER]
    if banner["opened"]:
        get_adapter(request).logout(request)
        return redirect("account_login")
    messages.success(request, "The access is ended.")
    return redirect("orgs:home")

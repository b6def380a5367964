"""allauth's views for accounts, with what they change written down in the same transaction.

allauth tells of some changes only after they are committed; an event that could not be written then
would be missing. So each view here that changes something has a transaction around the change and
its event.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from allauth.account import views as account
from allauth.account.adapter import get_adapter
from allauth.account.forms import UserTokenForm
from allauth.account.internal.flows.email_verification import (
    consume_email_verification_rate_limit,
)
from allauth.account.internal.flows.login import record_authentication
from allauth.account.models import EmailAddress, get_emailconfirmation_model
from allauth.mfa.base import views as mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy
from django.views.decorators.http import require_POST, require_safe

from audit.events import EventType
from orgs import mail
from orgs.account.forms import use_up
from orgs.account.required import elsewhere, keeps_own_password, refuse_sign_in
from orgs.authentication import actor_of, client_ip, grants_of, is_fresh, request_id
from orgs.decorators import PageRequest, page
from orgs.errors import Forbidden
from orgs.identity_providers import identity_providers
from orgs.models import Organization, User
from orgs.selectors.sessions import sessions_of
from orgs.services import accounts


def _note(request: HttpRequest, event: EventType, **detail: object) -> None:
    """Write down what the person signed in did to their account."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101  these views are for people who are signed in
    accounts.record_account_event(event, actor=actor_of(request, user), user=user, detail=detail)


def _has_nothing_to_show(request: HttpRequest) -> bool:
    """Whether the person signed in has neither a password nor a second factor."""
    user = request.user
    return user.is_authenticated and not get_adapter().get_reauthentication_methods(user)


class NotByOrganization:
    """For views of one's own address and password, which some organizations decide on."""

    in_emergencies = False
    """Whether the page is for people, too, who are named to come in by password."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page, or the one that says who decides."""
        user = request.user
        if isinstance(user, User):
            required = identity_providers().required_sign_in(user.email)
            exempt = self.in_emergencies and required is not None and user.pk in required.exempt
            if required is not None and not exempt:
                return elsewhere(request, required)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]  # a view's
        return response


class NeedsProof:
    """For views that need a fresh proof of who is there, also of people who have nothing to show.

    allauth lets those pass. Who signs in elsewhere only has to do that again.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page, or the page that says how to prove it."""
        if _has_nothing_to_show(request) and not is_fresh(request):
            query = urlencode({REDIRECT_FIELD_NAME: request.path})
            return redirect(f"{reverse('account_reauthenticate')}?{query}")
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]  # a view's
        return response


@require_safe
@page
def security(request: PageRequest) -> HttpResponse:
    """How the person signs in, and where they are signed in."""
    user = request.user
    key = request.session.session_key or ""
    return render(
        request,
        "account/security.html",
        {
            "pending": EmailAddress.objects.filter(user=user, verified=False).first(),
            "factors": _factors(user),
            "session_count": len(sessions_of(user, current=key)),
            "required": identity_providers().required_sign_in(user.email),
            "keeps_password": keeps_own_password(user),
            "entered": Organization.objects.filter(
                pk__in=[grant.organization_id for grant in grants_of(request, user)]
            ),
            "has_mail": settings.TAMARACK_HAS_MAIL,
        },
    )


@require_safe
@page
def second_factors(request: PageRequest) -> HttpResponse:
    """The person's authenticator app, passkeys and recovery codes."""
    context = {"factors": _factors(request.user), "kinds": settings.MFA_SUPPORTED_TYPES}
    return render(request, "mfa/index.html", context)


def _factors(user: User) -> dict[str, Any]:
    """By kind: the app, the recovery codes (and how many are left), the passkeys. One query."""
    found: dict[str, Any] = {"totp": None, "recovery_codes": None, "webauthn": []}
    for row in Authenticator.objects.filter(user=user).order_by("created_at", "pk"):
        if row.type == Authenticator.Type.WEBAUTHN:
            found["webauthn"].append(row.wrap())
        else:
            found[row.type] = row
    if found["recovery_codes"]:
        found["codes_left"] = len(found["recovery_codes"].wrap().get_unused_codes())
    return found


@require_safe
@page
def sessions(request: PageRequest) -> HttpResponse:
    """Where the person is signed in."""
    found = sessions_of(request.user, current=request.session.session_key or "")
    return render(request, "usersessions/usersession_list.html", {"sessions": found})


@require_POST
@page
def end_session(request: PageRequest, session_id: int) -> HttpResponse:
    """Sign out there."""
    accounts.end_session(actor=request.actor, user=request.user, session_id=session_id)
    messages.success(request, "That session is signed out.")
    return redirect("usersessions_list")


@require_POST
@page
def end_other_sessions(request: PageRequest) -> HttpResponse:
    """Sign out everywhere else."""
    key = request.session.session_key or ""
    accounts.end_other_sessions(actor=request.actor, user=request.user, keep=key)
    messages.success(request, "You are signed out everywhere else.")
    return redirect("usersessions_list")


class Login(account.LoginView):  # type: ignore[misc]  # allauth has no types
    """Sign in by password."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Before the password is looked at: whether the address's domain demands another way."""
        email = request.POST.get("login", "").strip()
        # What is no address at all is for the form to refuse.
        if email.isprintable() and (required := identity_providers().required_sign_in(email)):
            return refuse_sign_in(request, email, required)
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response


class PasswordChange(NotByOrganization, account.PasswordChangeView):  # type: ignore[misc]  # allauth has no types
    """A new password for somebody who knows the old one."""

    in_emergencies = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Who has none yet gets the first one by mail, which proves the mailbox."""
        if request.user.is_authenticated and not request.user.has_usable_password():
            return redirect("account_reset_password")
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """Password, event and the mail that tells of it."""
        response: HttpResponse = super().form_valid(form)
        return response


class PasswordReset(account.PasswordResetView):  # type: ignore[misc]  # no types
    """A link to a new password, into the mailbox."""

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """The same answer, and about the same work, whether or not anybody has the address."""
        accounts.record_reset_request(
            email=form.cleaned_data["email"],
            ip=client_ip(self.request),
            request_id=request_id(self.request),
        )
        if not form.users:
            mail.pretend()
        response: HttpResponse = super().form_valid(form)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With whether mail leaves this installation."""
        return {**super().get_context_data(**kwargs), "has_mail": settings.TAMARACK_HAS_MAIL}


class PasswordResetDone(account.PasswordResetDoneView):  # type: ignore[misc]  # no types
    """The mail is on its way, if anybody has the address."""

    extra_context = {"has_mail": settings.TAMARACK_HAS_MAIL}  # noqa: RUF012  Django's interface


class PasswordResetFromKey(account.PasswordResetFromKeyView):  # type: ignore[misc]  # no types
    """A new password for somebody with a link out of the mailbox."""

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """Password, event and the mail that tells of it, unless the link was used meanwhile."""
        user = User.objects.select_for_update().get(pk=self.reset_user.pk)
        if not UserTokenForm.token_generator.check_token(user, self.key):
            return redirect(self.request.path)
        response: HttpResponse = super().form_valid(form)
        return response


class Email(NotByOrganization, NeedsProof, account.EmailView):  # type: ignore[misc]  # allauth has no types
    """The person's address, and one that is to take its place."""

    ACTIONS = frozenset({"action_add", "action_send", "action_remove"})

    @transaction.atomic
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Propose an address, send its link again, or think better of it."""
        if not self.ACTIONS & set(request.POST):
            return redirect("account_email")
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def _tell_if_too_soon(self, email: str) -> None:
        if not consume_email_verification_rate_limit(self.request, email, dry_run=True):
            messages.warning(
                self.request,
                f"The last link was sent to {email} less than three minutes ago, so no other one is"
                " on its way. Wait a little, then have it sent again.",
            )

    def _action_send(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        email = request.POST["email"].lower()
        if EmailAddress.objects.filter(user=request.user, email=email, verified=False).exists():
            self._tell_if_too_soon(email)
            super()._action_send(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """The proposed address and its event."""
        self._tell_if_too_soon(form.cleaned_data["email"])
        response: HttpResponse = super().form_valid(form)
        _note(self.request, EventType.EMAIL_ADDED, email=form.cleaned_data["email"])
        return response

    def _action_remove(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        pending = EmailAddress.objects.filter(
            user=request.user, email=request.POST["email"].lower(), verified=False
        )
        if not pending.exists():
            return None
        response = super()._action_remove(request, *args, **kwargs)
        _note(request, EventType.EMAIL_REMOVED, email=request.POST["email"].lower())
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With whether mail leaves this installation."""
        return {**super().get_context_data(**kwargs), "has_mail": settings.TAMARACK_HAS_MAIL}


class ConfirmEmail(account.ConfirmEmailView):  # type: ignore[misc]  # no types
    """The link that proves an address; the address takes the place of the old one."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page, unless an organization decides on one of the addresses by now."""
        found = get_emailconfirmation_model().from_key(kwargs["key"])
        if found:
            for email in (found.email_address.email, found.email_address.user.email):
                required = identity_providers().required_sign_in(email)
                if required is not None:
                    return elsewhere(request, required)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    def post(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """Proof, change and their events, unless somebody else has the address by now."""
        try:
            with transaction.atomic():
                return self._confirm(*args, **kwargs)
        except IntegrityError:
            return redirect("account_confirm_email", kwargs["key"])

    def _confirm(self, *args: Any, **kwargs: Any) -> HttpResponse:
        address = self.get_object().email_address
        user, before = address.user, address.user.email
        response: HttpResponse = super().post(*args, **kwargs)
        if EmailAddress.objects.filter(pk=address.pk, verified=True).exists():
            user.refresh_from_db()
            actor = actor_of(self.request, user)
            detail = {"email": address.email}
            for event in (EventType.EMAIL_VERIFIED, EventType.EMAIL_CHANGED):
                accounts.record_account_event(event, actor=actor, user=user, detail=detail)
            accounts.record_account_event(
                EventType.EMAIL_REMOVED, actor=actor, user=user, detail={"email": before}
            )
        return response


def _entrance_of(request: HttpRequest) -> str:
    """The page that leads to the organization's own sign-in that the person came by; empty: they
    came otherwise, or have something to show here.
    """
    user = request.user
    if not isinstance(user, User):
        return ""
    came_by = [grant for grant in grants_of(request, user) if grant.method == "sso"]
    if not came_by:
        return ""
    required = identity_providers().required_sign_in(user.email)
    if required is None and not _has_nothing_to_show(request):
        return ""
    own = required.organization_id if required else came_by[0].organization_id
    return identity_providers().sign_in_page(own)


class Reauthenticate(account.ReauthenticateView):  # type: ignore[misc]  # no types
    """Prove again who is there, by password."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The form, or the one that fits: who came by an organization's own sign-in, and has no
        password that counts, proves it there.

        Raises:
            Forbidden: the person has nothing to show.
        """
        if entrance := _entrance_of(request):
            next_path = self.get_next_url() or "/"
            query = urlencode({REDIRECT_FIELD_NAME: next_path, "fresh": "1"})
            return redirect(f"{entrance}?{query}")
        if _has_nothing_to_show(request):
            minutes = settings.TAMARACK_REAUTH_SECONDS // 60
            raise Forbidden(
                "This needs a fresh proof that it is you, and you have neither a password nor a"
                f" second factor here. Sign out, sign in again, and do it within {minutes} min."
            )
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        """Noted, then back to where the proof was missing."""
        _note(self.request, EventType.REAUTHENTICATED, kind="password")
        response: HttpResponse = super().form_valid(form)
        return response


class ReauthenticateByCode(mfa.ReauthenticateView):  # type: ignore[misc]  # no types
    """Prove again who is there, by the app's code or a recovery code."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Noted, then back to where the proof was missing."""
        _note(self.request, EventType.REAUTHENTICATED, kind=form.authenticator.type)
        response: HttpResponse = super().form_valid(form)
        return response


class ReauthenticateByPasskey(webauthn.ReauthenticateWebAuthnView):  # type: ignore[misc]  # no types
    """Prove again who is there, by passkey."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Noted, then back to where the proof was missing."""
        _note(self.request, EventType.REAUTHENTICATED, kind="webauthn")
        response: HttpResponse = super().form_valid(form)
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        """Once more; allauth would lead away."""
        messages.error(self.request, "That passkey was not accepted. Try again.")
        return redirect(self.passthrough_next_url(reverse("mfa_reauthenticate_webauthn")))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With where to go afterwards and by what else, which allauth forgets here."""
        return {
            **super().get_context_data(**kwargs),
            "redirect_field_name": self.redirect_field_name,
            "redirect_field_value": self.get_next_url() or "",
            "reauthentication_alternatives": self.get_reauthentication_alternatives(),
        }


class ActivateApp(NeedsProof, totp.ActivateTOTPView):  # type: ignore[misc]  # no types
    """Take an authenticator app into use."""

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """The app, the recovery codes that come with the first factor, and their events."""
        response: HttpResponse = super().form_valid(form)
        app = Authenticator.objects.get(user=self.request.user, type=Authenticator.Type.TOTP)
        # The code has done its work: it lets nobody in a second time.
        use_up(self.request.user, form.cleaned_data["code"])
        _enrolled(self.request, app, has_new_codes=self.did_generate_recovery_codes)
        return response


class DeactivateApp(totp.DeactivateTOTPView):  # type: ignore[misc]  # no types
    """Give an authenticator app up."""

    success_url = reverse_lazy("mfa_index")

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """Gone, recovery codes too where it was the last factor, and noted."""
        response: HttpResponse = super().form_valid(form)
        _note(self.request, EventType.MFA_DISABLED, kind="totp")
        return response


class AddPasskey(NeedsProof, webauthn.AddWebAuthnView):  # type: ignore[misc]  # no types
    """Take a passkey or security key into use."""

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """The passkey, the recovery codes that come with the first factor, and their events."""
        response: HttpResponse = super().form_valid(form)
        passkeys = Authenticator.objects.filter(user=self.request.user, type="webauthn")
        newest = passkeys.order_by("-pk")[0]
        _enrolled(self.request, newest, has_new_codes=self.did_generate_recovery_codes)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the form as it was filled in, which allauth forgets here."""
        return {**super().get_context_data(**kwargs), **kwargs}


class RemovePasskey(webauthn.RemoveWebAuthnView):  # type: ignore[misc]  # no types
    """Give a passkey or security key up."""

    success_url = reverse_lazy("mfa_index")

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """Gone, recovery codes too where it was the last factor, and noted."""
        name = self.object.wrap().name
        response: HttpResponse = super().form_valid(form)
        _note(self.request, EventType.MFA_DISABLED, kind="webauthn", name=name)
        return response


class NewRecoveryCodes(recovery_codes.GenerateRecoveryCodesView):  # type: ignore[misc]  # no types
    """Make new recovery codes; the old ones stop working."""

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """Made and noted."""
        response: HttpResponse = super().form_valid(form)
        _note(self.request, EventType.RECOVERY_CODES_GENERATED)
        return response


class RecoveryCodes(recovery_codes.ViewRecoveryCodesView):  # type: ignore[misc]  # no types
    """Show the recovery codes, once."""

    @transaction.atomic
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The codes, where nobody has seen them yet, and the note that somebody has now."""
        row = Authenticator.objects.select_for_update().filter(
            user=request.user, type=Authenticator.Type.RECOVERY_CODES
        )
        row.first()  # two requests at once: the second one finds them shown
        response: TemplateResponse = super().get(request, *args, **kwargs)
        if response.context_data and response.context_data["can_view_codes"]:
            _note(request, EventType.RECOVERY_CODES_VIEWED)
        response["Cache-Control"] = "no-store"
        return response


def _enrolled(request: HttpRequest, factor: Authenticator, *, has_new_codes: bool) -> None:
    """Note a new second factor; showing it was a proof of who is there, too."""
    detail = {"name": factor.wrap().name} if factor.type == "webauthn" else {}
    _note(request, EventType.MFA_ENABLED, kind=factor.type, **detail)
    if has_new_codes:
        _note(request, EventType.RECOVERY_CODES_GENERATED)
    record_authentication(request, request.user, "mfa", id=factor.pk, type=factor.type)

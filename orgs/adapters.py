"""What allauth has to do our way."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import qrcode
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import clear_authentication_records
from allauth.account.internal.stagekit import clear_login
from allauth.core import context as allauth_context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse  # noqa: TID251  allauth's interface
from django.shortcuts import redirect  # noqa: TID251  likewise
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme

from kms.envelope import WrappedKey
from kms.installation import provider
from orgs import mail
from orgs.account.required import keeps_own_password, missing_sign_in, refuse_sign_in
from orgs.authentication import (
    actor_of,
    client_ip,
    connections_of_session,
    is_fresh,
    kinds_of_proof,
    request_id,
)
from orgs.errors import Forbidden
from orgs.identity_providers import identity_providers
from orgs.models import User
from orgs.services import people

RESET_TEMPLATE = "account/email/password_reset_key"
ELSEWHERE_TEMPLATE = "account/email/sign_in_elsewhere"
SECOND_FACTOR_STAGE = "allauth.mfa.stages.AuthenticateStage"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """People are made by an operator or an invitation; who comes and goes is written down."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: nobody signs up alone."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """What rate limits count by; requests without an address share one count."""
        return client_ip(request) or "0.0.0.0"  # noqa: S104  an address for nobody, not to bind to

    def is_safe_url(self, url: str) -> bool:
        """Whether a sign-in may lead to `url`: paths of this site only.

        allauth would go to every host of ALLOWED_HOSTS, the visitor's own machine among them, and
        by plain HTTP.
        """
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def is_reauthentication_required(self, *, app: str, **_: Any) -> bool:
        """As for services: after `TAMARACK_REAUTH_SECONDS`, counted from the sign-in too."""
        return not is_fresh(self.request)

    def get_login_stages(self) -> list[str]:
        """allauth's, with our own second factor."""
        ours = "orgs.account.stages.SecondFactorStage"
        stages: list[str] = super().get_login_stages()
        return [ours if stage == SECOND_FACTOR_STAGE else stage for stage in stages]

    def clean_email(self, email: str) -> str:
        """An address that somebody wants to have.

        Raises:
            ValidationError: its domain's people come by their organization's own sign-in only.
        """
        required = identity_providers().required_sign_in(email)
        if required is not None:
            raise ValidationError(
                f"{email} is an address of {required.organization_name}, whose people sign in"
                " through it. Ask there for an account."
            )
        return email

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """Before any sign-in, by whatever means; an answer ends it."""
        answer: HttpResponse | None = super().pre_login(request, user, **kwargs)
        if answer is None and (required := missing_sign_in(request, user)):
            clear_login(request)
            answer = refuse_sign_in(request, user.email, required)
        return answer

    def login(self, request: HttpRequest, user: User) -> None:
        """Open the session, unless the audit trail can't be written.

        Raises:
            ImmediateHttpResponse: after the password was checked, the account was switched off, or
                its organization began to demand its own sign-in; or, before the second factor was,
                the connection that the person came by was switched off.
        """
        if not user.is_active:
            clear_login(request)
            raise ImmediateHttpResponse(self.respond_user_inactive(request, user))
        if required := missing_sign_in(request, user):
            clear_login(request)
            raise ImmediateHttpResponse(refuse_sign_in(request, user.email, required))
        if not all(
            identity_providers().sign_in_stands(connection_id, user.pk)
            for connection_id in connections_of_session(request, user)
        ):
            clear_login(request)
            clear_authentication_records(request)
            messages.error(request, "Your organization's sign-in changed meanwhile. Start over.")
            raise ImmediateHttpResponse(redirect("account_login"))
        kind = "+".join(kinds_of_proof(request, user))
        with transaction.atomic():
            super().login(request, user)
            now = int(time.time())
            request.session.update({"started": now, "seen": now})
            people.record_sign_in(actor=actor_of(request, user), user=user, kind=kind)

    def logout(self, request: HttpRequest) -> None:
        """End the session."""
        user = request.user
        with transaction.atomic():
            if isinstance(user, User):
                people.record_sign_out(actor=actor_of(request, user), user=user)
            super().logout(request)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Unknown address or wrong password: the trail does not tell them apart either."""
        self._record_failure(request, str(credentials.get("email", "")), "wrong credentials")

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """The password was right, but the account is switched off."""
        self._record_failure(request, user.email, "account is switched off")
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response

    def confirm_email(self, request: HttpRequest, email_address: Any) -> bool:
        """Let a proven address take the old one's place, unless an organization decides on one of
        them.
        """
        addresses = (email_address.email, email_address.user.email)
        if any(identity_providers().required_sign_in(each) for each in addresses):
            return False
        return bool(super().confirm_email(request, email_address))

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """The link; who has to sign in elsewhere gets the way there instead."""
        required = identity_providers().required_sign_in(user.email)
        if required is None or user.pk in required.exempt:
            self.send_mail(RESET_TEMPLATE, email, context)
            return
        url = settings.TAMARACK_PUBLIC_URL + required.url
        found = {"organization_name": required.organization_name, "sign_in_url": url}
        self.send_mail(ELSEWHERE_TEMPLATE, email, found)

    def set_password(self, user: User, password: str) -> None:
        """A password changed by its owner, signed in or with a link out of the mailbox.

        Raises:
            Forbidden: no password lets the person in.
        """
        if not keeps_own_password(user):
            raise Forbidden(
                "Your organization requires its own sign-in, so no password would let you in. Sign"
                " in through your organization."
            )
        people.change_password(
            actor=actor_of(self.request, user),
            user=user,
            password=password,
            by_mail=self.request.resolver_match.url_name == "account_reset_password_from_key",
        )

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Our own address, not the one that the request came to: whoever asks chooses that."""
        path: str = reverse(
            "account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"}
        )
        return settings.TAMARACK_PUBLIC_URL + path.replace("UID-KEY", key)

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """Our own address, likewise."""
        path: str = reverse("account_confirm_email", args=[emailconfirmation.key])
        return settings.TAMARACK_PUBLIC_URL + path

    def get_email_verification_redirect_url(self, email_address: Any) -> str:
        """Where a proven address leads."""
        signed_in = self.request.user.is_authenticated
        return reverse("account_email" if signed_in else "account_login")

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        """Where signing out leads; asked while the session still is there."""
        key = request.session.session_key if request.user.is_authenticated else ""
        page = identity_providers().page_after_sign_out(key) if key else ""
        return page or str(super().get_logout_redirect_url(request))

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Where a changed password leads."""
        return reverse("account_security")

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write the message down; it leaves when the change that it speaks of is committed."""
        address = settings.TAMARACK_PUBLIC_URL
        message = self.render_mail(
            template_prefix,
            email,
            {"request": allauth_context.request, "email": email, "address": address, **context},
        )
        seconds = settings.PASSWORD_RESET_TIMEOUT if template_prefix == RESET_TEMPLATE else 0
        mail.send(
            to=email,
            subject=message.subject,
            text=message.body,
            lifetime=timedelta(seconds=seconds) or mail.LIFETIME,
        )

    def _record_failure(self, request: HttpRequest, email: str, reason: str) -> None:
        people.record_failed_sign_in(
            email=email, reason=reason, ip=client_ip(request), request_id=request_id(request)
        )


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth ships no types
    """Second factors: kept encrypted, bound to this installation's public name."""

    CONTEXT = {"purpose": "second-factor"}  # noqa: RUF012  never changed

    def encrypt(self, text: str) -> str:
        """What of a TOTP key or of recovery codes goes into the database.

        Raises:
            KeyUnavailable: the root key can't be used; then nothing is stored.
        """
        return provider().wrap(text.encode(), context=self.CONTEXT).dump()

    def decrypt(self, encrypted_text: str) -> str:
        """The inverse of `encrypt`.

        Raises:
            KeyUnavailable: the root key can't be used; then no code is right.
        """
        return provider().unwrap(WrappedKey.load(encrypted_text), context=self.CONTEXT).decode()

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        """What a passkey is called until the person says otherwise."""
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return f"Passkey {number}"

    def build_totp_svg(self, url: str) -> str:
        """The QR code as inline SVG: black on white whatever the theme, since cameras need that."""
        code = qrcode.QRCode(border=4)
        code.add_data(url)
        rows = code.get_matrix()
        path = "".join(
            f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark
        )
        size = len(rows)
        return format_html(
            '<svg class="qr" viewBox="0 0 {} {}" width="200" height="200" role="img"'
            ' aria-label="QR code with the setup key"><path fill="#fff" d="M0 0h{}v{}H0z"/>'
            '<path fill="#000" d="{}"/></svg>',
            *(size, size, size, size, path),
        )

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """The public host, whichever name the request came by: passkeys are bound to it."""
        return {"id": settings.TAMARACK_PUBLIC_HOST, "name": "Tamarack"}

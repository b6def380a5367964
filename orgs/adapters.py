"""What allauth has to do our way."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest, HttpResponse  # noqa: TID251  allauth's interface
from django.utils.http import url_has_allowed_host_and_scheme

from orgs.authentication import actor_of, client_ip, request_id
from orgs.models import User
from orgs.services import people as services


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """People are made by an operator or an invitation; who comes and goes is written down."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: nobody signs up alone."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """What rate limits count by; requests without an address share one count."""
        return client_ip(request) or "unknown"

    def is_safe_url(self, url: str) -> bool:
        """Whether a sign-in may lead to `url`: paths of this site only.

        allauth would go to every host of ALLOWED_HOSTS, the visitor's own machine among them, and
        by plain HTTP.
        """
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def login(self, request: HttpRequest, user: User) -> None:
        """Open the session, unless the audit trail can't be written."""
        with transaction.atomic():
            super().login(request, user)
            services.record_sign_in(actor=actor_of(request, user), user=user)

    def logout(self, request: HttpRequest) -> None:
        """End the session."""
        user = request.user
        with transaction.atomic():
            if isinstance(user, User):
                services.record_sign_out(actor=actor_of(request, user), user=user)
            super().logout(request)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Unknown address or wrong password: the trail does not tell them apart either."""
        self._record_failure(request, str(credentials.get("email", "")), "wrong credentials")

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """The password was right, but the account is switched off."""
        self._record_failure(request, user.email, "account is switched off")
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response

    def set_password(self, user: User, password: str) -> None:
        """A password changed by its owner."""
        services.change_password(actor=actor_of(self.request, user), user=user, password=password)

    def _record_failure(self, request: HttpRequest, email: str, reason: str) -> None:
        services.record_failed_sign_in(
            email=email, reason=reason, ip=client_ip(request), request_id=request_id(request)
        )

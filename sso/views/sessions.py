"""What a session holds of sign-ins through identity providers."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import (
    AUTHENTICATION_METHODS_SESSION_KEY,
    get_authentication_records,
    record_authentication,
)
from allauth.account.internal.flows.logout import logout
from allauth.account.internal.stagekit import clear_login
from allauth.account.utils import perform_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from orgs.models import User
from sso.identities import VerifiedAssertion
from sso.services.sign_in import LetIn
from sso.signals import remember

METHOD = "sso"


def open_session(
    request: HttpRequest, let_in: LetIn, assertion: VerifiedAssertion, *, next_path: str
) -> HttpResponse:
    """Sign the person in, unless a second factor is still to come. Who is signed in as somebody
    else is signed out first.
    """
    user = request.user
    if isinstance(user, User) and user.pk == let_in.user.pk:
        add_grant(request, let_in, assertion, is_fresh=False)
        return HttpResponseRedirect(next_path or "/")
    if isinstance(user, User):
        logout(request, show_message=False)
        request.session.flush()
    # Nothing that was shown half way through another sign-in counts here.
    clear_login(request)
    record_authentication(request, let_in.user, METHOD, **_proof(let_in, assertion), opened=True)
    response: HttpResponse = perform_login(request, let_in.user, redirect_url=next_path or None)
    return response


def add_grant(
    request: HttpRequest, let_in: LetIn, assertion: VerifiedAssertion, *, is_fresh: bool
) -> None:
    """Let the person who is signed in into one more organization, or for longer.

    `is_fresh`: the identity provider was asked to have the person prove anew who they are. That
    counts for dangerous acts only where the organization owns the person's address; otherwise the
    proof given before goes on to count from when it was given.
    """
    user = let_in.user
    before = get_authentication_records(request, user)
    ours = [each for each in before if each.get("connection") == str(let_in.connection.pk)]
    opened = any(each.get("opened") for each in ours)
    _keep_records(request, [each for each in before if each not in ours])
    record_authentication(request, user, METHOD, **_proof(let_in, assertion), opened=opened)
    records = get_authentication_records(request, user)
    if not (is_fresh and let_in.opens_sessions):
        records[-1]["at"] = max((float(each["at"]) for each in before), default=0.0)
        _keep_records(request, records)
    if opened:
        request.session["ends"] = records[-1]["until"]
    remember(request, user, records[-1])


def _proof(let_in: LetIn, assertion: VerifiedAssertion) -> dict[str, Any]:
    return {
        "connection": str(let_in.connection.pk),
        "organization": str(let_in.connection.organization_id),
        "until": let_in.until.timestamp(),
        "mfa": let_in.connection.trusts_idp_mfa,
        "name_id": assertion.name_id,
        "name_id_format": assertion.name_id_format,
        "session_index": assertion.session_index,
    }


def _keep_records(request: HttpRequest, records: list[dict[str, Any]]) -> None:
    request.session[AUTHENTICATION_METHODS_SESSION_KEY] = records

"""The page for whom a sign-in did not come about."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from orgs.authentication import client_ip, request_id
from orgs.models import User
from sso.errors import PUBLIC_TEXTS, Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Attempt, Connection
from sso.services.attempts import Visitor, record_refusal


def visitor_of(request: HttpRequest) -> Visitor:
    """Where the request comes from."""
    return Visitor(ip=client_ip(request), request_id=request_id(request))


def refuse(
    request: HttpRequest,
    connection: Connection,
    purpose: str,
    refused: SignInRefused,
    *,
    assertion: VerifiedAssertion | None = None,
    user: User | None = None,
) -> HttpResponse:
    """Write the refusal into the sign-in log, and say what everybody may know of it."""
    attempt = record_refusal(
        connection,
        purpose,
        refused,
        assertion=assertion,
        user=user,
        visitor=visitor_of(request),
    )
    return refusal_page(request, attempt)


def refusal_page(request: HttpRequest, attempt: Attempt) -> HttpResponse:
    """Public code, what to do, and the reference by which an owner finds the reason."""
    code = Code(attempt.code)
    return render(
        request,
        "sso/sign_in/refused.html",
        {"attempt": attempt, "text": PUBLIC_TEXTS[code]},
        status=400 if code == Code.INVALID_RESPONSE else 403,
    )

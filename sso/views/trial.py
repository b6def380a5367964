"""Trying a connection, for owners."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from orgs.authentication import actor_of
from orgs.models import User
from sso.errors import PUBLIC_TEXTS, Code, SignInRefused
from sso.models import SignInRequest
from sso.services import requests
from sso.services.attempts import OK
from sso.services.trial import conclude_refused_test, conclude_test
from sso.views.refusals import refuse, visitor_of


def trial_result(request: HttpRequest, row: SignInRequest) -> HttpResponse:
    """What came back, and what a sign-in would do with it. Nobody is signed in by it."""
    user = request.user
    if not isinstance(user, User):
        query = urlencode({REDIRECT_FIELD_NAME: request.get_full_path()})
        return redirect(f"/accounts/login/?{query}")
    try:
        if user.pk != row.user_id:
            raise SignInRefused(Code.OTHER_PERSON, "Somebody else is signed in than who tests.")
        requests.claim(row)
    except SignInRefused as refused:
        return refuse(request, row.connection, row.purpose, refused, user=row.user)
    actor = actor_of(request, user)
    if "attempt" in (row.answer or {}):
        trial = conclude_refused_test(actor=actor, row=row)
    else:
        trial = conclude_test(
            actor=actor,
            row=row,
            assertion=requests.proven_by(row),
            visitor=visitor_of(request),
        )
    code = trial.attempt.code
    context = {
        "connection": row.connection,
        "organization": row.connection.organization,
        "trial": trial,
        "succeeded": code == OK,
        "text": "" if code == OK else PUBLIC_TEXTS[Code(code)],
    }
    return render(request, "sso/sign_in/tested.html", context)

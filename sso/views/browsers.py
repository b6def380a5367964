"""What ties a sign-in to the browser that began it: a cookie per request, and paths of ours."""

from __future__ import annotations

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme

from sso.models import SignInRequest
from sso.services.requests import LIFETIME, Begun

COOKIE_PREFIX = "__Host-tamarack-sso-"
MAX_COOKIES = 10
"""So many sign-ins may be under way in one browser; the next one drops the others."""


def cookie_name(row: SignInRequest) -> str:
    """One per request: several tabs may sign in at once."""
    return f"{COOKIE_PREFIX}{row.pk.hex[:16]}"


def bind_browser(request: HttpRequest, response: HttpResponse, begun: Begun) -> HttpResponse:
    """Have the browser keep the secret by which it is known when it comes back.

    Lax, not None: the identity provider's answer comes without it, the page after that with it.
    """
    kept = [name for name in request.COOKIES if name.startswith(COOKIE_PREFIX)]
    if len(kept) >= MAX_COOKIES:
        for name in kept:
            _drop(response, name)
    response.set_cookie(
        cookie_name(begun.row),
        begun.browser_secret,
        max_age=int(LIFETIME.total_seconds()),
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


def secret_of(request: HttpRequest, row: SignInRequest) -> str:
    """What the browser kept; empty: nothing."""
    return request.COOKIES.get(cookie_name(row), "")


def forget_browser(response: HttpResponse, row: SignInRequest) -> HttpResponse:
    """The secret is used up."""
    _drop(response, cookie_name(row))
    return response


def _drop(response: HttpResponse, name: str) -> None:
    # A `__Host-` cookie is only taken, and so only deleted, with `Secure`.
    response.set_cookie(name, "", max_age=0, secure=True, httponly=True, samesite="Lax")


def next_path(request: HttpRequest) -> str:
    """Where the person wants to go: a path of this site; empty: nowhere, or elsewhere."""
    data = request.POST if request.method == "POST" else request.GET
    wanted = data.get(REDIRECT_FIELD_NAME, "")
    if not wanted.startswith("/") or not wanted.isprintable():
        return ""
    return wanted if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else ""

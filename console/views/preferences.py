"""How the dashboard looks to whoever looks at it."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

COOKIE = "theme"
THEMES = ("light", "dark")
A_YEAR = 365 * 86_400


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in a cookie; without a known one, the other one than before. Leads back."""
    wanted = request.POST.get("theme", "")
    if wanted not in THEMES:
        wanted = "light" if request.COOKIES.get(COOKIE) == "dark" else "dark"
    back = request.POST.get("next", "")
    answer = redirect(back if url_has_allowed_host_and_scheme(back, allowed_hosts=None) else "/")
    answer.set_cookie(
        COOKIE,
        wanted,
        max_age=A_YEAR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return answer

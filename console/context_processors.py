"""What every page's template knows."""

from __future__ import annotations

from django.http import HttpRequest

from console.views.preferences import COOKIE, THEMES


def appearance(request: HttpRequest) -> dict[str, str]:
    """`theme`: the one that the visitor chose, or empty for the system's."""
    chosen = request.COOKIES.get(COOKIE, "")
    return {"theme": chosen if chosen in THEMES else ""}

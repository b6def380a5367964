"""Answers of OpenID providers, which come in the address of a request of the browser itself."""

from __future__ import annotations

from sso.errors import Code, SignInRefused
from sso.models import SignInRequest
from sso.services.requests import check_browser


def use_state(row: SignInRequest, *, browser_secret: str) -> None:
    """Take the one answer that the request's `state` is good for. Whatever comes of it, no second
    one finds the request: nobody can try codes on it.

    Args:
        browser_secret: what the browser's cookie holds.

    Raises:
        SignInRefused: another browser came, or another answer was faster.
    """
    check_browser(row, browser_secret)
    waiting = SignInRequest.objects.filter(pk=row.pk, request_id=row.request_id, answered_at=None)
    if not waiting.update(request_id=f"used:{row.pk}"):
        raise SignInRefused(Code.REQUEST_OVER, "The state was used before.")

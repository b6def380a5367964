"""Answers of OpenID providers, which come in the address of a request of the browser itself."""

from __future__ import annotations

from sso.errors import Code, SignInRefused
from sso.models import Connection, SignInRequest
from sso.services.requests import check_browser, find_request


def take_answer(connection: Connection, *, state: str, browser_secret: str) -> SignInRequest:
    """The request that an answer belongs to. Its `state` is used up: whatever comes of the answer,
    no second one finds the request, so nobody can try codes on it.

    Args:
        browser_secret: what the browser's cookie holds.

    Raises:
        SignInRefused: this connection sent no such request, it is over, another browser came, or
            the state was used.
    """
    row = find_request(connection, state)
    check_browser(row, browser_secret)
    waiting = SignInRequest.objects.filter(pk=row.pk, request_id=state, answered_at=None)
    if not row.browser_hash or not waiting.update(request_id=f"used:{row.pk}"):
        raise SignInRefused(Code.REQUEST_OVER, "The state was used before.")
    return row

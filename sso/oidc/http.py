"""Asking an OpenID provider: every request that allauth's client sends goes through here.

The addresses are typed in by people of one organization or come from their provider's documents, so
they get what `audit.streams` gives to all such: https with a certificate to trust, public addresses
only, no redirects, no proxies, and an end to patience.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter

from audit.streams.https import MAX_ANSWER, send
from audit.streams.targets import DeliveryFailed
from rest.wording import shown

_OK = 200
_MAX_URL = 2048


class Unanswered(requests.RequestException):
    """No answer that could be used; the text says why, for the organization's owners.

    Attributes:
        code: the error's name by RFC 6749 that the provider gave; empty: none.
    """

    def __init__(self, text: str, *, code: str = "") -> None:
        super().__init__(text)
        self.code = code


def safe_session() -> requests.Session:
    """A session that speaks https to public addresses and takes JSON objects with status 200.

    Nothing of it is shared: no cookies, no `.netrc`, no proxies of the environment.
    """
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.headers["User-Agent"] = "Tamarack"
    session.headers["Accept"] = "application/json"
    session.adapters.clear()
    session.mount("https://", _SafeAdapter())
    return session


class _SafeAdapter(BaseAdapter):
    """Sends by `audit.streams.https`, where the address is checked and the time is counted."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """The answer, if it is a JSON object.

        Raises:
            Unanswered: it is not, or none came.
        """
        url = request.url or ""
        if not is_https(url):
            raise Unanswered(f"{shown(url)} is no address that may be asked.")
        headers = {name: str(value) for name, value in request.headers.items()}
        headers.pop("Content-Length", None)
        headers["Host"] = urlsplit(url).netloc
        form = str(request.body or "").encode()
        try:
            answer = send(str(request.method), url, headers=headers, body=form)
        except DeliveryFailed as error:
            raise Unanswered(str(error)) from error
        place = url.partition("?")[0]
        if len(answer.body) >= MAX_ANSWER:
            raise Unanswered(f"{place} answered {MAX_ANSWER} bytes or more.")
        found = _object(answer.body)
        if answer.status != _OK:
            code = found.get("error") if found is not None else None
            named = f" {shown(code)}" if code else ""
            raise Unanswered(
                f"{place} answered {answer.status}{named}; it has to be 200, without a redirect.",
                code=code if isinstance(code, str) else "",
            )
        if found is None:
            raise Unanswered(f"{place} answered no JSON object.")
        response = requests.Response()
        response.request, response.url, response.status_code = request, url, _OK
        response.headers["content-type"] = "application/json"
        # As read here: what nobody else's parser reads in another way.
        response._content = json.dumps(found).encode()
        return response

    def close(self) -> None:
        """Connections end with their answer."""


def is_https(url: object) -> bool:
    """Whether it has the form of an address that may be asked; where it leads is checked then."""
    if not isinstance(url, str) or not 0 < len(url) <= _MAX_URL:
        return False
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and bool(parts.hostname)
        and port_fits
        and parts.username is None
        and not parts.fragment
        and re.fullmatch(r"[!-~]+", url) is not None
    )


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

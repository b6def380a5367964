"""What happens around every request: it gets a name, refusals get a form, sessions end in time."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME, SESSION_KEY
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from controlplane.errors import answer_to, respond, wants_page
from controlplane.logs import current_request
from kms.envelope import KeyUnavailable
from orgs.errors import ReauthenticationRequired, Refused, SignInRequired

WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{8,64}")
GetResponse = Callable[[HttpRequest], HttpResponse]


class RequestIdMiddleware:
    """Takes the gateway's `X-Request-Id`, or makes one.

    It stands in the answer, in every log line, and as `request.request_id`.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if WELL_FORMED.fullmatch(given) else str(uuid.uuid4())
        request.request_id = request_id  # type: ignore[attr-defined]  # for logs and audit
        token = current_request.set(request_id)
        try:
            response = self.get_response(request)
        finally:
            current_request.reset(token)
        # The second name is the one that Pinecone's clients show.
        response["X-Request-Id"] = response["X-Pinecone-Request-Id"] = request_id
        return response


class RefusalMiddleware:
    """Turns what a page's service refused into an answer. REST has its own hook for the same.

    Where a fresh proof of who is there or an organization's own sign-in is missing, people are led
    to give it, and back.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The answer, or None for what Django answers itself and for bugs."""
        if isinstance(error, SignInRequired) and wants_page(request):
            query = urlencode({REDIRECT_FIELD_NAME: _page_of(request)})
            return HttpResponseRedirect(f"{error.url}?{query}")
        if isinstance(error, ReauthenticationRequired) and wants_page(request):
            query = urlencode({REDIRECT_FIELD_NAME: _page_of(request)})
            return HttpResponseRedirect(f"{reverse('account_reauthenticate')}?{query}")
        answer = answer_to(error) if isinstance(error, (Refused, KeyUnavailable)) else None
        return respond(request, answer) if answer else None


def _page_of(request: HttpRequest) -> str:
    """The page that the person acts on: this one, or the one that the form was sent from.

    The form is to be sent again there; what was filled in is not kept.
    """
    if request.method in {"GET", "HEAD"}:
        return request.get_full_path()
    came_from = urlsplit(request.headers.get("Referer", ""))
    if f"{came_from.scheme}://{came_from.netloc}" == settings.TAMARACK_PUBLIC_URL:
        return came_from._replace(scheme="", netloc="", fragment="").geturl() or "/"
    return request.path


class KeyNameMiddleware:
    """Names the API key that called, and which of its secrets, for the gateway's access log.

    Authentication leaves both on the request as `key_names`; the gateway takes them out of the
    answer.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if names := getattr(request, "key_names", None):
            response["X-Tamarack-Key"], response["X-Tamarack-Secret"] = names
        return response


class SessionLimitsMiddleware:
    """Signs out who was idle for too long, or came in too long ago however busy since."""

    TOUCH_SECONDS = 60

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        session = request.session
        if SESSION_KEY in session:
            now = int(time.time())
            started, seen = session.get("started", now), session.get("seen", 0)
            idle = now - seen if seen else 0
            # `ends`: as long as the identity provider, or the organization, lets the sign-in last.
            ends = min(session.get("ends", math.inf), started + settings.SESSION_COOKIE_AGE)
            if idle > settings.TAMARACK_SESSION_IDLE or now > ends:
                session.flush()
            elif not seen or idle >= self.TOUCH_SECONDS:
                session.update({"started": started, "seen": now})
                # For the person's list of sessions.
                UserSession.objects.filter(session_key=session.session_key).update(
                    last_seen_at=timezone.now()
                )
        return self.get_response(request)

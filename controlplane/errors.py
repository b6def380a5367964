"""Refusals as answers: Pinecone's error body for programs, a page for people."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template import loader
from rest_framework import exceptions
from rest_framework.response import Response

from controlplane.denials import DECISION_HEADER, decision_of
from kms.envelope import KeyUnavailable
from orgs.errors import Code, Refused, TooManyRequests
from rest.errors import Refusal

logger = logging.getLogger(__name__)

API_PREFIXES = (
    *("/indexes", "/collections", "/backups", "/admin/", "/api/", "/oauth/", "/.well-known/"),
    *("/assistant/", "/healthz", "/scim/"),
)
"""Paths of programs: their answers are JSON whatever the client says it accepts."""

STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.FORBIDDEN: 403,
    Code.QUOTA_EXCEEDED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.PAYMENT_REQUIRED: 402,
    Code.FAILED_PRECONDITION: 412,
    Code.UNPROCESSABLE_ENTITY: 422,
    Code.UNAVAILABLE: 503,
}
NO_KEYS = "Encryption keys can't be used right now; the operator's log tells why."

KNOWN: tuple[tuple[type[Exception], int | None, Code, str], ...] = (
    (KeyUnavailable, 503, Code.UNAVAILABLE, NO_KEYS),
    (exceptions.AuthenticationFailed, 401, Code.UNAUTHENTICATED, "{error.detail}"),
    (exceptions.NotAuthenticated, 401, Code.UNAUTHENTICATED, "{error.detail}"),
    (
        exceptions.ParseError,
        422,
        Code.UNPROCESSABLE_ENTITY,
        "The body is not valid JSON: {error.detail}",
    ),
    (
        exceptions.UnsupportedMediaType,
        415,
        Code.INVALID_ARGUMENT,
        "{error.detail} Send application/json.",
    ),
    (Http404, 404, Code.NOT_FOUND, "No such resource."),
    (PermissionDenied, 403, Code.PERMISSION_DENIED, "You may not do this."),
    (exceptions.APIException, None, Code.INVALID_ARGUMENT, "{error.detail}"),
)
"""What a view may raise besides `Refused`, the first match counting: status (None: the exception's
own), code, and the text with `error` in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal before it has a form."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    decision_id: str = ""

    @property
    def body(self) -> dict[str, object]:
        """`{"status", "error": {"code", "message"}}`, as Pinecone's clients read it.

        A denial that can be looked up adds `details`.
        """
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.decision_id:
            error["details"] = {"decision_id": self.decision_id}
        return {"status": self.status, "error": error}


def answer_to(error: Exception) -> Answer | None:
    """What to say, or None for what is not known here: a bug."""
    if isinstance(error, TooManyRequests):
        headers = {"Retry-After": str(error.retry_after)}
        return Answer(STATUS[error.code], error.code.value, error.message, headers)
    if isinstance(error, Refused):
        decision_id = str(decision_of(error) or "")
        headers = {DECISION_HEADER: decision_id} if decision_id else {}
        return Answer(STATUS[error.code], error.code.value, error.message, headers, decision_id)
    if isinstance(error, Refusal):
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return Answer(error.status_code, error.code, error.message, headers)
    if isinstance(error, KeyUnavailable):
        logger.error("A key can't be used: %s", error)
    for kind, fixed, code, text in KNOWN:
        if isinstance(error, kind):
            status = fixed or int(getattr(error, "status_code", HTTPStatus.BAD_REQUEST))
            scheme = getattr(error, "auth_header", None) or "Api-Key"
            headers = {"WWW-Authenticate": scheme} if status == HTTPStatus.UNAUTHORIZED else {}
            return Answer(status, code.value, text.format(error=error), headers)
    return None


def exception_handler(error: Exception, context: dict[str, object]) -> Response | None:
    """REST framework's hook; what it leaves alone becomes the 500 answer."""
    answer = answer_to(error)
    if answer is None:
        return None
    return Response(answer.body, status=answer.status, headers=answer.headers)


TITLES = {
    400: "This request can't be understood",
    403: "You may not do this",
    404: "There is nothing here",
    409: "This exists already",
    412: "Not in this state",
    422: "This can't be done as asked",
    429: "Too many attempts",
    500: "Something failed on our side",
    503: "Not available right now",
}


def respond(request: HttpRequest, answer: Answer) -> HttpResponse:
    """The answer in the form that the client reads: a page for browsers, JSON for all others."""
    if not wants_page(request):
        return JsonResponse(answer.body, status=answer.status, headers=answer.headers)
    # Rendered without the request: no session, no database, nothing that may have failed already.
    text = loader.render_to_string(
        "errors/page.html",
        {
            "status": answer.status,
            "title": TITLES.get(answer.status, "This did not work"),
            "message": answer.message,
            "request_id": getattr(request, "request_id", ""),
            "decision_id": answer.decision_id,
        },
    )
    # A 404 may be kept by caches unless it says otherwise.
    headers = {**(answer.headers or {}), "Cache-Control": "no-store"}
    return HttpResponse(text, status=answer.status, headers=headers)


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser asks for something that is no API."""
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(
        API_PREFIXES
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to a request that Django itself finds wrong, such as a body that is too large."""
    text = "The request is malformed or too large. Check it and send it again."
    if isinstance(exception, DisallowedHost):
        host = request.headers.get("Host", "")
        text = (
            f"The control plane does not answer to the host name {host[:100]!r}."
            f" Use {settings.TAMARACK_PUBLIC_URL}."
        )
    return respond(request, Answer(400, Code.INVALID_ARGUMENT.value, text))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what Django refuses."""
    text = "You may not do this. Ask an owner of the organization for a role that includes it."
    return respond(request, Answer(403, Code.PERMISSION_DENIED.value, text))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The answer to a form without its token; `reason` goes to the log, by Django."""
    text = (
        "The form comes from another site, or its security token is missing or too old. Go back,"
        " reload the page and send it again; the browser has to accept this site's cookies."
    )
    return respond(request, Answer(403, Code.FORBIDDEN.value, text))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to a path that leads nowhere."""
    text = f"Nothing is at {request.path[:200]}, or nothing that you may see."
    return respond(request, Answer(404, Code.NOT_FOUND.value, text))


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """The answer when a rate limit is reached."""
    text = "Too many attempts from your address. Wait a minute, then try again."
    return respond(request, Answer(429, "RESOURCE_EXHAUSTED", text, {"Retry-After": "60"}))


def server_error(request: HttpRequest) -> HttpResponse:
    """The answer when the control plane itself failed: no detail, but the id to find it by."""
    request_id = getattr(request, "request_id", "")
    text = f"The operator finds the cause in the log by request id {request_id}."
    return respond(request, Answer(500, "INTERNAL", text))

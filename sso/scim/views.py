"""SCIM 2.0 over HTTP (RFC 7644)."""

from __future__ import annotations

import json
import logging
import re
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from scim2_models import (
    ForbiddenException,
    InvalidSyntaxException,
    InvalidValueException,
    PayloadTooLargeException,
    SCIMException,
    UnauthorizedException,
)
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from orgs.authentication import client_ip, request_id
from orgs.entitlements import has
from orgs.plans import Entitlement
from rest.limits import WINDOW_SECONDS, Budget, take
from sso.actors import directory_actor
from sso.models import ScimToken
from sso.scim.authentication import token_from
from sso.scim.protocol import SERVICE
from sso.scim.storage import Storage
from sso.services.scim_tokens import note_use

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
# NUL as JSON writes it, its backslash not being escaped itself. No column takes it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class TooManyRequestsException(SCIMException):
    """The token's requests of this minute are used up."""

    status = 429


@csrf_exempt
def scim(request: HttpRequest, connection_id: UUID, path: str = "") -> HttpResponse:
    """Everything below one connection's address."""
    budget: Budget | None = None
    try:
        token = token_from(request.headers.get("Authorization", ""), connection_id)
        # Refused tokens are counted too, by the address that they come from.
        policy, name = ("caller", f"scim:{token.pk}") if token else ("address", client_ip(request))
        budget = take(policy, name)
        if budget is not None and not budget.taken:
            raise TooManyRequestsException(
                detail=f"{budget.quota} requests in {WINDOW_SECONDS} seconds are used up. Wait"
                f" {budget.retry_after} s, then go on more slowly."
            )
        if token is None:
            raise UnauthorizedException(
                detail="Send Authorization: Bearer <token> with a token of this connection that is"
                " not over."
            )
        response = _answer(request, token, path)
    except SCIMException as error:
        response = SERVICE.error_response(error)
    except Exception as error:
        logger.exception("A SCIM request failed.")
        response = SERVICE.error_response(error)
    return _http(response, budget)


def _answer(request: HttpRequest, token: ScimToken, path: str) -> ScimResponse:
    connection = token.connection
    if not connection.scim_enabled:
        raise ForbiddenException(
            detail="Provisioning by SCIM is switched off for this connection. An owner of the"
            " organization switches it on."
        )
    if not has(connection.organization, Entitlement.SCIM):
        raise ForbiddenException(
            detail="The organization's plan does not include provisioning by SCIM."
        )
    note_use(token)
    query = request.GET.dict()
    if any("\0" in text for pair in query.items() for text in pair):
        raise InvalidValueException(detail="The query has a NUL character.")
    actor = directory_actor(token, ip=client_ip(request), request_id=request_id(request))
    method = request.method or ""
    reads = method in {"GET", "HEAD"} or path.rstrip("/").endswith(".search")
    storage = Storage(actor, connection, writes=not reads)
    return ScimHandler(SERVICE, storage).handle(
        ScimRequest(
            method=method,
            base_url=f"{settings.TAMARACK_PUBLIC_URL}/scim/v2/{connection.pk}",
            path=f"/{path}",
            query={str(name): str(value) for name, value in query.items()},
            headers=dict(request.headers),
            body=_body(request),
        )
    )


def _body(request: HttpRequest) -> bytes:
    try:
        body: bytes = request.read(MAX_BODY_BYTES + 1)
    except UnreadablePostError as error:
        raise InvalidSyntaxException(detail="The body did not arrive.") from error
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLargeException(
            detail=f"The body is larger than {MAX_BODY_BYTES} bytes. Send a smaller one."
        )
    if _NUL.search(body):
        raise InvalidValueException(detail="The body has a NUL character.")
    return body


def _http(response: ScimResponse, budget: Budget | None) -> HttpResponse:
    body = b"" if response.body is None else json.dumps(response.body).encode()
    answer = HttpResponse(body, status=response.status, headers=response.headers)
    if response.body is None:
        del answer["Content-Type"]
    answer["Cache-Control"] = "no-store"
    for name, value in budget.headers.items() if budget else ():
        answer[name] = value
    if budget is not None and not budget.taken:
        answer["Retry-After"] = str(budget.retry_after)
    return answer

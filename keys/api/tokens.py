"""The OAuth 2.0 endpoints: `POST /oauth/token` and `POST /oauth/revoke`.

Errors have the form of RFC 6749 §5.2, `{"error", "error_description"}`, whatever goes wrong.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import IO, Any, cast
from urllib.parse import parse_qsl, unquote_plus

from django.http import HttpRequest
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keys.services.federation import exchange_token
from keys.services.tokens import (
    LIFETIME,
    Asker,
    OAuthError,
    TokenRefused,
    check_address_rate,
    check_audience,
    issue_token,
    revoke_token,
)
from kms.envelope import KeyUnavailable
from orgs.authentication import client_ip, request_id
from rest.errors import PayloadTooLarge
from rest.parsers import MAX_BODY_BYTES, StrictJSONParser
from rest.schema import ErrorBody
from rest.wording import shown

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MAX_PARAMETERS = 50
CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  a name
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name
SUBJECT_TYPES = frozenset(
    {"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"}
)
STATUS = {
    OAuthError.INVALID_CLIENT: 401,
    OAuthError.UNAUTHORIZED_CLIENT: 403,
    OAuthError.TEMPORARILY_UNAVAILABLE: 429,
}
"""Every other error is 400."""

Parameters = Mapping[str, str]


class TokenRequestSerializer(serializers.Serializer[Any]):
    """Client credentials, or the token of another party. Other parameters are ignored."""

    grant_type = serializers.ChoiceField([CLIENT_CREDENTIALS, TOKEN_EXCHANGE])
    client_id = serializers.CharField(required=False, help_text="Or by HTTP Basic.")
    client_secret = serializers.CharField(required=False, help_text="Or by HTTP Basic.")
    audience = serializers.CharField(required=False, help_text="https://api.pinecone.io/")
    subject_token = serializers.CharField(required=False, help_text="For token exchange.")
    subject_token_type = serializers.ChoiceField(sorted(SUBJECT_TYPES), required=False)
    requested_token_type = serializers.ChoiceField([ACCESS_TOKEN_TYPE], required=False)


class TokenAnswerSerializer(serializers.Serializer[Any]):
    """An access token, for `Authorization: Bearer`."""

    access_token = serializers.CharField()
    token_type = serializers.ChoiceField(["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")
    issued_token_type = serializers.ChoiceField(
        [ACCESS_TOKEN_TYPE], required=False, help_text="After token exchange."
    )


class RevocationSerializer(serializers.Serializer[Any]):
    """The token to end."""

    token = serializers.CharField()
    token_type_hint = serializers.CharField(required=False)


class OAuthProblemSerializer(serializers.Serializer[Any]):
    """A refusal as RFC 6749 §5.2 has it."""

    error = serializers.CharField()
    error_description = serializers.CharField()


def _problems() -> dict[int, OpenApiResponse]:
    texts = {
        400: "The request lacks something or contradicts itself.",
        401: "There is no such client, or this is not its secret.",
        403: "The organization lets nobody in from this address.",
        405: "The endpoint takes POST.",
        413: "The body is too large.",
        429: "Too many requests; `Retry-After` says when to come back.",
        503: "A part that is needed does not answer; try again later.",
    }
    found = {
        status: OpenApiResponse(OAuthProblemSerializer, text) for status, text in texts.items()
    }
    return {**found, 500: OpenApiResponse(ErrorBody, "The control plane failed.")}


class OAuthView(APIView):
    """What both endpoints have in common."""

    authentication_classes = ()
    permission_classes = ()
    http_method_names = ("post", "get", "head")
    schema = AutoSchema()

    def handle_exception(self, exc: Exception) -> Response:
        """Every refusal in OAuth's form."""
        if isinstance(exc, exceptions.MethodNotAllowed):
            return problem(405, OAuthError.INVALID_REQUEST, "Send POST.", Allow="POST")
        if isinstance(exc, TokenRefused):
            headers = {"Retry-After": str(exc.retry_after)} if exc.retry_after else {}
            status = STATUS.get(exc.error, 400)
            if status == 401:  # noqa: PLR2004
                headers["WWW-Authenticate"] = 'Basic realm="tamarack"'
            return problem(status, exc.error, exc.description, **headers)
        if isinstance(exc, PayloadTooLarge):
            return problem(413, OAuthError.INVALID_REQUEST, exc.message)
        if isinstance(exc, KeyUnavailable):
            text = "Secrets can't be checked right now; the operator's log tells why."
            return problem(503, OAuthError.TEMPORARILY_UNAVAILABLE, text)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """As everywhere, and no cache keeps it."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer["Cache-Control"], answer["Pragma"] = "no-store", "no-cache"
        return answer


def problem(status: int, error: OAuthError, description: str, **headers: str) -> Response:
    """A refusal. Its text is ASCII without quotes and backslashes (RFC 6749 §5.2)."""
    text = description.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "/")
    body = {"error": error.value, "error_description": text}
    return Response(body, status=status, headers=headers)


class TokenView(OAuthView):
    """`POST /oauth/token`"""

    @extend_schema(
        operation_id="get_token",
        auth=[],
        request={JSON: TokenRequestSerializer, FORM: TokenRequestSerializer},
        responses={200: TokenAnswerSerializer, **_problems()},
    )
    def post(self, request: Request) -> Response:
        """An access token for a service account, by its secret or by another party's token."""
        http = request._request
        asker = Asker(ip=client_ip(http), request_id=request_id(http))
        check_address_rate(asker.ip)
        given = parameters(http)
        grant = GRANTS.get(required(given, "grant_type"))
        if grant is None:
            raise TokenRefused(
                OAuthError.UNSUPPORTED_GRANT_TYPE,
                f"grant_type {shown(given['grant_type'])} is not known: use {' or '.join(GRANTS)}.",
            )
        return Response(grant(with_client(http, given), asker))


def by_secret(given: Parameters, asker: Asker) -> dict[str, object]:
    """RFC 6749 §4.4."""
    client_id, client_secret = required(given, "client_id"), required(given, "client_secret")
    check_audience(required(given, "audience"))
    _, text = issue_token(client_id=client_id, client_secret=client_secret, asker=asker)
    return answer(text)


def by_exchange(given: Parameters, asker: Asker) -> dict[str, object]:
    """RFC 8693; `client_id` names the service account that the token is to stand for."""
    if "client_secret" in given:
        raise TokenRefused(
            OAuthError.INVALID_REQUEST,
            "Token exchange goes without client_secret: the subject_token is the proof.",
        )
    if "audience" in given:
        check_audience(given["audience"])
    kind = required(given, "subject_token_type")
    if kind not in SUBJECT_TYPES:
        raise TokenRefused(
            OAuthError.INVALID_REQUEST,
            f"subject_token_type {shown(kind)} is not known: use"
            f" {' or '.join(sorted(SUBJECT_TYPES))}.",
        )
    wanted = given.get("requested_token_type", ACCESS_TOKEN_TYPE)
    if wanted != ACCESS_TOKEN_TYPE:
        raise TokenRefused(
            OAuthError.INVALID_REQUEST,
            f"requested_token_type {shown(wanted)} is not given out: use {ACCESS_TOKEN_TYPE}.",
        )
    if "actor_token" in given:
        raise TokenRefused(
            OAuthError.INVALID_REQUEST, "actor_token: acting for somebody else is not offered."
        )
    _, text = exchange_token(
        client_id=required(given, "client_id"),
        subject_token=required(given, "subject_token"),
        asker=asker,
    )
    return {**answer(text), "issued_token_type": ACCESS_TOKEN_TYPE}


Grant = Callable[[Parameters, Asker], dict[str, object]]
GRANTS: dict[str, Grant] = {CLIENT_CREDENTIALS: by_secret, TOKEN_EXCHANGE: by_exchange}


def answer(text: str) -> dict[str, object]:
    """RFC 6749 §5.1."""
    seconds = int(LIFETIME.total_seconds())
    return {"access_token": text, "token_type": "Bearer", "expires_in": seconds}


class RevocationView(OAuthView):
    """`POST /oauth/revoke` (RFC 7009)"""

    @extend_schema(
        operation_id="revoke_token",
        auth=[],
        request={JSON: RevocationSerializer, FORM: RevocationSerializer},
        responses={200: None, **_problems()},
    )
    def post(self, request: Request) -> Response:
        """End an access token. The answer is the same for text that is none."""
        http = request._request
        asker = Asker(ip=client_ip(http), request_id=request_id(http))
        check_address_rate(asker.ip)
        revoke_token(text=required(parameters(http), "token"), asker=asker)
        return Response()


def required(given: Parameters, name: str) -> str:
    """The parameter.

    Raises:
        TokenRefused: it is missing or empty.
    """
    if name not in given:
        raise TokenRefused(OAuthError.INVALID_REQUEST, f"The parameter {name} is missing.")
    return given[name]


def parameters(http: HttpRequest) -> dict[str, str]:
    """The body's parameters, of JSON or of a form; empty ones count as missing (RFC 6749 §3.2).

    Raises:
        TokenRefused: neither, unreadable, one twice, or one that is no text.
        PayloadTooLarge: more than 64 KiB.
    """
    if http.content_type == JSON:
        found = _from_json(http)
    elif http.content_type == FORM:
        found = _from_form(http)
    else:
        raise _unreadable(f"The Content-Type has to be {FORM} or {JSON}.")
    return {name: value for name, value in found.items() if value}


def _from_json(http: HttpRequest) -> dict[str, str]:
    try:
        found = StrictJSONParser().parse(cast("IO[Any]", http))
    except exceptions.ParseError as error:
        raise _unreadable(f"The body is not valid JSON: {error.detail}") from error
    if not isinstance(found, dict):
        raise _unreadable("The body has to be a JSON object.")
    for name, value in found.items():
        if not isinstance(value, str):
            raise _unreadable(f"The parameter {shown(name)} has to be a string.")
    return found


def _from_form(http: HttpRequest) -> dict[str, str]:
    body = http.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except UnicodeDecodeError as error:
        raise _unreadable("The form is not percent-encoded UTF-8.") from error
    except ValueError as error:
        raise _unreadable(f"The form has more than {MAX_PARAMETERS} parameters.") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _unreadable(f"The parameter {shown(twice)} is there twice. Send it once.")
    return found


def with_client(http: HttpRequest, given: Parameters) -> Parameters:
    """The parameters with the client of HTTP Basic (RFC 6749 §2.3.1), where that is used.

    Raises:
        TokenRefused: the header can't be read, or the body names a client too and another one, or
            a secret.
    """
    scheme, _, text = http.headers.get("Authorization", "").partition(" ")
    if not scheme:
        return given
    if scheme.lower() != "basic":
        raise _unreadable("Authorization has to be Basic, or left out.")
    try:
        pair = base64.b64decode(text.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise _unreadable("Authorization: Basic is not Base64 of UTF-8.") from error
    client_id, colon, client_secret = pair.partition(":")
    if not colon:
        raise _unreadable("Authorization: Basic holds no colon.")
    client_id, client_secret = unquote_plus(client_id), unquote_plus(client_secret)
    if "client_secret" in given or given.get("client_id", client_id) != client_id:
        raise _unreadable("The client shows itself twice: in the header and in the body.")
    shown_client = {"client_id": client_id, "client_secret": client_secret}
    return {**given, **{name: value for name, value in shown_client.items() if value}}


def _unreadable(text: str) -> TokenRefused:
    return TokenRefused(OAuthError.INVALID_REQUEST, text)

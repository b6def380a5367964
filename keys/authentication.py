"""How the control plane's REST calls show who they are: the `Api-Key` header, or a bearer token."""

from __future__ import annotations

from uuid import UUID

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from keys.selectors.api_keys import VerifiedKey, verify_key
from keys.selectors.tokens import VerifiedToken, verify_token
from keys.services.tokens import Asker, note_refusal
from orgs.actors import Actor
from orgs.authentication import client_ip, request_id
from orgs.errors import PermissionDenied

INVALID_KEY = "Invalid API Key"
INVALID_TOKEN = "The access token is not valid: get a new one from /oauth/token."  # noqa: S105  text


class ApiKeyPrincipal:
    """What DRF calls the user: the key and the actor it stands for."""

    is_authenticated = True

    def __init__(self, key: VerifiedKey, actor: Actor) -> None:
        self.key = key
        self.actor = actor


class ApiKeyAuthentication(BaseAuthentication):
    """Accepts a usable API key; one text for missing, unknown, wrong, expired and revoked.

    Who has such a key hears why it may not be used from where they are.
    """

    def authenticate(self, request: Request) -> tuple[ApiKeyPrincipal, None]:
        """The key's principal.

        Raises:
            AuthenticationFailed: no key, or one that is not usable.
            PermissionDenied: it may not be used from that address, or its project is archived.
        """
        key = verify_key(request.headers.get("Api-Key", ""))
        if key is None:
            raise AuthenticationFailed(INVALID_KEY)
        http = request._request
        # The middleware names the key to the gateway's log, where its uses are counted from.
        vars(http)["key_names"] = str(key.id), key.secret
        ip = client_ip(http)
        if refused := key.refusal(ip=ip, index_id=None):
            raise PermissionDenied(refused)
        actor = key.actor(ip=ip, request_id=request_id(http))
        return ApiKeyPrincipal(key, actor), None

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 rather than 403."""
        return "Api-Key"


class ServiceAccountPrincipal:
    """What DRF calls the user: the service account that an access token was issued for."""

    is_authenticated = True

    def __init__(self, token: VerifiedToken) -> None:
        self.token = token
        self.actor: Actor = token.actor
        self.organization_id: UUID = token.account.organization_id


class BearerAuthentication(BaseAuthentication):
    """Accepts a service account's access token; other kinds of authentication come after it."""

    def authenticate(self, request: Request) -> tuple[ServiceAccountPrincipal, None] | None:
        """The token's principal; None where the request shows no bearer token.

        Raises:
            AuthenticationFailed: a token that is unknown, expired or revoked, in one text.
            PermissionDenied: the organization lets nobody in from that address.
        """
        scheme, _, text = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        http = request._request
        asker = Asker(ip=client_ip(http), request_id=request_id(http))
        # Undecodable bytes are no token, whatever they become.
        token = verify_token(
            text.strip().decode("ascii", "replace"), ip=asker.ip, request_id=asker.request_id
        )
        if token is None:
            raise AuthenticationFailed(INVALID_TOKEN)
        if token.barred:
            note_refusal(token.barred, asker=asker, account=token.account)
            raise PermissionDenied(token.barred)
        return ServiceAccountPrincipal(token), None

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 rather than 403."""
        return 'Bearer realm="tamarack"'

"""How the control plane's REST calls show who they are: the `Api-Key` header."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from keys.selectors.api_keys import VerifiedKey, verify_key
from orgs.actors import Actor
from orgs.authentication import client_ip, request_id

INVALID_KEY = "Invalid API Key"


class ApiKeyPrincipal:
    """What DRF calls the user: the key and the actor it stands for."""

    is_authenticated = True

    def __init__(self, key: VerifiedKey, actor: Actor) -> None:
        self.key = key
        self.actor = actor


class ApiKeyAuthentication(BaseAuthentication):
    """Accepts a usable API key; one text for missing, unknown, wrong, expired and revoked."""

    def authenticate(self, request: Request) -> tuple[ApiKeyPrincipal, None]:
        """The key's principal.

        Raises:
            AuthenticationFailed: no key, or one that is not usable.
        """
        key = verify_key(request.headers.get("Api-Key", ""))
        if key is None:
            raise AuthenticationFailed(INVALID_KEY)
        http = request._request
        actor = key.actor(ip=client_ip(http), request_id=request_id(http))
        return ApiKeyPrincipal(key, actor), None

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 rather than 403."""
        return "Api-Key"

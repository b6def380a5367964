"""allauth's OpenID Connect provider for one of our connections, made as it is asked for.

allauth finds the endpoints, makes the address to send people to, and exchanges the code. Who came
back is decided by `sso.oidc.tokens`, and no row of allauth's own tables is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Client
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.core.cache import cache

from kms.envelope import KeyUnavailable, WrappedKey
from kms.installation import provider as key_provider
from rest.wording import shown
from sso.errors import Code, SignInRefused
from sso.models import Connection
from sso.oidc.http import is_https

WELL_KNOWN = "/.well-known/openid-configuration"
CACHE_SECONDS = 300
"""How long a discovery document is believed: sign-ins that begin should not each ask for it."""
_REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ENDPOINTS = (*_REQUIRED, "userinfo_endpoint")


class Client(OAuth2Client):  # type: ignore[misc]  # allauth ships no types
    """allauth's client, to the letter of RFC 6749 where that matters to providers."""

    consumer_key: str
    consumer_secret: str

    def get_redirect_url(
        self, authorization_url: str, scope: Sequence[str], extra_params: Mapping[str, str]
    ) -> str:
        """Where the browser goes. An endpoint may have a query of its own (RFC 6749, 3.1)."""
        place, _, query = authorization_url.partition("?")
        own = dict(parse_qsl(query))
        made: str = super().get_redirect_url(place, scope, {**own, **extra_params})
        return made

    def get_access_token(self, code: str, pkce_code_verifier: str) -> dict[str, Any]:
        """Exchange the code. Id and secret are form-encoded before Basic (RFC 6749, 2.3.1)."""
        if self.basic_auth:
            self.consumer_key = quote_plus(self.consumer_key)
            self.consumer_secret = quote_plus(self.consumer_secret)
        answer: dict[str, Any] = super().get_access_token(
            code, pkce_code_verifier=pkce_code_verifier
        )
        return answer


class Adapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth ships no types
    """The endpoints of one connection's provider."""

    client_class = Client
    # How the secret goes, one of `ways_to_authenticate`.
    basic_auth = False

    def __init__(self, connection: Connection, *, secret: str) -> None:
        super().__init__(request=None, provider_id=str(connection.pk))
        self.connection = connection
        self.app = SocialApp(
            provider=OpenIDConnectProvider.id,
            # Never blank: by it allauth keeps the people of one provider apart from another's.
            provider_id=str(connection.pk),
            name=connection.name,
            client_id=connection.client_id,
            secret=secret,
            settings={
                "server_url": connection.issuer.rstrip("/") + WELL_KNOWN,
                "oauth_pkce_enabled": True,
            },
        )

    def get_provider(self) -> OpenIDConnectProvider:
        """The connection's."""
        return OpenIDConnectProvider(request=None, app=self.app)

    def get_callback_url(self, *_: Any) -> str:
        """Our own address, not the one that the request came to."""
        return f"{self.connection.base_url}/callback"

    @property
    def openid_config(self) -> dict[str, Any]:
        """The discovery document, checked; from the cache where it was fetched a short while ago.

        Raises:
            SignInRefused: it does not speak for the issuer, or its endpoints can't be asked.
            sso.oidc.http.Unanswered: it can't be had.
        """
        if not hasattr(self, "_openid_config"):
            # A changed configuration is another version, so nothing stale is believed.
            connection = self.connection
            key = f"sso-oidc:{connection.pk}:{connection.config_version}"
            document = cache.get(key)
            if document is None:
                with get_adapter().get_requests_session() as session:
                    answer = session.get(self.app.settings["server_url"])
                document = self._checked(answer.json())
                cache.set(key, document, CACHE_SECONDS)
            self._openid_config: dict[str, Any] = document
        return self._openid_config

    def _checked(self, document: dict[str, Any]) -> dict[str, Any]:
        """What is used of it."""
        issuer = document.get("issuer")
        if issuer != self.connection.issuer:
            raise SignInRefused(
                Code.ISSUER,
                f"The discovery document speaks for {shown(issuer)}, not for the issuer"
                f" {shown(self.connection.issuer)}.",
                check="discovery-issuer",
            )
        found = {name: document[name] for name in _ENDPOINTS if document.get(name)}
        for name in _REQUIRED:
            found.setdefault(name, "")
        for name, url in found.items():
            if not is_https(url):
                raise SignInRefused(
                    Code.INVALID_RESPONSE,
                    f"The discovery document's {name} is {shown(url)}; it has to be an https"
                    " address without user, password and fragment.",
                    check="discovery-endpoint",
                )
        for name in ("token_endpoint_auth_methods_supported", "scopes_supported"):
            listed = document.get(name)
            if isinstance(listed, list):
                found[name] = [each for each in listed if isinstance(each, str)]
        found["announces_issuer"] = (
            document.get("authorization_response_iss_parameter_supported") is True
        )
        return found

    def ways_to_authenticate(self) -> list[bool]:
        """How the secret may go, the way to try first first: True by Basic, False in the form.

        Basic is what OpenID Connect Discovery has as the default. Many providers announce both and
        hold each client to the one that is set for it.

        Raises:
            SignInRefused: the provider takes secrets in neither of the two ways.
        """
        if not self.app.secret:
            return [False]
        methods = self.openid_config.get(
            "token_endpoint_auth_methods_supported", ["client_secret_basic"]
        )
        found = [
            is_basic
            for is_basic, name in ((True, "client_secret_basic"), (False, "client_secret_post"))
            if name in methods
        ]
        if not found:
            raise SignInRefused(
                Code.INVALID_RESPONSE,
                "The provider takes client secrets neither by client_secret_basic nor by"
                f" client_secret_post but by {shown(methods)}.",
                check="client-authentication",
            )
        return found


def client_secret(connection: Connection) -> str:
    """The secret in plain, for one exchange.

    Raises:
        SignInRefused: it can't be unwrapped.
    """
    if not connection.wrapped_client_secret:
        return ""
    try:
        wrapped = WrappedKey.load(connection.wrapped_client_secret)
        return key_provider().unwrap(wrapped, context=connection.client_secret_context).decode()
    except KeyUnavailable as error:
        raise SignInRefused(
            Code.NOT_ACTIVE, f"The client secret can't be opened: {error} Enter it again."
        ) from error

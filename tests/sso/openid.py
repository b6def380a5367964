"""An OpenID provider for tests: a real HTTPS server with a token endpoint that checks PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orgs.models import Organization
from sso.models import Connection
from sso.services.connections import wrapped_client_secret
from tests.oidc import DISCOVERY, JWKS, Answer, Issuer
from tests.pages import Browser
from tests.sso.support import make_connection

CLIENT_ID, SECRET = "tamarack", "s3cret:/&+"
ACCESS_TOKEN = "an-access-token"


def answered(content: object, status: int = 200, **headers: str) -> Callable[[], Answer]:
    """An answer of that JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda: (status, {"Content-Type": "application/json", **headers}, body)


@dataclass
class Provider:
    """The provider. It believes whoever comes, and says of them what the test wants.

    Attributes:
        claims: of the next ID token, over those of a good one; None leaves one out.
        sign: makes the next ID token of its claims.
        document: what discovery says, over the usual.
    """

    issuer: Issuer
    claims: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    sign: Callable[..., str] | None = None
    challenge: str = ""
    nonce: str = ""

    def __post_init__(self) -> None:
        self.issuer.answers |= {DISCOVERY: self.discover, "/token": self.token}

    def discover(self) -> Answer:
        url = self.issuer.url
        usual = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "jwks_uri": url + JWKS,
        }
        return answered({**usual, **self.document})()

    def usual_claims(self) -> dict[str, Any]:
        """Of a good ID token for Bob."""
        return {
            "aud": CLIENT_ID,
            "sub": "bob-at-idp",
            "nonce": self.nonce,
            "email": "bob@acme.example",
            "email_verified": True,
            "jti": None,
        }

    def token(self) -> Answer:
        """Exchange the code, if whoever asks knows the verifier."""
        body, _ = self.issuer.asked["/token"]
        verifier = parse_qs(body.decode())["code_verifier"][0]
        made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        if made.decode().rstrip("=") != self.challenge:
            return answered({"error": "invalid_grant"}, 400)()
        sign = self.sign or self.issuer.sign
        token = sign(**{**self.usual_claims(), **self.claims})
        return answered({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": token})()


def make_oidc_connection(
    organization: Organization, issuer: str, domain: str = "acme.example", **fields: Any
) -> Connection:
    """An active connection to the issuer, which signs in the domain's people."""
    made = make_connection(
        organization,
        protocol=Connection.Protocol.OIDC,
        domains=[domain],
        issuer=issuer,
        client_id=CLIENT_ID,
        idp_entity_id="",
        sso_url="",
        **fields,
    )
    made.wrapped_client_secret = wrapped_client_secret(made, SECRET)
    made.save()
    return made


def leave(browser: Browser, connection: Connection, provider: Provider) -> dict[str, str]:
    """Begin to sign in; what the provider is asked, by name."""
    response = browser.get(f"/sso/{connection.pk}/login")
    assert response.status_code == 302, response.content
    asked = {
        name: found[0] for name, found in parse_qs(urlsplit(response["Location"]).query).items()
    }
    provider.challenge, provider.nonce = asked["code_challenge"], asked["nonce"]
    return asked


def come_back(browser: Browser, connection: Connection, state: str, **said: str) -> Any:
    """The browser brings the provider's answer; where it is believed, the result."""
    response = browser.get(
        f"/sso/{connection.pk}/callback", {"code": "a-code", "state": state, **said}
    )
    if response.status_code == 303:
        response = browser.get(response["Location"])
    return response


def sign_in(browser: Browser, connection: Connection, provider: Provider) -> Any:
    """There and back."""
    return come_back(browser, connection, leave(browser, connection, provider)["state"])

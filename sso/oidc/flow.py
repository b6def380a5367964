"""Signing in by OpenID Connect: the authorization code flow with PKCE.

`state` is the id of our request, which works once. The nonce and the PKCE verifier are made from
the secret that only the browser's cookie holds: without that browser nobody can redeem the code,
and there is nothing in the database to steal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error

from rest.wording import shown
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection
from sso.oidc.claims import person_of
from sso.oidc.http import Unanswered
from sso.oidc.provider import Adapter, Client, client_secret
from sso.oidc.tokens import Expected, IdToken, verify_id_token

MAX_CODE = 4096
REMEMBERED = timedelta(hours=1)
"""How long a token is known as used: far longer than the request of its nonce lives."""
_SCOPES = ("openid", "email", "profile")
_OPTIONAL_SCOPES = ("groups", "roles")

Found = TypeVar("Found")


def authorization_url(
    connection: Connection, *, state: str, browser_secret: str, email: str = "", force: bool = False
) -> str:
    """Where the browser goes, for a plain GET.

    Args:
        state: what the provider gives back; good for one sign-in.
        browser_secret: what the browser's cookie holds.
        email: who is expected, for the provider's form.
        force: ask the person to prove anew who is there.

    Raises:
        SignInRefused: the provider can't be asked where that is.
    """
    adapter = Adapter(connection, secret="")
    verifier = _derived(browser_secret, state, "verifier")
    challenge = hashlib.sha256(verifier.encode()).digest()
    parameters = {
        "nonce": _derived(browser_secret, state, "nonce"),
        "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    if email:
        parameters["login_hint"] = email
    if force:
        parameters.update(prompt="login", max_age="0")

    def made() -> str:
        offered = adapter.openid_config.get("scopes_supported", [])
        scopes = [*_SCOPES, *(scope for scope in _OPTIONAL_SCOPES if scope in offered)]
        client = adapter.get_client(None, adapter.app)
        client.state = state
        url: str = client.get_redirect_url(adapter.authorize_url, scopes, parameters)
        return url

    return _asked(made)


def assertion_of(
    connection: Connection,
    *,
    code: str,
    issuer: str,
    state: str,
    browser_secret: str,
) -> VerifiedAssertion:
    """What the provider says of who came back with the code.

    Args:
        issuer: the answer's `iss` (RFC 9207); empty: it has none.

    Raises:
        SignInRefused: it is not to be believed, or can't be asked.
    """
    if not 0 < len(code) <= MAX_CODE or not code.isascii() or not code.isprintable():
        raise SignInRefused(
            Code.INVALID_RESPONSE,
            f"The provider's answer has no code of 1 to {MAX_CODE} characters.",
            check="code",
        )
    adapter = Adapter(connection, secret=client_secret(connection))
    _check_issuer(_asked(lambda: adapter.openid_config), issuer, connection)
    verifier = _derived(browser_secret, state, "verifier")

    answer = _asked(lambda: _exchange(adapter, code, verifier))
    access_token = answer["access_token"]
    if not isinstance(access_token, str) or re.fullmatch(r"[!-~]{1,16384}", access_token) is None:
        raise SignInRefused(
            Code.INVALID_RESPONSE,
            "The provider's access token is not text of 1 to 16384 printable characters in ASCII.",
            check="token-endpoint",
        )
    token = verify_id_token(
        answer.get("id_token"),
        keys=_asked(lambda: _get(adapter.openid_config["jwks_uri"])),
        expected=Expected(
            issuer=connection.issuer,
            client_id=connection.client_id,
            nonce=_derived(browser_secret, state, "nonce"),
            skew=connection.clock_skew_seconds,
        ),
        access_token=access_token,
        now=time.time(),
    )
    claims = {**_user_info(adapter, access_token, token), **token.claims}
    return VerifiedAssertion(
        connection_id=connection.pk,
        assertion_id=token.digest,
        not_on_or_after=min(token.ends_at, datetime.now(UTC) + REMEMBERED),
        issuer=connection.issuer,
        authenticated_at=token.proven_at,
        **person_of(claims, connection),
    )


def refused_by(error: str, description: str) -> SignInRefused:
    """The refusal for an answer with `error` in place of a code."""
    return SignInRefused(
        Code.IDP_REFUSED, f"The provider answered {shown(error)}: {shown(description)}."
    )


def _exchange(adapter: Adapter, code: str, verifier: str) -> dict[str, Any]:
    """What the token endpoint gives for the code. A provider that knows the client by another way
    to authenticate says `invalid_client`, and the code is still good.
    """

    def by(way: bool) -> dict[str, Any]:
        adapter.basic_auth = way
        client: Client = adapter.get_client(None, adapter.app)
        return client.get_access_token(code, verifier)

    *others, last = adapter.ways_to_authenticate()
    for way in others:
        try:
            return by(way)
        except Unanswered as error:
            if error.code != "invalid_client":
                raise
    return by(last)


def _derived(browser_secret: str, state: str, what: str) -> str:
    """43 characters that only who has the browser's secret can make."""
    message = f"sso oidc {what} {state}".encode()
    made = hmac.digest(browser_secret.encode(), message, "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _check_issuer(document: dict[str, Any], issuer: str, connection: Connection) -> None:
    """An answer of another provider, which the browser was led to, must not reach this one's token
    endpoint (RFC 9207).
    """
    if issuer != connection.issuer and (issuer or document["announces_issuer"]):
        raise SignInRefused(
            Code.ISSUER,
            f"The answer's iss is {shown(issuer)}; it has to be {shown(connection.issuer)}.",
            check="answer-iss",
        )


def _get(url: str, access_token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {access_token}"} if access_token else {}
    with get_adapter().get_requests_session() as session:
        found: dict[str, Any] = session.get(url, headers=headers).json()
    return found


def _user_info(adapter: Adapter, access_token: str, token: IdToken) -> dict[str, Any]:
    """What the provider tells apart from the token, such as the address and groups; the token's own
    claims come first. Nothing where it has no such endpoint.
    """
    url = adapter.openid_config.get("userinfo_endpoint", "")
    if not url:
        return {}
    found = _asked(lambda: _get(url, access_token))
    if found.get("sub") != token.claims.get("sub"):
        raise SignInRefused(
            Code.OTHER_PERSON,
            f"The provider's userinfo endpoint speaks of sub {shown(found.get('sub'))}, its ID"
            f" token of {shown(token.claims.get('sub'))}.",
            check="userinfo-sub",
        )
    return found


def _asked(question: Callable[[], Found]) -> Found:
    """The provider's answer; what it answers wrongly comes out of allauth in several ways.

    Raises:
        SignInRefused: none that can be used.
    """
    try:
        return question()
    except requests.RequestException as error:
        raise SignInRefused(Code.IDP_UNREACHABLE, str(error), check="provider") from error
    except OAuth2Error as error:
        raise SignInRefused(
            Code.INVALID_RESPONSE,
            "The provider's token endpoint sent no access token.",
            check="token-endpoint",
        ) from error

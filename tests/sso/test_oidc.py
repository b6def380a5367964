"""Signing in by OpenID Connect over HTTP, against a real provider: who gets in, and who never."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from django.core.cache import cache

from audit.streams import targets
from orgs.models import Membership, User
from sso.models import Attempt, Connection, Identity, SignInRequest
from sso.oidc.tokens import Expected, verify_id_token
from sso.services.connections import wrapped_client_secret
from tests.cast import Cast
from tests.oidc import (
    DISCOVERY,
    JWKS,
    Issuer,
    PrivateKey,
    make_certificate,
    new_keys,
    part,
    public_jwk,
    serving,
)
from tests.orgs.racing import at_once
from tests.pages import Browser
from tests.sso.openid import (
    CLIENT_ID,
    Provider,
    answered,
    come_back,
    leave,
    make_oidc_connection,
    sign_in,
)
from tests.sso.support import make_connection

BOB = "bob@acme.example"


@pytest.fixture(scope="module")
def keys() -> dict[str, PrivateKey]:
    """The provider's keys; making them takes the longest."""
    return new_keys()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The provider's certificate."""
    return make_certificate(tmp_path_factory.mktemp("provider"))


@pytest.fixture(scope="module")
def server(keys: dict[str, PrivateKey], certificate: Path) -> Iterator[Issuer]:
    """The provider's server."""
    with serving(certificate, keys) as found:
        yield found


@pytest.fixture(scope="module")
def other_server(keys: dict[str, PrivateKey], certificate: Path) -> Iterator[Issuer]:
    """Another provider's server, which has keys of its own."""
    with serving(certificate, new_keys()) as found:
        yield found


@pytest.fixture
def trusting(db: None, certificate: Path, settings: Any, monkeypatch: Any) -> None:
    """An operator who allows such targets, on a machine that trusts their certificate."""
    settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    cache.clear()


def fresh(server: Issuer, keys: dict[str, PrivateKey]) -> Provider:
    server.keys = dict(keys)
    server.paths.clear()
    server.answers.clear()
    return Provider(server)


@pytest.fixture
def provider(trusting: None, server: Issuer, keys: dict[str, PrivateKey]) -> Provider:
    """Acme's provider."""
    return fresh(server, keys)


@pytest.fixture
def connection(cast: Cast, provider: Provider) -> Connection:
    """Acme's connection to it."""
    return make_oidc_connection(cast.organization, provider.issuer.url)


def is_signed_in(browser: Browser) -> bool:
    return "_auth_user_id" in browser.session


def assert_refused(browser: Browser, response: Any, code: str, check: str | None = None) -> Attempt:
    """The page names the public code, the log the rule, and nobody is signed in or made."""
    assert response.status_code in {400, 403}, response.content
    assert code in response.content.decode()
    attempt = Attempt.objects.latest("created_at")
    assert attempt.code == code, attempt.reason
    if check is not None:
        assert attempt.reason.startswith(f"[{check}] "), attempt.reason
    assert str(attempt.pk) in response.content.decode()
    assert not is_signed_in(browser)
    assert not User.objects.filter(email=BOB).exists()
    assert not Identity.objects.exists()
    return attempt


def test_a_first_sign_in_makes_the_person_a_member_with_the_default_role(
    cast: Cast, provider: Provider, connection: Connection
) -> None:
    """And leaves nothing in allauth's own tables."""
    provider.claims = {"name": "Bob Builder"}
    browser = Browser()
    assert sign_in(browser, connection, provider).status_code == 302
    bob = User.objects.get(email=BOB)
    assert browser.session["_auth_user_id"] == str(bob.pk)
    assert bob.name == "Bob Builder"
    assert Membership.objects.filter(organization=cast.organization, user=bob).exists()
    identity = Identity.objects.get(user=bob)
    assert (identity.uid, identity.opens_sessions) == ("bob-at-idp", True)
    assert Attempt.objects.get().code == "ok"
    for table in (SocialApp, SocialAccount, SocialToken):
        assert not table.objects.exists()


def test_the_provider_is_asked_by_code_with_pkce_for_our_own_address(
    settings: Any, provider: Provider, connection: Connection
) -> None:
    """Whatever host the request came to."""
    provider.document = {"scopes_supported": ["openid", "email", "profile", "groups", "offline"]}
    browser = Browser(SERVER_NAME="127.0.0.1")
    response = browser.get(f"/sso/{connection.pk}/login?hint=bob@acme.example")
    url = urlsplit(response["Location"])
    asked = {name: found[0] for name, found in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer.url}/authorize"
    assert set(asked.pop("scope").split()) == {"openid", "email", "profile", "groups"}
    for secret in ("state", "nonce", "code_challenge"):
        assert len(asked.pop(secret)) >= 43
    assert asked == {
        "client_id": CLIENT_ID,
        "redirect_uri": f"{settings.TAMARACK_PUBLIC_URL}/sso/{connection.pk}/callback",
        "response_type": "code",
        "code_challenge_method": "S256",
        "login_hint": "bob@acme.example",
    }


def test_an_endpoint_with_a_query_of_its_own_keeps_it(
    provider: Provider, connection: Connection
) -> None:
    provider.document = {"authorization_endpoint": f"{provider.issuer.url}/authorize?policy=b2c"}
    asked = leave(Browser(), connection, provider)
    assert asked["policy"] == "b2c"
    assert asked["client_id"] == CLIENT_ID


@pytest.mark.parametrize(
    ("methods", "in_header"),
    [
        (None, True),
        (["client_secret_basic"], True),
        (["client_secret_post", "client_secret_basic"], True),
        (["client_secret_post", "private_key_jwt"], False),
    ],
    ids=["unsaid", "basic", "both", "post"],
)
def test_the_secret_goes_the_way_that_the_provider_takes(
    provider: Provider, connection: Connection, methods: list[str] | None, in_header: bool
) -> None:
    """Basic where it says nothing; form-encoded then, as RFC 6749 has it."""
    provider.document = {"token_endpoint_auth_methods_supported": methods}
    assert sign_in(Browser(), connection, provider).status_code == 302
    body, headers = provider.issuer.asked["/token"]
    form = parse_qs(body.decode())
    if in_header:
        basic = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
        assert basic == "tamarack:s3cret%3A%2F%26%2B"
        assert "client_secret" not in form
    else:
        assert "Authorization" not in headers
        assert form["client_secret"] == ["s3cret:/&+"]
    assert form["grant_type"] == ["authorization_code"]


def test_the_other_way_is_tried_where_the_provider_does_not_know_the_client_by_the_first(
    provider: Provider, connection: Connection
) -> None:
    """And no third: a code is not offered again and again."""
    provider.document = {
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"]
    }

    def by_form_alone() -> Any:
        _, headers = provider.issuer.asked["/token"]
        if "Authorization" in headers:
            return answered({"error": "invalid_client"}, 401)()
        return provider.token()

    provider.issuer.answers["/token"] = by_form_alone
    browser = Browser()
    sign_in(browser, connection, provider)
    assert is_signed_in(browser)
    provider.issuer.answers["/token"] = answered({"error": "invalid_client"}, 401)
    provider.issuer.paths.clear()
    other = Browser()
    assert "sso_idp_unreachable" in sign_in(other, connection, provider).content.decode()
    assert provider.issuer.paths.count("/token") == 2


def test_a_second_sign_in_is_the_same_person_by_sub_whatever_the_address_says(
    cast: Cast, provider: Provider, connection: Connection
) -> None:
    """The address is of the organization's domains in any case."""
    sign_in(Browser(), connection, provider)
    provider.claims = {"email": "robert@acme.example"}
    browser = Browser()
    assert sign_in(browser, connection, provider).status_code == 302
    assert browser.session["_auth_user_id"] == str(Identity.objects.get().user_id)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_these_signatures_are_believed(
    provider: Provider, connection: Connection, algorithm: str
) -> None:
    provider.sign = lambda **claims: provider.issuer.sign(algorithm, **claims)
    browser = Browser()
    assert sign_in(browser, connection, provider).status_code == 302
    assert is_signed_in(browser)


def test_a_token_without_kid_is_held_to_the_only_key_of_its_kind(
    provider: Provider, connection: Connection
) -> None:
    provider.sign = lambda **claims: jwt.encode(
        provider.issuer.claims(**claims), provider.issuer.keys["rsa"], algorithm="RS256"
    )
    browser = Browser()
    sign_in(browser, connection, provider)
    assert is_signed_in(browser)


def test_a_new_key_of_the_provider_counts_at_once(
    provider: Provider, connection: Connection
) -> None:
    """The key set is asked for at every sign-in; a withdrawn key is gone as fast."""
    sign_in(Browser(), connection, provider)
    old, new = provider.issuer.keys["rsa"], rsa.generate_private_key(65537, 2048)
    provider.issuer.keys["rsa"] = new
    browser = Browser()
    sign_in(browser, connection, provider)
    assert is_signed_in(browser)
    provider.sign = lambda **claims: provider.issuer.sign(key=old, **claims)
    late = Browser()
    response = sign_in(late, connection, provider)
    assert "sso_signature" in response.content.decode()
    assert not is_signed_in(late)


HOUR = 3600
# Claims of an otherwise good token, the public code, the rule.
BAD_CLAIMS: dict[str, tuple[dict[str, Any], str, str]] = {
    "issuer": ({"iss": "https://evil.example"}, "sso_issuer", "token-iss"),
    "issuer-with-slash": ({"iss": "SLASH"}, "sso_issuer", "token-iss"),
    "no-issuer": ({"iss": None}, "sso_issuer", "token-iss"),
    "audience": ({"aud": "another-client"}, "sso_audience", "token-aud"),
    "no-audience": ({"aud": None}, "sso_audience", "token-aud"),
    "empty-audience": ({"aud": []}, "sso_audience", "token-aud"),
    "nested-audience": ({"aud": [[CLIENT_ID]]}, "sso_audience", "token-aud"),
    "several-without-azp": ({"aud": [CLIENT_ID, "other"]}, "sso_audience", "token-aud"),
    "several-from-another": (
        {"aud": [CLIENT_ID, "other"], "azp": "other"},
        "sso_audience",
        "token-aud",
    ),
    "from-another": ({"azp": "other"}, "sso_audience", "token-aud"),
    "expired": ({"exp": -HOUR, "iat": -2 * HOUR}, "sso_expired", "token-exp"),
    "no-expiry": ({"exp": None}, "sso_invalid_response", "token-form"),
    "no-issue-time": ({"iat": None}, "sso_invalid_response", "token-form"),
    "expiry-as-text": ({"exp": "tomorrow"}, "sso_invalid_response", "token-form"),
    "expiry-as-truth": ({"exp": True}, "sso_invalid_response", "token-form"),
    "endless-expiry": ({"exp": 10**400}, "sso_invalid_response", "token-form"),
    "from-the-future": ({"iat": HOUR}, "sso_clock_skew", "token-iat"),
    "not-yet": ({"nbf": HOUR}, "sso_clock_skew", "token-iat"),
    "nonce": ({"nonce": "of-another-sign-in"}, "sso_replay", "token-nonce"),
    "no-nonce": ({"nonce": None}, "sso_replay", "token-nonce"),
    "nonce-list": ({"nonce": ["x"]}, "sso_replay", "token-nonce"),
    "at-hash": ({"at_hash": "AAAA"}, "sso_invalid_response", "token-at-hash"),
    "no-sub": ({"sub": None}, "sso_no_stable_id", "claim-uid"),
    "number-as-sub": ({"sub": 7}, "sso_no_stable_id", "claim-uid"),
    "long-sub": ({"sub": "x" * 257}, "sso_no_stable_id", "claim-uid"),
    "nul-in-sub": ({"sub": "a\0b"}, "sso_no_stable_id", "claim-uid"),
    "half-a-character": ({"sub": "a\ud800b"}, "sso_no_stable_id", "claim-uid"),
    "no-email": ({"email": None}, "sso_no_email", "claim-email"),
    "two-addresses": ({"email": "bob@acme.example,eve@x.example"}, "sso_no_email", "claim-email"),
    "two-at-signs": ({"email": "bob@x.example@acme.example"}, "sso_no_email", "claim-email"),
    "address-list": ({"email": [BOB]}, "sso_no_email", "claim-email"),
    "other-script": ({"email": "bob@\u0430cme.example"}, "sso_no_email", "claim-email"),
    "unverified": ({"email_verified": False}, "sso_no_email", "claim-email-verified"),
    "unverified-as-text": ({"email_verified": "false"}, "sso_no_email", "claim-email-verified"),
    "verified-as-number": ({"email_verified": 1}, "sso_no_email", "claim-email-verified"),
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_tokens_that_say_something_else_are_refused(
    provider: Provider, connection: Connection, case: str
) -> None:
    claims, code, check = BAD_CLAIMS[case]
    now = int(time.time())
    provider.claims = {
        name: now + value
        if name in {"exp", "iat", "nbf"} and type(value) is int and abs(value) < 10**9
        else value
        for name, value in claims.items()
    }
    if provider.claims.get("iss") == "SLASH":
        provider.claims["iss"] = f"{provider.issuer.url}/"
    # PyJWT refuses to write some of these: they are signed as text.
    provider.sign = lambda **said: signed(provider, said)
    browser = Browser()
    assert_refused(browser, sign_in(browser, connection, provider), code, check)


def signed(provider: Provider, claims: dict[str, Any], **header: Any) -> str:
    """A token whose claims are not looked at."""
    payload = json.dumps(provider.issuer.claims(**claims)).encode()
    return jwt.PyJWS().encode(
        payload,
        provider.issuer.keys["rsa"],
        algorithm="RS256",
        headers={"kid": "rsa", "typ": "JWT", **header},
    )


def test_addresses_of_other_domains_are_refused(provider: Provider, connection: Connection) -> None:
    """However the provider vouches for them; so is one of a sub-domain."""
    for email in ("bob@umbrella.example", "bob@mail.acme.example", "alice@example.com"):
        provider.claims = {"email": email}
        browser = Browser()
        assert_refused(browser, sign_in(browser, connection, provider), "sso_domain_not_owned")


def test_a_provider_that_says_nothing_of_verification_is_believed(
    provider: Provider, connection: Connection
) -> None:
    """In the organization's own domains: it chose this provider for them."""
    provider.claims = {"email_verified": None}
    browser = Browser()
    sign_in(browser, connection, provider)
    assert is_signed_in(browser)


def by_hmac(provider: Provider, claims: dict[str, Any]) -> str:
    """The public key as the secret of an HMAC, by hand: PyJWT refuses to."""
    public = (
        provider.issuer.keys["rsa"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(provider.issuer.claims(**claims))}"
    return f"{text}.{part(hmac.digest(public, text.encode(), hashlib.sha256))}"


EVIL = rsa.generate_private_key(65537, 2048)
FORGERIES: dict[str, tuple[Callable[[Provider, dict[str, Any]], str], str]] = {
    "none": (
        lambda p, c: f"{part({'alg': 'none'})}.{part(p.issuer.claims(**c))}.",
        "token-form",
    ),
    "none-with-signature": (
        lambda p, c: f"{part({'alg': 'none'})}.{part(p.issuer.claims(**c))}.AAAA",
        "token-alg",
    ),
    "None-in-capitals": (
        lambda p, c: f"{part({'alg': 'NONE'})}.{part(p.issuer.claims(**c))}.AAAA",
        "token-alg",
    ),
    "hmac-with-the-public-key": (by_hmac, "token-alg"),
    "eddsa": (lambda p, c: p.issuer.sign("EdDSA", **c), "token-alg"),
    "algorithm-list": (
        lambda p, c: f"{part({'alg': ['RS256']})}.{part(p.issuer.claims(**c))}.AAAA",
        "token-alg",
    ),
    "another-key": (lambda p, c: p.issuer.sign(key=EVIL, **c), "token-signature"),
    "key-in-the-header": (
        lambda p, c: p.issuer.sign(key=EVIL, headers={"jwk": public_jwk("rsa", EVIL)}, **c),
        "token-signature",
    ),
    "key-elsewhere": (
        lambda p, c: p.issuer.sign(key=EVIL, headers={"jku": f"{p.issuer.url}/evil-keys"}, **c),
        "token-signature",
    ),
    "unknown-kid": (lambda p, c: p.issuer.sign(headers={"kid": "other"}, **c), "token-kid"),
    "path-as-kid": (
        lambda p, c: p.issuer.sign(headers={"kid": "../../dev/null"}, **c),
        "token-kid",
    ),
    "kid-of-another-kind": (lambda p, c: p.issuer.sign(headers={"kid": "ec"}, **c), "token-kid"),
    "critical-extension": (
        lambda p, c: signed(p, c, crit=["exp"]),
        "token-form",
    ),
    "access-token-type": (lambda p, c: signed(p, c, typ="at+jwt"), "token-form"),
    "no-json": (lambda p, c: f"{part({'alg': 'RS256'})}.{part(b'no')}.AAAA", "token-form"),
    "deep-json": (
        lambda p, c: f"{part({'alg': 'RS256'})}.{part(b'[' * 9000)}.AAAA",
        "token-form",
    ),
    "json-list": (lambda p, c: f"{part({'alg': 'RS256'})}.{part([1])}.AAAA", "token-form"),
    "encrypted": (lambda p, c: "a.b.c.d.e", "token-form"),
    "nothing": (lambda p, c: "", "token-form"),
    "huge": (lambda p, c: p.issuer.sign(padding="x" * 40_000, **c), "token-form"),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_forged_tokens_are_refused(provider: Provider, connection: Connection, case: str) -> None:
    forge, check = FORGERIES[case]
    provider.issuer.answers["/evil-keys"] = answered({"keys": [public_jwk("rsa", EVIL)]})
    provider.sign = lambda **claims: forge(provider, claims)
    browser = Browser()
    code = "sso_invalid_response" if check == "token-form" else "sso_signature"
    assert_refused(browser, sign_in(browser, connection, provider), code, check)
    assert "/evil-keys" not in provider.issuer.paths


BAD_KEY_SETS: dict[str, tuple[Callable[[Provider], object], str]] = {
    "no-list": (lambda p: {"keys": "rsa"}, "key-set"),
    "no-keys": (lambda p: {}, "key-set"),
    "too-many": (lambda p: {"keys": [{"kid": str(n)} for n in range(51)]}, "key-set"),
    "two-of-one-name": (lambda p: {"keys": [*p.issuer.jwks["keys"]] * 2}, "token-kid"),
    "for-encryption": (
        lambda p: {"keys": [{**public_jwk("rsa", p.issuer.keys["rsa"]), "use": "enc"}]},
        "token-kid",
    ),
    "symmetric": (lambda p: {"keys": [{"kty": "oct", "k": "AAAA", "kid": "rsa"}]}, "token-kid"),
    "no-numbers": (lambda p: {"keys": [{"kty": "RSA", "kid": "rsa"}]}, "key-numbers"),
    "weird-numbers": (
        lambda p: {"keys": [{"kty": "RSA", "kid": "rsa", "n": [1], "e": {}}]},
        "key-numbers",
    ),
    "short": (
        lambda p: {"keys": [public_jwk("rsa", rsa.generate_private_key(65537, 1024))]},  # noqa: S505
        "key-size",
    ),
    "no-objects": (lambda p: {"keys": [1, None, "x"]}, "token-kid"),
}


@pytest.mark.parametrize("case", BAD_KEY_SETS)
def test_bad_key_sets_let_nobody_in(provider: Provider, connection: Connection, case: str) -> None:
    make, check = BAD_KEY_SETS[case]
    provider.issuer.answers[JWKS] = answered(make(provider))
    browser = Browser()
    assert_refused(browser, sign_in(browser, connection, provider), "sso_signature", check)


def test_a_signature_written_in_another_way_is_the_same_token(keys: dict[str, PrivateKey]) -> None:
    """ECDSA has two signatures for one text: replays are known by what is signed."""
    issuer = Issuer(url="https://idp.example", keys=dict(keys))
    text = issuer.sign("ES256", aud=CLIENT_ID, nonce="n")
    signing, _, signature = text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    assert decode_dss_signature(encode_dss_signature(r, s)) == (r, s)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = f"{signing}.{part(r.to_bytes(32, 'big') + (order - s).to_bytes(32, 'big'))}"
    assert twin != text
    assert isinstance(keys["ec"], ec.EllipticCurvePrivateKey)
    expected = Expected(issuer=issuer.url, client_id=CLIENT_ID, nonce="n", skew=60)
    found = {
        verify_id_token(
            each, keys=issuer.jwks, expected=expected, access_token="", now=time.time()
        ).digest
        for each in (text, twin)
    }
    assert len(found) == 1


def test_the_access_token_is_held_to_its_hash(keys: dict[str, PrivateKey]) -> None:
    """The example of OpenID Connect Core, A.3."""
    issuer = Issuer(url="https://idp.example", keys=dict(keys))
    text = issuer.sign(aud=CLIENT_ID, nonce="n", at_hash="77QmUPtjPfzWtF2AnpK9RQ")
    expected = Expected(issuer=issuer.url, client_id=CLIENT_ID, nonce="n", skew=60)
    verify_id_token(
        text,
        keys=issuer.jwks,
        expected=expected,
        access_token="jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
        now=time.time(),
    )


@pytest.mark.parametrize(
    ("auth_time", "proven_at"),
    [
        (None, None),
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("now", None),
        (True, None),
        (1e300, None),
    ],
    ids=["none", "number", "text", "true", "huge"],
)
def test_when_the_person_proved_who_they_are_is_told(
    keys: dict[str, PrivateKey], auth_time: Any, proven_at: datetime | None
) -> None:
    issuer = Issuer(url="https://idp.example", keys=dict(keys))
    expected = Expected(issuer=issuer.url, client_id=CLIENT_ID, nonce="n", skew=10)
    text = issuer.sign(aud=CLIENT_ID, nonce="n", auth_time=auth_time)
    token = verify_id_token(
        text, keys=issuer.jwks, expected=expected, access_token="", now=time.time()
    )
    assert token.proven_at == proven_at


# ---- State, browser, code ----------------------------------------------------------------------


def test_a_state_works_once(provider: Provider, connection: Connection) -> None:
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    assert come_back(browser, connection, state).status_code == 302
    browser.logout()
    asked = len(provider.issuer.paths)
    response = come_back(browser, connection, state)
    assert "sso_unsolicited" in response.content.decode()
    assert not is_signed_in(browser)
    assert len(provider.issuer.paths) == asked, "a used state led to the provider"


def test_a_state_is_used_up_by_a_bad_answer_too(provider: Provider, connection: Connection) -> None:
    """So nobody tries codes on it."""
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    provider.challenge = "of another"
    assert_refused(browser, come_back(browser, connection, state), "sso_idp_unreachable")
    assert "invalid_grant" in Attempt.objects.latest("created_at").reason
    assert_refused(browser, come_back(browser, connection, state), "sso_unsolicited")


def test_another_browser_gets_nothing_and_takes_nothing(
    provider: Provider, connection: Connection
) -> None:
    """Not the code exchanged, nor the state of who began."""
    browser, other = Browser(), Browser()
    state = leave(browser, connection, provider)["state"]
    asked = len(provider.issuer.paths)
    assert_refused(other, come_back(other, connection, state), "sso_other_browser")
    # With a sign-in of its own under way, too.
    other.get(f"/sso/{connection.pk}/login")
    assert_refused(other, come_back(other, connection, state), "sso_other_browser")
    assert len(provider.issuer.paths) == asked
    assert come_back(browser, connection, state).status_code == 302
    assert is_signed_in(browser)


def test_a_code_that_was_brought_in_from_another_sign_in_is_refused(
    provider: Provider, connection: Connection
) -> None:
    """The provider knows the challenge that the code was given for (PKCE); were it not to look, the
    nonce says it.
    """
    attacker, victim = Browser(), Browser()
    leave(attacker, connection, provider)
    nonce, challenge = provider.nonce, provider.challenge
    state = leave(victim, connection, provider)["state"]
    provider.nonce, provider.challenge = nonce, challenge
    assert_refused(victim, come_back(victim, connection, state), "sso_idp_unreachable")
    state = leave(victim, connection, provider)["state"]
    provider.nonce = nonce
    assert_refused(victim, come_back(victim, connection, state), "sso_replay", "token-nonce")


def test_nobody_comes_back_who_never_left(provider: Provider, connection: Connection) -> None:
    browser = Browser()
    for state in ("", "_" + "0" * 48, "used:x", "a\0b", "\U0001f600" * 50):
        response = come_back(browser, connection, state)
        assert_refused(browser, response, "sso_unsolicited")
    assert provider.issuer.paths == []


@pytest.mark.parametrize("code", ["", "x" * 4097, "a\nb", "a\0b", "\u00e9"])
def test_what_is_no_code_is_not_sent_on(
    provider: Provider, connection: Connection, code: str
) -> None:
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    response = come_back(browser, connection, state, code=code)
    assert_refused(browser, response, "sso_invalid_response", "code")
    assert "/token" not in provider.issuer.paths


def test_the_providers_own_refusal_is_told_apart_and_never_shown_unescaped(
    provider: Provider, connection: Connection
) -> None:
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    said = {"error": "access_denied", "error_description": "<script>alert(1)</script>"}
    response = come_back(browser, connection, state, **said)
    attempt = assert_refused(browser, response, "sso_idp_refused")
    assert "access_denied" in attempt.reason
    assert b"<script>alert" not in response.content


@pytest.mark.parametrize("said", ["https://evil.example", "", "announced"])
def test_an_answer_of_another_provider_is_not_exchanged(
    provider: Provider, connection: Connection, said: str
) -> None:
    """RFC 9207: it has to be there where the provider says that it sends it."""
    provider.document = {"authorization_response_iss_parameter_supported": said != "announced"}
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    if said == "announced":
        iss = provider.issuer.url
        assert come_back(browser, connection, state, iss=iss).status_code == 302
        return
    response = come_back(browser, connection, state, iss=said)
    assert_refused(browser, response, "sso_issuer", "answer-iss")
    assert "/token" not in provider.issuer.paths


# ---- Two connections, two organizations --------------------------------------------------------


@pytest.fixture
def others(
    cast: Cast, trusting: None, other_server: Issuer
) -> Iterator[tuple[Provider, Connection]]:
    """Umbrella's provider, which says of everybody what it likes, and its connection."""
    provider = fresh(other_server, other_server.keys)
    yield (
        provider,
        make_oidc_connection(cast.other_organization, other_server.url, "umbrella.example"),
    )


def test_what_another_organizations_provider_says_signs_nobody_in_here(
    provider: Provider, connection: Connection, others: tuple[Provider, Connection]
) -> None:
    """The same sub, the same address, the same client id."""
    sign_in(Browser(), connection, provider)
    evil, theirs = others
    bob = User.objects.get(email=BOB)
    before = bob.last_login
    for claims in ({}, {"iss": provider.issuer.url}, {"sub": "x"}):
        evil.claims = claims
        browser = Browser()
        response = sign_in(browser, theirs, evil)
        assert response.status_code in {400, 403}
        assert not is_signed_in(browser)
    bob.refresh_from_db()
    assert bob.last_login == before
    assert Identity.objects.get().connection == connection


def test_a_state_of_one_connection_is_nothing_to_another(
    provider: Provider, connection: Connection, others: tuple[Provider, Connection]
) -> None:
    """Mix-up: the browser is led from one callback to the other's."""
    evil, theirs = others
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    assert_refused(browser, come_back(browser, theirs, state), "sso_unsolicited")
    assert evil.issuer.paths == []
    state = leave(browser, theirs, evil)["state"]
    assert_refused(browser, come_back(browser, connection, state), "sso_unsolicited")
    assert "/token" not in provider.issuer.paths


def test_a_token_of_another_connections_provider_is_refused(
    provider: Provider, connection: Connection, others: tuple[Provider, Connection]
) -> None:
    """Signed with its own keys, or saying that it is its own."""
    evil, _ = others
    provider.sign = lambda **claims: evil.issuer.sign(**{**claims, "iss": provider.issuer.url})
    browser = Browser()
    assert_refused(
        browser, sign_in(browser, connection, provider), "sso_signature", "token-signature"
    )
    provider.sign = evil.issuer.sign
    provider.issuer.keys = dict(evil.issuer.keys)
    assert_refused(browser, sign_in(browser, connection, provider), "sso_issuer", "token-iss")


def test_a_result_can_not_be_fetched_at_another_connection(
    provider: Provider, connection: Connection, others: tuple[Provider, Connection]
) -> None:
    _, theirs = others
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    response = browser.get(f"/sso/{connection.pk}/callback", {"code": "c", "state": state})
    moved = response["Location"].replace(str(connection.pk), str(theirs.pk))
    assert_refused(browser, browser.get(moved), "sso_request_over")


def test_connections_that_speak_saml_or_are_not_there_have_no_callback(
    cast: Cast, provider: Provider
) -> None:
    saml = make_connection(cast.organization)
    for pk in (saml.pk, uuid.uuid4()):
        assert Browser().get(f"/sso/{pk}/callback", {"state": "x"}).status_code == 404


def test_a_connection_that_was_switched_off_meanwhile_lets_nobody_in(
    provider: Provider, connection: Connection
) -> None:
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    Connection.objects.update(state=Connection.State.DISABLED)
    assert_refused(browser, come_back(browser, connection, state), "sso_not_active")
    assert "/token" not in provider.issuer.paths


@pytest.mark.django_db(transaction=True)
def test_of_two_answers_at_once_one_wins(provider: Provider, connection: Connection) -> None:
    """The code is exchanged once."""
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    cookies = browser.cookies

    said: list[int] = []

    def answer() -> None:
        twin = Browser()
        twin.cookies = cookies
        path = f"/sso/{connection.pk}/callback"
        said.append(twin.get(path, {"code": "c", "state": state}).status_code)

    at_once(answer, answer)
    assert sorted(said) == [303, 403]
    assert provider.issuer.paths.count("/token") == 1


# ---- What goes out -----------------------------------------------------------------------------

BROKEN_OFF = {"Content-Length": "9999", "Connection": "close"}
BAD_ANSWERS: dict[str, Callable[[], Any]] = {
    "redirect": lambda: (302, {"Location": "https://127.0.0.1:1/", "Content-Length": "0"}, b""),
    "server-error": lambda: (500, {}, b"oops"),
    "not-found": lambda: (404, {}, b"{}"),
    "no-json": lambda: (200, {}, b"<html>"),
    "no-object": lambda: (200, {}, b"[]"),
    "deep": lambda: (200, {}, b'{"a":' * 9000),
    "no-utf-8": lambda: (200, {}, b'{"a": "\xff"}'),
    "huge": lambda: (200, {}, b'{"a": "' + b"x" * 70_000 + b'"}'),
    "huge-number": lambda: (200, {}, b'{"a": ' + b"9" * 9000 + b"}"),
    "broken-off": lambda: (200, BROKEN_OFF, b"{"),
    "empty": lambda: (200, {}, b""),
}
EVERYWHERE = ("redirect", "no-object", "huge")


@pytest.mark.parametrize(
    ("place", "case"),
    [
        *(("/token", case) for case in BAD_ANSWERS),
        *((place, case) for place in (DISCOVERY, JWKS, "/userinfo") for case in EVERYWHERE),
    ],
)
def test_bad_answers_of_the_provider_are_refusals(
    provider: Provider, connection: Connection, place: str, case: str
) -> None:
    """At every address that is asked: never an error of ours, never followed elsewhere."""
    url = provider.issuer.url
    provider.document = {"userinfo_endpoint": f"{url}/userinfo"}
    provider.issuer.answers[place] = BAD_ANSWERS[case]
    browser = Browser()
    response = sign_in_or_refusal(browser, connection, provider)
    assert_refused(browser, response, "sso_idp_unreachable", "provider")


DRIPPED = 0.5


def test_an_answer_that_takes_forever_is_cut_off(
    provider: Provider, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "DEADLINE", DRIPPED)

    def slow() -> Any:
        time.sleep(3 * DRIPPED)
        return answered({})()

    provider.issuer.answers["/token"] = slow
    browser = Browser()
    state = leave(browser, connection, provider)["state"]
    began = time.monotonic()
    assert_refused(browser, come_back(browser, connection, state), "sso_idp_unreachable")
    assert time.monotonic() - began < 3 * DRIPPED


def test_private_addresses_are_not_asked(
    settings: Any, provider: Provider, connection: Connection
) -> None:
    """Where the operator did not allow them, which is the default."""
    settings.TAMARACK_ALLOW_PRIVATE_TARGETS = False
    browser = Browser()
    response = browser.get(f"/sso/{connection.pk}/login")
    attempt = assert_refused(browser, response, "sso_idp_unreachable")
    assert "TAMARACK_ALLOW_PRIVATE_TARGETS" in attempt.reason
    assert provider.issuer.paths == []


@pytest.mark.parametrize("name", ["jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "https://user:secret@127.0.0.1/x",
        "https://127.0.0.1/x#y",
        "https://",
        "//127.0.0.1/x",
        7,
        ["https://127.0.0.1/x"],
        "https://127.0.0.1:99999/x",
        "https://127.0.0.1/ x",
    ],
    ids=[
        "http",
        "file",
        "user",
        "fragment",
        "no-host",
        "no-scheme",
        "number",
        "list",
        "port",
        "space",
    ],
)
def test_documents_with_endpoints_that_are_no_https_addresses_are_refused(
    provider: Provider, connection: Connection, name: str, url: object
) -> None:
    provider.document = {name: url}
    browser = Browser()
    response = browser.get(f"/sso/{connection.pk}/login")
    assert_refused(browser, response, "sso_invalid_response", "discovery-endpoint")


@pytest.mark.parametrize("issuer", ["https://evil.example", None, 7], ids=["other", "none", "7"])
def test_a_document_of_another_issuer_is_refused(
    provider: Provider, connection: Connection, issuer: object
) -> None:
    provider.document = {"issuer": issuer}
    browser = Browser()
    response = browser.get(f"/sso/{connection.pk}/login")
    assert_refused(browser, response, "sso_issuer", "discovery-issuer")


def test_a_provider_whose_way_to_take_secrets_is_not_known_is_refused(
    provider: Provider, connection: Connection
) -> None:
    provider.document = {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}
    browser = Browser()
    response = sign_in_or_refusal(browser, connection, provider)
    assert_refused(browser, response, "sso_invalid_response", "client-authentication")


def sign_in_or_refusal(browser: Browser, connection: Connection, provider: Provider) -> Any:
    """Refused on the way there already, or on the way back."""
    response = browser.get(f"/sso/{connection.pk}/login")
    if response.status_code != 302:
        return response
    query = parse_qs(urlsplit(response["Location"]).query)
    provider.challenge, provider.nonce = query["code_challenge"][0], query["nonce"][0]
    return come_back(browser, connection, query["state"][0])


def test_what_is_found_once_is_not_asked_for_at_every_sign_in(
    provider: Provider, connection: Connection
) -> None:
    """Until the configuration changes."""
    for _ in range(3):
        leave(Browser(), connection, provider)
    assert provider.issuer.paths == [DISCOVERY]
    Connection.objects.update(config_version=2)
    leave(Browser(), connection, provider)
    assert provider.issuer.paths == [DISCOVERY] * 2


def test_a_secret_that_was_wrapped_for_another_connection_does_not_open(
    cast: Cast, provider: Provider, connection: Connection
) -> None:
    """And the refusal says nothing of it."""
    other = make_connection(cast.other_organization)
    connection.wrapped_client_secret = wrapped_client_secret(other, "hidden-secret")
    connection.save()
    browser = Browser()
    attempt = assert_refused(browser, sign_in(browser, connection, provider), "sso_not_active")
    assert "hidden-secret" not in attempt.reason
    assert "/token" not in provider.issuer.paths


@pytest.mark.parametrize("token", [None, "", 7, ["x"], "a b", "a\r\nX: y", "x" * 16385])
def test_what_is_no_access_token_is_not_sent_on(
    provider: Provider, connection: Connection, token: object
) -> None:
    provider.document = {"userinfo_endpoint": f"{provider.issuer.url}/userinfo"}
    provider.issuer.answers["/token"] = answered({"access_token": token, "id_token": "x"})
    browser = Browser()
    response = sign_in(browser, connection, provider)
    assert_refused(browser, response, "sso_invalid_response", "token-endpoint")
    assert "/userinfo" not in provider.issuer.paths


# ---- Userinfo, claims --------------------------------------------------------------------------


def test_what_the_token_leaves_out_comes_from_userinfo(
    provider: Provider, connection: Connection
) -> None:
    """Asked with the access token; where both speak, the signed token is believed."""
    provider.document = {"userinfo_endpoint": f"{provider.issuer.url}/userinfo"}
    provider.claims = {"email": None, "name": "From the token"}
    provider.issuer.answers["/userinfo"] = answered(
        {"sub": "bob-at-idp", "email": "Bob@ACME.example", "name": "From userinfo"}
    )
    sign_in(Browser(), connection, provider)
    assert User.objects.get(email=BOB).name == "From the token"


@pytest.mark.parametrize(
    "sub", ["somebody-else", None, ["bob-at-idp"]], ids=["else", "none", "list"]
)
def test_userinfo_of_somebody_else_is_refused(
    provider: Provider, connection: Connection, sub: object
) -> None:
    provider.document = {"userinfo_endpoint": f"{provider.issuer.url}/userinfo"}
    provider.issuer.answers["/userinfo"] = answered({"sub": sub, "email": BOB})
    browser = Browser()
    response = sign_in(browser, connection, provider)
    assert_refused(browser, response, "sso_other_person", "userinfo-sub")


def test_an_address_that_userinfo_calls_unverified_is_refused(
    provider: Provider, connection: Connection
) -> None:
    provider.document = {"userinfo_endpoint": f"{provider.issuer.url}/userinfo"}
    provider.claims = {"email_verified": None}
    provider.issuer.answers["/userinfo"] = answered({"sub": "bob-at-idp", "email_verified": False})
    browser = Browser()
    response = sign_in(browser, connection, provider)
    assert_refused(browser, response, "sso_no_email", "claim-email-verified")


def test_claims_are_read_by_the_names_that_the_connection_maps(
    cast: Cast, provider: Provider, connection: Connection
) -> None:
    connection.attribute_map = {"email": "upn", "uid": "oid", "first_name": "vorname"}
    connection.save()
    provider.claims = {
        **{"upn": BOB, "oid": "o-1", "vorname": "Bob", "family_name": "Builder"},
        **{"email": "spam@elsewhere.example"},
    }
    sign_in(Browser(), connection, provider)
    assert User.objects.get(email=BOB).name == "Bob Builder"
    assert Identity.objects.get().uid == "o-1"


def test_groups_give_the_mapped_roles_exactly(
    cast: Cast, provider: Provider, connection: Connection
) -> None:
    """And a provider that leaves groups out for their number takes none away."""
    connection.roles_mode = Connection.RolesMode.EXACT
    connection.role_mappings = [{"value": "ops", "role": "OrgManager", "project_id": None}]
    connection.save()
    provider.claims = {"groups": ["ops", 7, "x" * 300, "nul\0"]}
    sign_in(Browser(), connection, provider)
    bob = User.objects.get(email=BOB)
    assert roles_of(cast, bob) == {"OrgManager"}
    provider.claims = {"_claim_names": {"groups": "src1"}}
    browser = Browser()
    response = sign_in(browser, connection, provider)
    assert "sso_no_roles" in response.content.decode()
    assert not is_signed_in(browser)
    assert roles_of(cast, bob) == {"OrgManager"}


def roles_of(cast: Cast, user: User) -> set[str]:
    actor = cast.actor(user)
    return {
        binding.role
        for binding in actor.bindings
        if binding.organization_id == cast.organization.pk
    }


def test_more_groups_than_anybody_needs_are_refused(
    provider: Provider, connection: Connection
) -> None:
    provider.claims = {"groups": [str(number) for number in range(1001)]}
    browser = Browser()
    response = sign_in(browser, connection, provider)
    assert_refused(browser, response, "sso_invalid_response", "claim-values")


def test_requests_that_nobody_finished_keep_no_secret(
    provider: Provider, connection: Connection
) -> None:
    """What stands in the database redeems no code: nonce and verifier hang on the cookie."""
    browser = Browser()
    asked = leave(browser, connection, provider)
    row = SignInRequest.objects.get()
    cookie = next(value.value for name, value in browser.cookies.items() if "sso" in name)
    stored = " ".join(str(getattr(row, field.attname)) for field in row._meta.concrete_fields)
    for secret in (cookie, asked["nonce"], asked["code_challenge"]):
        assert secret not in stored

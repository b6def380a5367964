"""Workload identity federation against a real issuer: who gets in, and every way not to."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.cache import cache

from audit.models import AuditEvent
from audit.streams import targets
from keys import federation
from keys.federation import checked_conditions, matches, public_keys, read
from keys.models import FederationRule, OidcIssuer, ServiceAccount
from keys.selectors.federation import get_issuer, get_rule, issuers_of, rules_of
from keys.selectors.tokens import verify_token
from keys.services.federation import (
    create_issuer,
    create_rule,
    delete_issuer,
    delete_rule,
    exchange_token,
    try_token,
    update_issuer,
    update_rule,
)
from keys.services.service_accounts import delete_service_account
from keys.services.tokens import Asker, OAuthError, TokenRefused
from orgs.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, QuotaExceeded
from orgs.models import SecurityBaseline
from orgs.plans import Plan
from tests.cast import Cast
from tests.factories import SYSTEM, make_service_account
from tests.keys.test_service_accounts import manager
from tests.oidc import (
    AUDIENCE,
    DISCOVERY,
    JWKS,
    SUBJECT,
    Issuer,
    PrivateKey,
    make_certificate,
    new_keys,
    part,
    public_jwk,
    serving,
)

CONDITIONS = {"sub": "repo:acme/*"}
GITHUB = "https://token.actions.githubusercontent.com"
BROKEN_OFF = {"Content-Length": "9999", "Connection": "close"}
HERE = Asker(ip="203.0.113.7")


@pytest.fixture(scope="module")
def keys() -> dict[str, PrivateKey]:
    """The issuer's keys; making them takes the longest."""
    return new_keys()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The issuer's certificate."""
    return make_certificate(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def server(keys: dict[str, PrivateKey], certificate: Path) -> Iterator[Issuer]:
    """The issuer's server."""
    with serving(certificate, keys) as found:
        yield found


@pytest.fixture
def issuer(
    db: None,
    server: Issuer,
    keys: dict[str, PrivateKey],
    certificate: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Issuer:
    """A local issuer that this machine trusts, with an operator who allows such targets."""
    settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    cache.clear()
    server.keys = dict(keys)
    server.paths.clear()
    server.answers.clear()
    return server


@pytest.fixture
def account(cast: Cast) -> ServiceAccount:
    """An owner in Acme."""
    return make_service_account(cast.organization)[0]


@pytest.fixture
def rule(cast: Cast, issuer: Issuer, account: ServiceAccount) -> FederationRule:
    """What the repositories of acme are let in by."""
    return add_rule(account, add_issuer(cast, issuer))


def add_issuer(cast: Cast, server: Issuer, **values: Any) -> OidcIssuer:
    """Acme believes the issuer."""
    values = {"name": "CI", "issuer": server.url, "audience": AUDIENCE, **values}
    return create_issuer(actor=SYSTEM, organization_id=cast.organization.pk, **values)


def add_rule(
    account: ServiceAccount, issuer: OidcIssuer, conditions: dict[str, str] | None = None
) -> FederationRule:
    """A rule for the account."""
    return create_rule(
        actor=SYSTEM,
        issuer_id=issuer.pk,
        account_id=account.pk,
        name="main",
        conditions=CONDITIONS if conditions is None else conditions,
    )


def exchange(rule: FederationRule, token: str, asker: Asker = HERE) -> str:
    """The access token for it."""
    client_id = rule.account.client_id
    return exchange_token(client_id=client_id, subject_token=token, asker=asker)[1]


def refused(rule: FederationRule, token: str) -> str:
    """Which check the audit trail says the token failed."""
    cache.clear()
    with pytest.raises(TokenRefused) as caught:
        exchange(rule, token)
    assert caught.value.error == OAuthError.INVALID_GRANT
    assert "rule tester" in caught.value.description
    event = AuditEvent.objects.filter(type="token.refused").latest("time")
    assert event.organization_id == rule.issuer.organization_id
    return str(event.detail["reason"]).removeprefix("token exchange: ")


class ExchangeTokenTests:
    @pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
    def test_a_good_token_is_exchanged(
        self, rule: FederationRule, issuer: Issuer, algorithm: str
    ) -> None:
        token = verify_token(exchange(rule, issuer.sign(algorithm)))
        assert token is not None
        assert token.actor.id == str(rule.account_id)
        event = AuditEvent.objects.filter(type="token.issued").latest("time")
        assert event.detail["subject"] == SUBJECT
        assert event.detail["rule_id"] == str(rule.pk)
        assert event.detail["kind"] == "token_exchange"
        assert issuer.paths == [DISCOVERY, JWKS]

    @pytest.mark.parametrize(
        "odd",
        [
            {"kid": "a\0b"},
            {"kid": "\ud800"},
            {"key_ops": ["verify", "\0"]},
            {"x": {"\0": "\ud800"}},
        ],
        ids=["nul", "surrogate", "operations", "unused"],
    )
    def test_a_key_that_no_database_could_keep_does_not_stop_the_others(
        self, rule: FederationRule, issuer: Issuer, odd: dict[str, Any]
    ) -> None:
        good = issuer.jwks["keys"]
        served = json.dumps({"keys": [{**good[0], **odd}, *good]}).encode()
        issuer.answers[JWKS] = lambda: (200, {}, served)
        assert verify_token(exchange(rule, issuer.sign())) is not None

    def test_keys_are_fetched_once(self, rule: FederationRule, issuer: Issuer) -> None:
        for _ in range(3):
            exchange(rule, issuer.sign())
        assert issuer.paths == [DISCOVERY, JWKS]

    def test_keys_from_a_given_address(
        self, cast: Cast, issuer: Issuer, account: ServiceAccount
    ) -> None:
        row = add_issuer(cast, issuer, jwks_uri=issuer.url + JWKS)
        exchange(add_rule(account, row), issuer.sign())
        assert issuer.paths == [JWKS]

    def test_keys_given_once_are_never_fetched(
        self, cast: Cast, issuer: Issuer, account: ServiceAccount
    ) -> None:
        row = add_issuer(cast, issuer, issuer="kubernetes/serviceaccount", jwks=issuer.jwks)
        rule = add_rule(account, row)
        exchange(rule, issuer.sign(iss="kubernetes/serviceaccount"))
        unknown = issuer.sign(iss="kubernetes/serviceaccount", headers={"kid": "other"})
        assert refused(rule, unknown) == "key"
        assert issuer.paths == []

    def test_the_second_rule_counts_where_the_first_does_not(
        self, cast: Cast, issuer: Issuer, rule: FederationRule
    ) -> None:
        add_rule(rule.account, rule.issuer, {"environment": "production"})
        exchange(rule, issuer.sign(sub="someone else", environment="production"))

    def test_an_audience_among_several_and_an_element_of_a_list(
        self, cast: Cast, issuer: Issuer, account: ServiceAccount
    ) -> None:
        rule = add_rule(account, add_issuer(cast, issuer), {"groups": "deploy*"})
        exchange(rule, issuer.sign(aud=["other", AUDIENCE], groups=["test", "deployers"]))
        assert refused(rule, issuer.sign(groups=["test"])) == "condition groups"

    def test_a_token_may_be_exchanged_again_until_it_expires(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        token = issuer.sign()
        assert exchange(rule, token) != exchange(rule, token)

    def test_the_organizations_ranges_hold(
        self, cast: Cast, rule: FederationRule, issuer: Issuer
    ) -> None:
        SecurityBaseline.objects.create(organization=cast.organization, ip_ranges=["10.0.0.0/8"])
        with pytest.raises(TokenRefused, match=HERE.ip) as caught:
            exchange(rule, issuer.sign())
        assert caught.value.error == OAuthError.UNAUTHORIZED_CLIENT

    def test_the_token_itself_is_kept_nowhere(self, rule: FederationRule, issuer: Issuer) -> None:
        token = issuer.sign()
        exchange(rule, token)
        refused(rule, issuer.sign(sub="someone else"))
        assert token.rpartition(".")[2] not in repr(list(AuditEvent.objects.values()))


class RefuseForeignTokenTests:
    """What an attacker can make, with or without a token of the issuer's own."""

    def test_wrong_claims(self, rule: FederationRule, issuer: Issuer) -> None:
        cases: Any = [
            ({"iss": "https://elsewhere.example"}, "issuer"),
            ({"iss": None}, "issuer"),
            ({"iss": ["a"]}, "issuer"),
            ({"iss": "x" * 5000}, "issuer"),
            ({"iss": "a\0b\ud800"}, "issuer"),
            ({"aud": "https://api.pinecone.io/"}, "audience"),
            ({"aud": None}, "audience"),
            ({"aud": [AUDIENCE + "x"]}, "audience"),
            ({"aud": {AUDIENCE: 1}}, "audience"),
            ({"sub": None}, "subject"),
            ({"sub": ""}, "subject"),
            ({"sub": 5}, "subject"),
            ({"sub": "repo:evil/search"}, "condition sub"),
            ({"sub": "xrepo:acme/search"}, "condition sub"),
            ({"exp": None}, "time"),
            ({"exp": 10**400}, "time"),
            ({"exp": True}, "time"),
            ({"exp": "9999999999"}, "time"),
            ({"exp": int(time.time()) - 120}, "time"),
            ({"exp": int(time.time()) + 25 * 3600}, "time"),
            ({"iat": None}, "time"),
            ({"iat": int(time.time()) + 600}, "time"),
            ({"nbf": int(time.time()) + 600}, "time"),
            ({"nbf": "soon"}, "time"),
            ({"nbf": {}}, "time"),
        ]
        for changes, failed in cases:
            # PyJWT itself would refuse to write some of them.
            token = self.by_hand(issuer, issuer.claims(**changes))
            assert refused(rule, token) == failed, changes

    @staticmethod
    def by_hand(issuer: Issuer, claims: dict[str, Any]) -> str:
        return jwt.PyJWS().encode(
            json.dumps(claims).encode(), issuer.keys["ed"], "EdDSA", headers={"kid": "ed"}
        )

    def test_a_clock_that_is_a_little_off_is_forgiven(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        now = int(time.time())
        exchange(rule, issuer.sign(exp=now - 30, iat=now - 300))
        exchange(rule, issuer.sign(iat=now + 30, nbf=now + 30))

    def test_no_signature_at_all(self, rule: FederationRule, issuer: Issuer) -> None:
        cases: Any = ["none", "None", "nOnE", "", None, 5, ["RS256"]]
        for algorithm in cases:
            header = part({"alg": algorithm, "kid": "rsa", "typ": "JWT"})
            claims = part(issuer.claims())
            assert refused(rule, f"{header}.{claims}.") == "form"
            assert refused(rule, f"{header}.{claims}.AAAA") == "algorithm"

    def test_an_hmac_with_the_public_key(self, rule: FederationRule, issuer: Issuer) -> None:
        cases: Any = ["HS256", "HS384", "HS512"]
        for algorithm in cases:
            public = issuer.keys["rsa"].public_key()
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            for secret in (
                public.public_bytes(serialization.Encoding.PEM, form),
                public.public_bytes(serialization.Encoding.DER, form),
            ):
                header = part({"alg": algorithm, "kid": "rsa", "typ": "JWT"})
                signed = f"{header}.{part(issuer.claims())}"
                name = algorithm.replace("HS", "sha")
                signature = hmac.digest(secret, signed.encode(), getattr(hashlib, name))
                assert refused(rule, f"{signed}.{part(signature)}") == "algorithm"

    def test_an_algorithm_that_is_not_believed(self, rule: FederationRule, issuer: Issuer) -> None:
        cases: Any = ["RS384", "RS512", "PS256", "ES384", "ES512"]
        for algorithm in cases:
            key: Any = issuer.keys["rsa"]
            if algorithm.startswith("ES"):
                key = ec.generate_private_key(
                    ec.SECP384R1() if algorithm == "ES384" else ec.SECP521R1()
                )
            token = jwt.encode(issuer.claims(), key, algorithm=algorithm, headers={"kid": "rsa"})
            assert refused(rule, token) == "algorithm", algorithm

    def test_the_key_of_another_algorithm(self, rule: FederationRule, issuer: Issuer) -> None:
        assert refused(rule, issuer.sign("ES256", headers={"kid": "rsa"})) == "key"

    def test_a_key_of_the_attackers_own(self, rule: FederationRule, issuer: Issuer) -> None:
        stranger = rsa.generate_private_key(65537, 2048)
        assert refused(rule, issuer.sign(key=stranger)) == "signature"

    def test_an_unknown_key(self, rule: FederationRule, issuer: Issuer) -> None:
        cases: Any = ["nobody", "", None, 5, ["rsa"], "../rsa", "a\0"]
        for kid in cases:
            header = {"alg": "RS256", "typ": "JWT", "kid": kid}
            signed = f"{part(header)}.{part(issuer.claims())}"
            assert refused(rule, f"{signed}.{part(b'x' * 256)}") == "key"

    @pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
    def test_a_place_to_get_the_key_from_is_not_looked_at(
        self, rule: FederationRule, issuer: Issuer, name: str
    ) -> None:
        stranger = rsa.generate_private_key(65537, 2048)
        issuer.answers["/evil"] = lambda: (
            200,
            {},
            json.dumps({"keys": [public_jwk("rsa", stranger)]}).encode(),
        )
        value: Any = {
            "jwk": public_jwk("rsa", stranger),
            "x5c": ["MIIB"],
        }.get(name, f"{issuer.url}/evil")
        token = issuer.sign(key=stranger, headers={name: value})
        assert refused(rule, token) == "signature"
        assert "/evil" not in issuer.paths
        exchange(rule, issuer.sign(headers={name: value}))

    def test_a_token_of_another_type(self, rule: FederationRule, issuer: Issuer) -> None:
        cases: Any = ["at+jwt", "logout+jwt", "dpop+jwt", "JOSE", 5, ""]
        for kind in cases:
            header = {"alg": "RS256", "kid": "rsa", "typ": kind}
            signed = f"{part(header)}.{part(issuer.claims())}"
            assert refused(rule, f"{signed}.{part(b'x' * 256)}") == "type", header

    @pytest.mark.parametrize("kind", ["JWT", "jwt", "application/jwt"])
    def test_the_types_that_are_believed(
        self, rule: FederationRule, issuer: Issuer, kind: str
    ) -> None:
        exchange(rule, issuer.sign(headers={"typ": kind}))

    def test_an_extension_that_must_be_understood(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        header = {"alg": "RS256", "kid": "rsa", "crit": ["exp"]}
        signed = f"{part(header)}.{part(issuer.claims())}"
        assert refused(rule, f"{signed}.{part(b'x' * 256)}") == "critical"

    def test_claims_or_header_changed_after_signing(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        header, claims, signature = issuer.sign(sub="someone else").split(".")
        forged = part(issuer.claims())
        assert refused(rule, f"{header}.{forged}.{signature}") == "signature"
        assert refused(rule, f"{header}.{claims}.{signature[:-4]}") == "signature"
        assert refused(rule, f"{part({'alg': 'ES256', 'kid': 'ec'})}.{claims}.{signature}") == (
            "signature"
        )

    def test_text_that_is_no_token(self, rule: FederationRule) -> None:
        cases: Any = [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d.e",
            "x" * 20_000,
            "é.é.é",
            "\0.\0.\0",
            "\ud800",
            f"{part([])}.{part({})}.AAAA",
            f"{part({})}.{part(5)}.AAAA",
            f"{part({})}.{part(b'{' * 2000)}.AAAA",
            f"{part({})}.{part(b'[' * 9000)}.AAAA",
            f"{part({})}.{part({})}.AA==",
            f"{part({})}.{part({})}.AA\n",
            f"_w.{part({})}.AAAA",
        ]
        for text in cases:
            assert refused(rule, text) == "form", text

    def test_rules_of_another_account_do_not_count(
        self, cast: Cast, rule: FederationRule, issuer: Issuer
    ) -> None:
        other, _ = make_service_account(cast.organization)
        foreign, _ = make_service_account(cast.other_organization)
        for account in (other, foreign):
            with pytest.raises(TokenRefused) as caught:
                exchange_token(client_id=account.client_id, subject_token=issuer.sign(), asker=HERE)
            assert caught.value.error == OAuthError.INVALID_GRANT

    @pytest.mark.parametrize("client_id", ["", "x", "\0", "tmrk_sa_" + "0" * 22])
    def test_an_unknown_client_is_the_same_answer(
        self, rule: FederationRule, issuer: Issuer, client_id: str
    ) -> None:
        texts = set()
        for name, token in ((client_id, issuer.sign()), (rule.account.client_id, "x")):
            with pytest.raises(TokenRefused) as caught:
                exchange_token(client_id=name, subject_token=token, asker=HERE)
            texts.add((caught.value.error, caught.value.description))
        assert len(texts) == 1


class FetchKeysTests:
    def test_a_new_key_is_fetched_when_a_token_names_it(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        exchange(rule, issuer.sign())
        issuer.keys["new"] = ec.generate_private_key(ec.SECP256R1())
        token = issuer.sign("ES256", key=issuer.keys["new"], headers={"kid": "new"})
        assert refused(rule, token) == "key"
        assert len(issuer.paths) == 2
        self.minute_passes()
        exchange(rule, token)
        assert len(issuer.paths) == 4

    @staticmethod
    def minute_passes(minutes: int = 1) -> None:
        for row in OidcIssuer.objects.all():
            earlier = timedelta(minutes=minutes)
            OidcIssuer.objects.filter(pk=row.pk).update(
                jwks_tried_at=row.jwks_tried_at and row.jwks_tried_at - earlier,
                jwks_fetched_at=row.jwks_fetched_at and row.jwks_fetched_at - earlier,
            )

    def test_a_flood_of_unknown_keys_is_one_fetch_a_minute(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        for number in range(5):
            assert refused(rule, issuer.sign(headers={"kid": f"k{number}"})) == "key"
        assert issuer.paths == [DISCOVERY, JWKS]

    def test_a_key_that_the_issuer_took_back_is_not_believed_for_long(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        exchange(rule, issuer.sign())
        token = issuer.sign(exp=int(time.time()) + 7200)
        del issuer.keys["rsa"]
        exchange(rule, token)
        self.minute_passes(61)
        assert refused(rule, token) == "key"

    def test_while_the_issuer_is_away_its_keys_are_believed_for_a_day(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        exchange(rule, issuer.sign())
        issuer.answers[DISCOVERY] = lambda: (503, {}, b"")
        self.minute_passes(23 * 60)
        exchange(rule, issuer.sign())
        self.minute_passes(2 * 60)
        assert refused(rule, issuer.sign()) == "key"
        assert "503" in OidcIssuer.objects.get().jwks_error

    def test_a_bad_answer_lets_nobody_in_and_is_told(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        cases: Any = [
            (JWKS, (200, {}, b'{"keys": [' + b" " * 70_000 + b"]}"), "more than 65536 bytes"),
            (JWKS, (302, {"Location": "/elsewhere"}, b""), "answered 302"),
            (DISCOVERY, (301, {"Location": "/elsewhere"}, b""), "answered 301"),
            (JWKS, (200, {}, b"<html>"), "no JSON"),
            (JWKS, (200, {}, b"[" * 60_000), "no JSON"),
            (JWKS, (200, {}, b"[]"), "JWK set"),
            (JWKS, (200, {}, b'{"keys": {}}'), "JWK set"),
            (JWKS, (200, {}, b'{"keys": [5]}'), "JWK set"),
            (JWKS, (200, {}, b'{"keys": []}'), "no key"),
            (JWKS, (200, {}, b'{"keys": [{"kty": "oct", "kid": "a", "k": "AA"}]}'), "no key"),
            (JWKS, (200, {}, json.dumps({"keys": [{}] * 51}).encode()), "at most 50"),
            (JWKS, (500, {}, b""), "answered 500"),
            (DISCOVERY, (200, {}, b"{}"), "does not speak for"),
            (DISCOVERY, (200, {}, b'{"issuer": "https://evil.example"}'), "does not speak for"),
            (JWKS, (200, BROKEN_OFF, b'{"keys": ['), "no JSON"),
        ]
        for path, answer, says in cases:
            OidcIssuer.objects.update(jwks_tried_at=None, jwks_error="")
            issuer.answers.clear()
            issuer.answers[path] = partial(tuple, answer)
            issuer.answers["/elsewhere"] = lambda: (200, {}, json.dumps(issuer.jwks).encode())
            assert refused(rule, issuer.sign()) == "key", answer
            assert says in OidcIssuer.objects.get().jwks_error
            assert "/elsewhere" not in issuer.paths

    @pytest.mark.parametrize(
        "jwks_uri", ["http://127.0.0.1/jwks", "file:///etc/passwd", "https://u:p@127.0.0.1/", None]
    )
    def test_a_discovery_document_that_leads_astray(
        self, rule: FederationRule, issuer: Issuer, jwks_uri: object
    ) -> None:
        body = json.dumps({"issuer": issuer.url, "jwks_uri": jwks_uri}).encode()
        issuer.answers[DISCOVERY] = lambda: (200, {}, body)
        assert refused(rule, issuer.sign()) == "key"
        assert "jwks_uri" in OidcIssuer.objects.get().jwks_error

    def test_a_slow_issuer_is_cut_off(
        self, rule: FederationRule, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released = threading.Event()

        def dawdle() -> Any:
            released.wait(30)
            return 200, {}, b"{}"

        monkeypatch.setattr(targets, "DEADLINE", 0.3)
        issuer.answers[DISCOVERY] = dawdle
        try:
            assert refused(rule, issuer.sign()) == "key"
        finally:
            released.set()
        assert OidcIssuer.objects.get().jwks_error

    def test_a_certificate_that_nobody_vouches_for(
        self, rule: FederationRule, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        assert refused(rule, issuer.sign()) == "key"
        assert "certificate" in OidcIssuer.objects.get().jwks_error
        assert issuer.paths == []

    def test_a_private_address_needs_the_operators_leave(
        self, rule: FederationRule, issuer: Issuer, settings: Any
    ) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = False
        assert refused(rule, issuer.sign()) == "key"
        assert "not a public address" in OidcIssuer.objects.get().jwks_error
        assert issuer.paths == []

    def test_keys_for_other_purposes_are_left_out(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  that is the point
        others = [
            {**public_jwk("rsa", issuer.keys["rsa"]), "use": "enc"},
            {**public_jwk("rsa", issuer.keys["rsa"]), "key_ops": 5},
            {**public_jwk("rsa", issuer.keys["rsa"]), "alg": "RS512"},
            {**public_jwk("rsa", issuer.keys["rsa"]), "n": "AQAB"},
            {**public_jwk("rsa", issuer.keys["rsa"]), "n": 5},
            {**public_jwk("ec", issuer.keys["ec"]), "x": "AA"},
            public_jwk("weak", weak),
            {"kty": "oct", "kid": "rsa", "k": "AAAA"},
        ]
        served = {"keys": [*others, public_jwk("ec", issuer.keys["ec"])]}
        issuer.answers[JWKS] = lambda: (200, {}, json.dumps(served).encode())
        exchange(rule, issuer.sign("ES256"))
        known = OidcIssuer.objects.get().jwks or {}
        assert [key["kid"] for key in known["keys"]] == ["ec"]
        assert refused(rule, issuer.sign()) == "key"


class IssuerTests:
    def test_it_is_in_the_trail(self, cast: Cast, issuer: Issuer) -> None:
        row = add_issuer(cast, issuer)
        event = AuditEvent.objects.get(type="federation_issuer.created")
        assert event.resource_id == str(row.pk)
        assert (event.detail["issuer"], event.detail["audience"]) == (issuer.url, AUDIENCE)
        assert issuer.paths == []

    def test_a_bad_value_is_400(self, cast: Cast) -> None:
        cases: Any = [
            {"name": ""},
            {"issuer": ""},
            {"issuer": "x" * 501},
            {"issuer": " https://a.example"},
            {"issuer": "http://a.example"},
            {"issuer": "https://user@a.example"},
            {"issuer": "https://[bad"},
            {"issuer": "https://a.example:99999"},
            {"issuer": "https://a.example#x"},
            {"issuer": "https://a.example?x"},
            {"issuer": "https://é.example"},
            {"audience": ""},
            {"audience": "a\0b"},
            {"jwks_uri": "http://a.example/keys"},
            {"jwks_uri": "https://"},
            {"jwks_uri": "https://a.example/keys", "jwks": {"keys": []}},
            {"jwks": {}},
            {"jwks": {"keys": []}},
            {"jwks": {"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}},
        ]
        for values in cases:
            given = {"name": "CI", "issuer": "https://a.example", "audience": AUDIENCE, **values}
            with pytest.raises(InvalidArgument):
                create_issuer(actor=SYSTEM, organization_id=cast.organization.pk, **given)
            assert not OidcIssuer.objects.exists()

    def test_a_private_key_is_refused_and_not_kept(
        self, cast: Cast, keys: dict[str, PrivateKey]
    ) -> None:
        key = keys["ec"]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        secret = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
        given = {"keys": [{**secret, "kid": "a"}]}
        with pytest.raises(InvalidArgument, match="private") as caught:
            create_issuer(
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                name="CI",
                issuer="anything",
                audience=AUDIENCE,
                jwks=given,
            )
        assert secret["d"] not in caught.value.message

    def test_a_key_without_a_kid_is_refused(self, cast: Cast, keys: dict[str, PrivateKey]) -> None:
        key = public_jwk("a", keys["ec"])
        del key["kid"]
        with pytest.raises(InvalidArgument, match="no kid"):
            public_keys({"keys": [key]}, strict=True)

    def test_the_same_issuer_and_audience_twice_is_409(self, cast: Cast, issuer: Issuer) -> None:
        add_issuer(cast, issuer)
        with pytest.raises(AlreadyExists):
            add_issuer(cast, issuer)
        second = add_issuer(cast, issuer, audience="other")
        with pytest.raises(AlreadyExists):
            update_issuer(actor=SYSTEM, issuer_id=second.pk, changes={"audience": AUDIENCE})

    def test_more_than_50_are_403(
        self, cast: Cast, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("keys.services.federation.MAX_ISSUERS", 1)
        add_issuer(cast, issuer)
        with pytest.raises(QuotaExceeded):
            add_issuer(cast, issuer, audience="other")

    def test_a_plan_without_service_accounts_is_403(self, cast: Cast, issuer: Issuer) -> None:
        cast.organization.plan = Plan.STANDARD
        cast.organization.save()
        with pytest.raises(PermissionDenied, match="Enterprise"):
            add_issuer(cast, issuer)

    def test_a_change_of_more_than_its_name_ends_the_tokens(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        token = exchange(rule, issuer.sign())
        update_issuer(actor=SYSTEM, issuer_id=rule.issuer_id, changes={"name": "Other"})
        assert verify_token(token) is not None
        changes = {"jwks": issuer.jwks}
        changed = update_issuer(actor=SYSTEM, issuer_id=rule.issuer_id, changes=changes)
        assert (changed.key_source, changed.version) == ("static", 3)
        assert verify_token(token) is None
        exchange(rule, issuer.sign())
        back = update_issuer(actor=SYSTEM, issuer_id=rule.issuer_id, changes={"jwks_uri": ""})
        assert (back.key_source, back.jwks) == ("discovery", None)

    def test_deleting_it_ends_rules_and_tokens(self, rule: FederationRule, issuer: Issuer) -> None:
        token = exchange(rule, issuer.sign())
        delete_issuer(actor=SYSTEM, issuer_id=rule.issuer_id)
        assert verify_token(token) is None
        assert not FederationRule.objects.exists()
        with pytest.raises(TokenRefused):
            exchange(rule, issuer.sign())
        with pytest.raises(NotFound):
            delete_issuer(actor=SYSTEM, issuer_id=rule.issuer_id)

    def test_nobody_changes_whose_word_stands_for_an_account_that_may_do_more_than_they_do(
        self, cast: Cast, rule: FederationRule, issuer: Issuer
    ) -> None:
        actor = manager(cast)
        update_issuer(actor=actor, issuer_id=rule.issuer_id, changes={"name": "Other"})
        with pytest.raises(PermissionDenied, match="more than they hold"):
            update_issuer(actor=actor, issuer_id=rule.issuer_id, changes={"jwks": issuer.jwks})
        with pytest.raises(PermissionDenied, match="more than they hold"):
            update_rule(actor=actor, rule_id=rule.pk, conditions={"sub": "me"})
        with pytest.raises(PermissionDenied, match="more than they hold"):
            create_rule(
                actor=actor,
                issuer_id=rule.issuer_id,
                account_id=rule.account_id,
                name="mine",
                conditions={"sub": "me"},
            )

    def test_a_member_is_403_and_a_stranger_gets_404(
        self, cast: Cast, rule: FederationRule
    ) -> None:
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(user)
            for read_it in (
                lambda: get_issuer(actor, rule.issuer_id),  # noqa: B023  called at once
                lambda: get_rule(actor, rule.pk),  # noqa: B023  likewise
                lambda: issuers_of(actor, cast.organization.pk),  # noqa: B023  likewise
                lambda: rules_of(actor, cast.organization.pk),  # noqa: B023  likewise
            ):
                with pytest.raises(error):
                    read_it()
            with pytest.raises(error):
                update_issuer(actor=actor, issuer_id=rule.issuer_id, changes={"name": "x"})
            with pytest.raises(error):
                delete_issuer(actor=actor, issuer_id=rule.issuer_id)
            with pytest.raises(error):
                update_rule(actor=actor, rule_id=rule.pk, name="x")
            with pytest.raises(error):
                delete_rule(actor=actor, rule_id=rule.pk)


class RuleTests:
    @pytest.mark.parametrize(
        "conditions",
        [
            {},
            {"iss": "https://a.example"},
            {"aud": "x", "jti": "x"},
            {"sub": "*"},
            {"sub": "**", "ref": "main"},
            {"sub": ""},
            {"": "x"},
            {"sub": "x" * 501},
            {f"c{number}": "x" for number in range(21)},
        ],
    )
    def test_a_rule_that_lets_in_everybody_or_is_too_large_is_400(
        self, conditions: dict[str, str]
    ) -> None:
        with pytest.raises(InvalidArgument):
            checked_conditions("https://a.example", conditions)

    @pytest.mark.parametrize(
        "conditions",
        [
            {"ref": "refs/heads/main"},
            {"sub": "repo:*"},
            {"sub": "repo:acme*"},
            {"sub": "*:ref:refs/heads/main"},
            {"repository": "*/search"},
            {"repository": "acme*"},
            {"repository_owner": "ac*"},
            {"repository_owner_id": "12*"},
            {"actor": "alice"},
        ],
    )
    def test_a_rule_for_everybody_of_a_public_issuer_is_400(
        self, conditions: dict[str, str]
    ) -> None:
        with pytest.raises(InvalidArgument, match="your own account"):
            checked_conditions(GITHUB, conditions)
        checked_conditions("https://git.acme.example", conditions)

    @pytest.mark.parametrize(
        ("issuer", "conditions"),
        [
            (GITHUB, {"sub": "repo:acme/*"}),
            (GITHUB, {"repository": "acme/search"}),
            (GITHUB, {"repository_owner": "acme", "ref": "refs/heads/main"}),
            (GITHUB, {"repository_owner_id": "1234"}),
            ("https://gitlab.com", {"namespace_path": "acme"}),
            ("https://gitlab.com", {"sub": "project_path:acme/*"}),
            ("https://agent.buildkite.com", {"organization_slug": "acme"}),
            ("https://app.terraform.io", {"sub": "organization:acme:*"}),
            ("https://accounts.google.com", {"sub": "1234567890"}),
        ],
    )
    def test_a_rule_for_ones_own_account_there_is_taken(
        self, issuer: str, conditions: dict[str, str]
    ) -> None:
        assert checked_conditions(issuer, conditions) == conditions

    def test_an_account_of_another_organization_is_404(self, cast: Cast, issuer: Issuer) -> None:
        foreign, _ = make_service_account(cast.other_organization)
        row = add_issuer(cast, issuer)
        for account_id in (foreign.pk, uuid.uuid4()):
            with pytest.raises(NotFound):
                create_rule(
                    actor=cast.actor(cast.alice),
                    issuer_id=row.pk,
                    account_id=account_id,
                    name="x",
                    conditions=CONDITIONS,
                )

    def test_other_conditions_end_its_tokens_and_another_name_does_not(
        self, rule: FederationRule, issuer: Issuer
    ) -> None:
        token = exchange(rule, issuer.sign())
        update_rule(actor=SYSTEM, rule_id=rule.pk, name="Other")
        assert verify_token(token) is not None
        update_rule(actor=SYSTEM, rule_id=rule.pk, conditions={"sub": "repo:acme/other:*"})
        assert verify_token(token) is None
        assert refused(rule, issuer.sign()) == "condition sub"
        event = AuditEvent.objects.filter(type="federation_rule.updated").latest("time")
        assert event.changes["conditions"]["after"] == ["sub: repo:acme/other:*"]

    def test_deleting_it_ends_its_tokens(self, rule: FederationRule, issuer: Issuer) -> None:
        token = exchange(rule, issuer.sign())
        delete_rule(actor=SYSTEM, rule_id=rule.pk)
        assert verify_token(token) is None
        with pytest.raises(NotFound):
            delete_rule(actor=SYSTEM, rule_id=rule.pk)

    def test_deleting_its_account_deletes_it(self, rule: FederationRule, issuer: Issuer) -> None:
        token = exchange(rule, issuer.sign())
        delete_service_account(actor=SYSTEM, account_id=rule.account_id)
        assert verify_token(token) is None
        assert not FederationRule.objects.exists()

    def test_a_rule_that_changes_after_the_check_issues_nothing(
        self, rule: FederationRule, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = federation.check_conditions

        def slowly(claims: Any, conditions: Any) -> Any:
            monkeypatch.setattr(federation, "check_conditions", real)
            update_rule(actor=SYSTEM, rule_id=rule.pk, conditions={"sub": "nobody"})
            return real(claims, conditions)

        monkeypatch.setattr(federation, "check_conditions", slowly)
        with pytest.raises(TokenRefused, match="a moment ago") as caught:
            exchange(rule, issuer.sign())
        assert caught.value.error == OAuthError.INVALID_GRANT
        assert not rule.tokens.exists()


class PatternTests:
    @pytest.mark.parametrize(
        ("pattern", "text", "fits"),
        [
            ("a", "a", True),
            ("a", "A", False),
            ("a", "ab", False),
            ("a*", "a", True),
            ("a*", "abc", True),
            ("*c", "abc", True),
            ("a*c", "abbc", True),
            ("a*a", "a", False),
            ("ab*ba", "aba", False),
            ("a*b*c", "a1b2c", True),
            ("a*b*c", "acb", False),
            ("a**c", "abc", True),
            ("[a-z]", "b", False),
            ("a?c", "abc", False),
            ("a.c", "abc", False),
            ("repo:acme/*", "repo:acme/search:ref:refs/heads/main", True),
            ("repo:acme/*", "repo:acme-evil/search", False),
            ("*", "", True),
        ],
    )
    def test_a_star_stands_for_any_text(self, pattern: str, text: str, fits: bool) -> None:
        assert matches(pattern, text) is fits

    def test_no_pattern_takes_long(self) -> None:
        assert not matches("a*" * 200 + "b", "a" * 16_000)


class TryTokenTests:
    def test_a_good_token_passes_every_step_and_nothing_is_issued(
        self, cast: Cast, rule: FederationRule, issuer: Issuer
    ) -> None:
        steps = try_token(
            actor=cast.actor(cast.alice),
            issuer_id=rule.issuer_id,
            conditions=rule.conditions,
            text=issuer.sign(),
        )
        assert [step.name for step in steps if not step.ok] == []
        assert [step.name for step in steps] == [
            "form",
            "algorithm",
            "type",
            "critical",
            "key",
            "signature",
            "issuer",
            "audience",
            "subject",
            "time",
            "condition sub",
        ]
        assert not rule.tokens.exists()

    def test_every_wrong_step_is_told_with_its_value(
        self, cast: Cast, rule: FederationRule, issuer: Issuer
    ) -> None:
        steps = try_token(
            actor=cast.actor(cast.alice),
            issuer_id=rule.issuer_id,
            conditions={"sub": "repo:acme/*", "ref": "main"},
            text=issuer.sign(aud="other", sub="repo:evil/x"),
        )
        wrong = {step.name: step.text for step in steps if not step.ok}
        assert wrong.keys() == {"audience", "condition sub", "condition ref"}
        assert '"other"' in wrong["audience"]
        assert '"repo:evil/x"' in wrong["condition sub"]
        assert "null" in wrong["condition ref"]

    def test_why_keys_could_not_be_had_is_told(
        self, cast: Cast, rule: FederationRule, issuer: Issuer
    ) -> None:
        issuer.answers[DISCOVERY] = lambda: (500, {}, b"")
        steps = try_token(
            actor=cast.actor(cast.alice),
            issuer_id=rule.issuer_id,
            conditions=rule.conditions,
            text=issuer.sign(),
        )
        (wrong,) = [step for step in steps if not step.ok]
        assert wrong.name == "key"
        assert "answered 500" in wrong.text

    def test_text_that_is_no_token(self, cast: Cast, rule: FederationRule) -> None:
        (step,) = try_token(
            actor=cast.actor(cast.alice), issuer_id=rule.issuer_id, conditions={}, text="x"
        )
        assert (step.name, step.ok) == ("form", False)

    def test_a_member_is_403_and_a_stranger_gets_404(
        self, cast: Cast, rule: FederationRule
    ) -> None:
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(error):
                try_token(actor=cast.actor(user), issuer_id=rule.issuer_id, conditions={}, text="x")


def test_reading_keeps_the_text_as_it_came(issuer: Issuer) -> None:
    token = issuer.sign()
    assert read(token).text == token
    assert read(token).claims["sub"] == SUBJECT

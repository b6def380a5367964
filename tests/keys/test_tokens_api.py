"""`/oauth/token` and `/oauth/revoke` over HTTP, and tokens in use."""

from __future__ import annotations

import base64
import json
import logging
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit.models import AuditEvent
from keys import opaque, peppers
from keys.api.tokens import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from keys.models import AccessToken, ServiceAccount, ServiceAccountSecret
from keys.services import tokens
from keys.services.service_accounts import (
    create_service_account,
    delete_service_account,
    revoke_secret,
    rotate_secret,
)
from keys.tasks import forget_ended_tokens
from kms.envelope import KeyUnavailable
from orgs.models import SecurityBaseline
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_organization, make_service_account

AUDIENCE = "https://api.pinecone.io/"
FORM = "application/x-www-form-urlencoded"
IP = "203.0.113.7"


@pytest.fixture(autouse=True)
def fresh_limits(db: None) -> None:
    """What earlier tests counted is forgotten."""
    cache.clear()


@pytest.fixture
def credentials(cast: Cast) -> dict[str, str]:
    """A service account's client id and secret."""
    account, secret = create_service_account(
        actor=SYSTEM, organization_id=cast.organization.pk, name="robot"
    )
    return {"client_id": account.client_id, "client_secret": secret}


def ask(
    body: object, *, kind: str = "application/json", path: str = "/oauth/token", **headers: str
) -> Any:
    """POST it. A mapping is encoded as `kind` says; text and bytes go as they are."""
    data = body
    if isinstance(body, dict):
        data = urlencode(body) if kind == FORM else json.dumps(body)
    headers = {"X-Forwarded-For": IP, **headers}
    return Client().post(path, data=data, content_type=kind, headers=headers)


def full(credentials: dict[str, str], **changes: str) -> dict[str, str]:
    """A complete request, with these parameters changed."""
    return {
        **credentials,
        "grant_type": CLIENT_CREDENTIALS,
        "audience": AUDIENCE,
        **changes,
    }


def basic(client_id: str, client_secret: str) -> str:
    """The header of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()


def me(token: str, *, ip: str = IP) -> Any:
    """A call with the token."""
    return Client().get(
        "/admin/organizations",
        headers={"Authorization": f"Bearer {token}", "X-Forwarded-For": ip},
    )


class GetTokenTests:
    @pytest.mark.parametrize("kind", ["application/json", FORM, f"{FORM}; charset=utf-8"])
    def test_json_and_forms_are_taken(self, credentials: dict[str, str], kind: str) -> None:
        body: Any = full(credentials)
        answer = ask(body if kind == "application/json" else urlencode(body), kind=kind)
        assert answer.status_code == 200
        found = answer.json()
        assert found.keys() == {"access_token", "token_type", "expires_in"}
        assert (found["token_type"], found["expires_in"]) == ("Bearer", 1800)
        assert opaque.ACCESS_TOKEN.is_one(found["access_token"])
        assert answer["Cache-Control"] == "no-store"

    def test_http_basic_is_taken(self, credentials: dict[str, str]) -> None:
        body = {"grant_type": CLIENT_CREDENTIALS, "audience": AUDIENCE}
        header = basic(*map(quote, credentials.values()))
        assert ask(body, kind=FORM, Authorization=header).status_code == 200
        named = {**body, "client_id": credentials["client_id"]}
        assert ask(named, kind=FORM, Authorization=header).status_code == 200

    @pytest.mark.parametrize(
        "audience", [AUDIENCE, "https://api.pinecone.io", "https://localhost:8443/"]
    )
    def test_audiences_of_this_installation(
        self, credentials: dict[str, str], audience: str
    ) -> None:
        assert ask(full(credentials, audience=audience)).status_code == 200

    def test_unknown_parameters_are_ignored(self, credentials: dict[str, str]) -> None:
        assert ask(full(credentials, color="blue")).status_code == 200

    def test_a_new_token_leaves_the_others_alone(self, credentials: dict[str, str]) -> None:
        first, second = (ask(full(credentials)).json()["access_token"] for _ in range(2))
        assert first != second
        assert me(first).status_code == me(second).status_code

    def test_use_of_a_secret_is_noted(self, credentials: dict[str, str]) -> None:
        assert ServiceAccountSecret.objects.get().last_used_at is None
        ask(full(credentials))
        assert ServiceAccountSecret.objects.get().last_used_at is not None

    def test_no_secret_and_no_token_is_logged(
        self, credentials: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        token = ask(full(credentials)).json()["access_token"]
        wrong = opaque.CLIENT_SECRET.generate()
        ask(full(credentials, client_secret=wrong))
        logged = "\n".join(
            record.getMessage() for record in caplog.records if record.name != "django.db.backends"
        )
        kept = logged + repr(list(AuditEvent.objects.values()))
        for secret in (token, wrong, credentials["client_secret"]):
            assert secret not in kept


class RefuseTokenTests:
    def test_a_missing_or_unknown_parameter_is_400(self, credentials: dict[str, str]) -> None:
        cases: Any = [
            ({"grant_type": ""}, "invalid_request", "grant_type"),
            ({"grant_type": "password"}, "unsupported_grant_type", "password"),
            ({"audience": ""}, "invalid_request", "audience"),
            ({"audience": "https://elsewhere.example/"}, "invalid_target", "elsewhere"),
            ({"audience": "\u202e\0"}, "invalid_target", "audience"),
            ({"client_id": ""}, "invalid_request", "client_id"),
            ({"client_secret": ""}, "invalid_request", "client_secret"),
        ]
        for changes, error, names in cases:
            answer = ask(full(credentials, **changes))
            assert answer.status_code == 400
            assert answer.json()["error"] == error
            assert names in answer.json()["error_description"]
            assert answer["Cache-Control"] == "no-store"

    def test_an_unreadable_body_is_400(self, db: None) -> None:
        cases: Any = [
            (b"{}", "application/json", "grant_type"),
            (b"  ", "application/json", "grant_type"),
            (b"", "", "Content-Type"),
            (b"[]", "application/json", "object"),
            (b"null", "application/json", "object"),
            (b"{", "application/json", "JSON"),
            (b'{"grant_type": 5}', "application/json", "string"),
            (b'{"grant_type": null}', "application/json", "string"),
            (b'{"a": "b", "a": "c"}', "application/json", "twice"),
            (b'{"a": ' + b"[" * 30000, "application/json", "JSON"),
            (b"\xff", "application/json", "UTF-8"),
            (b"grant_type=a&grant_type=b", FORM, "twice"),
            (b"grant_type=%ff", FORM, "percent-encoded"),
            (b"\xff=a", FORM, "percent-encoded"),
            (b"&".join(b"a%d=b" % number for number in range(60)), FORM, "50"),
            (b"grant_type=client_credentials", "text/plain", "Content-Type"),
            (b"grant_type=client_credentials", "", "Content-Type"),
            (b"x", "multipart/form-data; boundary=x", "Content-Type"),
        ]
        for body, kind, names in cases:
            answer = ask(body, kind=kind)
            assert answer.status_code == 400
            assert answer.json()["error"] == "invalid_request"
            assert names in answer.json()["error_description"]

    @pytest.mark.parametrize("kind", ["application/json", FORM])
    def test_a_huge_body_is_413(self, db: None, kind: str) -> None:
        answer = ask(b"x" * 70_000, kind=kind)
        assert answer.status_code == 413
        assert answer.json()["error"] == "invalid_request"

    @pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
    def test_another_method_is_405(self, db: None, method: str) -> None:
        answer = getattr(Client(), method)("/oauth/token")
        assert answer.status_code == 405
        assert "POST" in answer["Allow"]
        if method != "head":
            assert answer.json()["error"] == "invalid_request"

    def test_an_unreadable_header_is_400(self, credentials: dict[str, str]) -> None:
        cases: Any = ["Basic", "Basic %%%", "Basic /zp4", "Basic bm8tY29sb24=", "Bearer x"]
        for header in cases:
            answer = ask(full(credentials), Authorization=header)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")

    def test_a_client_that_shows_itself_twice_is_400(self, credentials: dict[str, str]) -> None:
        header = basic(*credentials.values())
        twice = ask(full(credentials), Authorization=header)
        assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
        other = {**full(credentials), "client_id": opaque.new_client_id()}
        del other["client_secret"]
        assert ask(other, Authorization=header).status_code == 400

    def test_unknown_client_and_wrong_secret_are_the_same_401(
        self, credentials: dict[str, str]
    ) -> None:
        wrong = opaque.CLIENT_SECRET.generate()
        answers = [
            ask(full(credentials, client_id=client_id, client_secret=secret))
            for client_id, secret in (
                (credentials["client_id"], wrong),
                (credentials["client_id"], "x"),
                (credentials["client_id"], "\ud800"),
                (opaque.new_client_id(), wrong),
                ("\0", wrong),
                ("x" * 10_000, credentials["client_secret"]),
            )
        ]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json()["error"] == "invalid_client"
        assert answers[0]["WWW-Authenticate"] == 'Basic realm="tamarack"'

    def test_unknown_client_and_wrong_secret_take_the_same_work(
        self, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[int] = []
        real = opaque.peppered

        def counted(pepper: bytes, text: str) -> bytes:
            done.append(len(pepper))
            return real(pepper, text)

        monkeypatch.setattr(opaque, "peppered", counted)
        counts = []
        for client_id in (credentials["client_id"], opaque.new_client_id()):
            ask(full(credentials, client_id=client_id, client_secret="x"))
            counts.append(len(done))
            done.clear()
        assert counts == [2, 2]

    def test_an_address_outside_the_ranges_is_403(
        self, cast: Cast, credentials: dict[str, str]
    ) -> None:
        SecurityBaseline.objects.create(
            organization=cast.organization, ip_ranges=["198.51.100.0/24"]
        )
        answer = ask(full(credentials))
        assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")
        assert IP in answer.json()["error_description"]
        assert not AccessToken.objects.exists()

    def test_too_many_requests_of_one_address_are_429(
        self, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "ADDRESS_RATE", 3)
        # The minute may turn once in between.
        answers = [ask({}).status_code for _ in range(8)]
        assert answers[:3] == [400] * 3
        assert 429 in answers
        limited = next(
            answer for answer in iter(lambda: ask({}), None) if answer.status_code == 429
        )
        assert 1 <= int(limited["Retry-After"]) <= 60
        assert limited.json()["error"] == "temporarily_unavailable"
        elsewhere = ask(full(credentials), **{"X-Forwarded-For": "198.51.100.9"})
        assert elsewhere.status_code == 200

    def test_too_many_tokens_of_one_account_are_429_and_strangers_do_not_count(
        self, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "CLIENT_RATE", 3)
        for _ in range(8):
            assert ask(full(credentials, client_secret="x")).status_code == 401
        answers = [ask(full(credentials)).status_code for _ in range(8)]
        assert answers[:3] == [200] * 3
        assert 429 in answers

    def test_an_ipv6_client_has_one_share_for_its_network(
        self, db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "ADDRESS_RATE", 3)
        answers = [
            ask({}, **{"X-Forwarded-For": f"2001:db8::{number:x}"}).status_code
            for number in range(8)
        ]
        assert 429 in answers

    def test_a_pepper_that_cannot_be_opened_is_503(
        self, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unavailable(*_: object) -> bytes:
            raise KeyUnavailable("no KEK")

        monkeypatch.setattr(tokens, "pepper_bytes", unavailable)
        assert peppers.current_pepper()
        answer = ask(full(credentials))
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")

    def test_refusals_are_in_the_trail_once_a_minute(self, credentials: dict[str, str]) -> None:
        for _ in range(3):
            ask(full(credentials, client_secret="x"))
            ask(full(credentials, client_id=opaque.new_client_id()))
        events = AuditEvent.objects.filter(type="token.refused")
        known, unknown = (
            events.get(organization_id__isnull=is_unknown) for is_unknown in (False, True)
        )
        assert (known.outcome, unknown.outcome) == ("failure", "failure")
        assert known.detail["client_id"] == credentials["client_id"]
        assert known.ip == IP
        assert unknown.organization_id is None


class UseTokenTests:
    def test_it_opens_the_admin_api(self, cast: Cast) -> None:
        _, token = make_service_account(cast.organization)
        answer = me(token)
        assert answer.status_code == 200
        assert [each["id"] for each in answer.json()["data"]] == [str(cast.organization.pk)]

    @pytest.mark.parametrize("token", ["", "x", "tmrk_at_" + "0" * 49, "é", "a b"])
    def test_what_is_no_token_is_401(self, db: None, token: str) -> None:
        answer = me(token)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["error"]["code"] == "UNAUTHENTICATED"

    def test_an_api_key_is_401(self, cast: Cast) -> None:
        assert me(cast.key).status_code == 401

    def test_the_scheme_is_read_in_any_case(self, cast: Cast) -> None:
        _, token = make_service_account(cast.organization)
        headers = {"Authorization": f"bEARER {token}"}
        assert Client().get("/admin/organizations", headers=headers).status_code == 200

    def test_an_address_outside_the_ranges_is_403_and_in_the_trail(self, cast: Cast) -> None:
        _, token = make_service_account(cast.organization)
        SecurityBaseline.objects.create(organization=cast.organization, ip_ranges=["203.0.113.7"])
        assert me(token).status_code == 200
        answer = me(token, ip="198.51.100.1")
        assert answer.status_code == 403
        assert "198.51.100.1" in answer.json()["error"]["message"]
        event = AuditEvent.objects.get(type="token.refused")
        assert (event.organization_id, event.ip) == (cast.organization.pk, "198.51.100.1")

    def test_it_ends_with_its_account(self, cast: Cast) -> None:
        account, token = make_service_account(cast.organization)
        delete_service_account(actor=SYSTEM, account_id=account.pk)
        assert me(token).status_code == 401

    def test_it_ends_with_its_organization(self, cast: Cast) -> None:
        organization = make_organization(cast.alice)
        _, token = make_service_account(organization)
        organization.delete()
        assert me(token).status_code == 401

    def test_it_ends_with_its_secret(self, cast: Cast) -> None:
        account, token = make_service_account(cast.organization)
        revoke_secret(actor=SYSTEM, account_id=account.pk, secret_id=account.secrets.get().pk)
        assert me(token).status_code == 401

    def test_it_ends_with_the_overlap_of_its_secret(self, cast: Cast) -> None:
        account, token = make_service_account(cast.organization)
        rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=60)
        assert me(token).status_code == 200
        account.secrets.filter(expires_at__isnull=False).update(expires_at=timezone.now())
        assert me(token).status_code == 401


class RevokeTokenTests:
    @pytest.mark.parametrize("kind", ["application/json", FORM])
    def test_whoever_holds_a_token_may_end_it(self, cast: Cast, kind: str) -> None:
        account, token = make_service_account(cast.organization)
        answer = ask({"token": token}, kind=kind, path="/oauth/revoke")
        assert (answer.status_code, answer.content) == (200, b"")
        assert me(token).status_code == 401
        event = AuditEvent.objects.get(type="token.revoked")
        assert event.resource_id == str(account.pk)

    @pytest.mark.parametrize("token", ["x", "tmrk_at_" + "0" * 49, "\0", "\ud800"])
    def test_text_that_is_no_token_is_the_same_answer(self, db: None, token: str) -> None:
        answer = ask({"token": token}, path="/oauth/revoke")
        assert (answer.status_code, answer.content) == (200, b"")

    def test_repeating_it_is_the_same_answer(self, cast: Cast) -> None:
        _, token = make_service_account(cast.organization)
        for _ in range(2):
            assert ask({"token": token}, path="/oauth/revoke").status_code == 200

    def test_without_a_token_it_is_400(self, db: None) -> None:
        assert ask({}, path="/oauth/revoke").json()["error"] == "invalid_request"


class ForgetEndedTokensTests:
    def test_what_ended_long_ago_goes_and_the_rest_stays(self, cast: Cast) -> None:
        account, token = make_service_account(cast.organization)
        _, ended = make_service_account(cast.organization)
        old = timezone.now() - timedelta(hours=2)
        AccessToken.objects.filter(digest=opaque.digest(ended)).update(expires_at=old)
        rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=60)
        for _ in range(2):
            forget_ended_tokens()
        assert AccessToken.objects.count() == 1
        assert account.secrets.count() == 2
        account.secrets.filter(expires_at__isnull=False).update(expires_at=old)
        forget_ended_tokens()
        assert account.secrets.count() == 1
        assert me(token).status_code == 401


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_no_token_outlives_a_secret_that_is_rotated_at_the_same_time(self) -> None:
        cast = make_cast()
        account, secret = create_service_account(
            actor=SYSTEM, organization_id=cast.organization.pk, name="robot"
        )
        issued: list[str] = []
        barrier = threading.Barrier(3)

        def mint() -> None:
            barrier.wait()
            try:
                for _ in range(5):
                    _, text = tokens.issue_token(
                        client_id=account.client_id, client_secret=secret, asker=tokens.Asker()
                    )
                    issued.append(text)
            except tokens.TokenRefused:
                pass
            finally:
                connection.close()

        threads = [threading.Thread(target=mint) for _ in range(2)]
        for thread in threads:
            thread.start()
        barrier.wait()
        rotate_secret(actor=SYSTEM, account_id=account.pk)
        for thread in threads:
            thread.join()
        assert all(me(text).status_code == 401 for text in issued)
        assert ServiceAccount.objects.get(pk=account.pk).secrets.count() == 1


def test_the_grant_types_are_those_of_the_rfcs() -> None:
    assert CLIENT_CREDENTIALS == "client_credentials"
    assert TOKEN_EXCHANGE == "urn:ietf:params:oauth:grant-type:token-exchange"

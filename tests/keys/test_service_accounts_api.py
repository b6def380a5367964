"""Service accounts and federation over HTTP: Pinecone's shapes, status codes, pages, versions."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from keys.models import FederationRule, OidcIssuer, ServiceAccount
from keys.services.federation import create_issuer, create_rule
from keys.services.service_accounts import create_service_account
from orgs.models import RoleBinding
from orgs.permissions import Role
from tests.cast import Cast
from tests.factories import SYSTEM, make_service_account
from tests.oidc import AUDIENCE, Issuer, make_certificate, new_keys, public_jwk, serving
from tests.pages import Browser

ACCOUNTS, ISSUERS, RULES = (
    "/admin/service-accounts",
    "/admin/federation/issuers",
    "/admin/federation/rules",
)


class Robot:
    """Calls the Admin API with an access token."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        data = {} if body is None else {"data": json.dumps(body)}
        return getattr(Client(), method)(
            path,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.token}", **headers},
            **data,
        )


@pytest.fixture
def call(cast: Cast) -> Robot:
    """An owner of Acme."""
    cache.clear()
    return Robot(make_service_account(cast.organization, name="owner")[1])


@pytest.fixture
def weak(cast: Cast, call: Robot) -> Robot:
    """A mere member of Acme."""
    return Robot(make_service_account(cast.organization, (Role.ORG_MEMBER,), name="weak")[1])


@pytest.fixture
def stranger(cast: Cast) -> Robot:
    """An owner of another organization."""
    return Robot(make_service_account(cast.other_organization)[1])


def code(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]


class ServiceAccountTests:
    def test_create_answers_201_with_the_secret_once(self, cast: Cast, call: Robot) -> None:
        answer = call(
            "post",
            ACCOUNTS,
            {
                "name": "digger",
                "role_bindings": [
                    {"resource_type": "organization", "role": "OrgMember"},
                    {
                        "resource_type": "project",
                        "resource_id": str(cast.project.pk),
                        "role": "ProjectEditor",
                    },
                ],
            },
        )
        assert answer.status_code == 201
        made = answer.json()
        assert made.keys() == {"service_account", "client_secret"}
        account = made["service_account"]
        assert {"id", "name", "client_id", "created_at", "updated_at"} <= account.keys()
        assert RoleBinding.objects.filter(principal_id=account["id"]).count() == 2
        again = call("get", f"{ACCOUNTS}/{account['id']}")
        assert again.json() == account
        assert made["client_secret"] not in again.content.decode()
        asked = {
            "grant_type": "client_credentials",
            "audience": "https://api.pinecone.io/",
            "client_id": account["client_id"],
            "client_secret": made["client_secret"],
        }
        token = Client().post("/oauth/token", asked, content_type="application/json").json()
        own = Robot(token["access_token"])("get", "/admin/organizations")
        assert own.status_code == 200

    def test_a_signed_in_owner_may_create_one(self, cast: Cast) -> None:
        answer = Browser(cast.alice).post(
            ACCOUNTS, json.dumps({"name": "digger"}), content_type="application/json"
        )
        assert answer.status_code == 201

    def test_a_bad_body_is_400(self, call: Robot) -> None:
        cases: Any = [
            {},
            {"name": ""},
            {"name": None},
            {"name": 5},
            {"name": "a\u0000"},
            {"name": "\ud800"},
            {"name": "é" * 41},
            {"name": "a", "color": "blue"},
            {"name": "a", "role_bindings": {}},
            {"name": "a", "role_bindings": [5]},
            {"name": "a", "role_bindings": [{}]},
            {"name": "a", "role_bindings": [{"resource_type": "planet", "role": "OrgOwner"}]},
            {"name": "a", "role_bindings": [{"resource_type": "project", "role": "OrgOwner"}]},
            {"name": "a", "role_bindings": [{"resource_type": "organization", "role": "X"}]},
        ]
        for body in cases:
            assert code(call("post", ACCOUNTS, body)) == (400, "INVALID_ARGUMENT"), body
            assert not ServiceAccount.objects.exclude(name="owner").exists()

    def test_a_grant_above_own_rights_is_403(self, cast: Cast, weak: Robot) -> None:
        assert code(weak("post", ACCOUNTS, {"name": "a"})) == (403, "PERMISSION_DENIED")

    def test_lists_come_in_pages(self, cast: Cast, call: Robot) -> None:
        for number in range(3):
            make_service_account(cast.organization, name=f"robot {number}")
        make_service_account(cast.other_organization)
        first = call("get", f"{ACCOUNTS}?limit=3").json()
        assert [row["name"] for row in first["data"]] == ["owner", "robot 0", "robot 1"]
        token = first["pagination"]["next"]
        last = call("get", f"{ACCOUNTS}?limit=3&paginationToken={token}").json()
        assert [row["name"] for row in last["data"]] == ["robot 2"]
        assert last["pagination"] is None
        for limit in (0, 101):
            assert code(call("get", f"{ACCOUNTS}?limit={limit}")) == (400, "OUT_OF_RANGE")

    @pytest.mark.parametrize("path", [ACCOUNTS, ISSUERS, RULES])
    def test_lists_cost_the_same_whatever_their_length(
        self,
        cast: Cast,
        call: Robot,
        path: str,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        def add(number: int) -> None:
            account, _ = create_service_account(
                actor=SYSTEM, organization_id=cast.organization.pk, name="a"
            )
            issuer = create_issuer(
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                name="CI",
                issuer=f"https://{number}.example",
                audience="a",
            )
            create_rule(
                actor=SYSTEM,
                issuer_id=issuer.pk,
                account_id=account.pk,
                name="a",
                conditions={"sub": "a"},
            )

        for number in range(10):
            # Two for the token, one for the page.
            if number in {1, 9}:
                with django_assert_num_queries(3):
                    assert call("get", path).status_code == 200
            add(number)

    def test_patch_changes_the_name_and_an_empty_one_the_time_only(self, call: Robot) -> None:
        made = call("post", ACCOUNTS, {"name": "digger"}).json()["service_account"]
        path = f"{ACCOUNTS}/{made['id']}"
        renamed = call("patch", path, {"name": "dozer"}).json()
        assert renamed["name"] == "dozer"
        bumped = call("patch", path, {}).json()
        assert bumped["name"] == "dozer"
        assert bumped["updated_at"] > renamed["updated_at"]
        assert bumped["client_id"] == made["client_id"]

    def test_an_old_version_is_412(self, call: Robot) -> None:
        made = call("post", ACCOUNTS, {"name": "digger"})
        path = f"{ACCOUNTS}/{made.json()['service_account']['id']}"
        tag = call("get", path)["ETag"]
        assert tag == made["ETag"]
        assert call("patch", path, {"name": "b"}, **{"If-Match": tag}).status_code == 200
        late = call("patch", path, {"name": "c"}, **{"If-Match": tag})
        assert code(late) == (412, "FAILED_PRECONDITION")
        assert call("get", path).json()["name"] == "b"

    def test_delete_answers_202_without_a_body_and_then_404(self, call: Robot) -> None:
        made = call("post", ACCOUNTS, {"name": "digger"}).json()["service_account"]
        path = f"{ACCOUNTS}/{made['id']}"
        answer = call("delete", path)
        assert (answer.status_code, answer.content) == (202, b"")
        assert code(call("delete", path)) == (404, "NOT_FOUND")
        assert code(call("get", path)) == (404, "NOT_FOUND")

    def test_rotate_takes_an_empty_body_and_an_overlap(self, call: Robot) -> None:
        made = call("post", ACCOUNTS, {"name": "digger"}).json()
        account = made["service_account"]
        path = f"{ACCOUNTS}/{account['id']}/rotate-secret"
        answer = call("post", path)
        assert answer.status_code == 200
        rotated = answer.json()
        assert rotated.keys() == {"service_account", "client_secret"}
        assert rotated["service_account"]["client_id"] == account["client_id"]
        assert rotated["client_secret"] != made["client_secret"]
        assert call("post", path, {"overlap_seconds": 60}).status_code == 200
        secrets = call("get", f"{ACCOUNTS}/{account['id']}/secrets").json()["data"]
        assert [row["expires_at"] is None for row in secrets] == [False, True]
        assert secrets[0]["value"] == f"tmrk_sas_…{rotated['client_secret'][-4:]}"
        assert secrets[0].keys() == {"id", "value", "created_at", "expires_at", "last_used_at"}
        one = f"{ACCOUNTS}/{account['id']}/secrets/{secrets[0]['id']}"
        assert call("delete", one).status_code == 202
        assert code(call("delete", one)) == (404, "NOT_FOUND")

    def test_a_bad_overlap_is_400(self, call: Robot) -> None:
        cases: Any = [-1, 604_801, "60", 1.5, True, None, 2**70]
        for overlap in cases:
            made = call("post", ACCOUNTS, {"name": "digger"}).json()["service_account"]
            path = f"{ACCOUNTS}/{made['id']}/rotate-secret"
            assert call("post", path, {"overlap_seconds": overlap}).status_code == 400

    def test_a_repeated_create_with_its_idempotency_key_makes_one(self, call: Robot) -> None:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answers = [call("post", ACCOUNTS, {"name": "digger"}, **headers) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        assert ServiceAccount.objects.filter(name="digger").count() == 1

    def test_what_is_elsewhere_is_404_and_what_is_here_403(
        self, cast: Cast, call: Robot, weak: Robot, stranger: Robot
    ) -> None:
        made = call("post", ACCOUNTS, {"name": "digger"}).json()["service_account"]
        path = f"{ACCOUNTS}/{made['id']}"
        secret = ServiceAccount.objects.get(pk=made["id"]).secrets.get().pk
        calls = [
            ("get", path, None),
            ("patch", path, {"name": "x"}),
            ("delete", path, None),
            ("post", f"{path}/rotate-secret", {}),
            ("get", f"{path}/secrets", None),
            ("delete", f"{path}/secrets/{secret}", None),
        ]
        for method, where, body in calls:
            assert code(weak(method, where, body)) == (403, "PERMISSION_DENIED")
            assert code(stranger(method, where, body)) == (404, "NOT_FOUND")
            nobody = Robot("")
            assert nobody(method, where, body).status_code == 401
        assert ServiceAccount.objects.filter(pk=made["id"], name="digger").exists()
        assert code(weak("get", ACCOUNTS)) == (403, "PERMISSION_DENIED")


class FederationTests:
    def test_an_issuer_and_a_rule_live_and_go(self, cast: Cast, call: Robot) -> None:
        jwks = {"keys": [public_jwk("ed", new_keys()["ed"])]}
        issuer = call(
            "post", ISSUERS, {"name": "CI", "issuer": "ci", "audience": "a", "jwks": jwks}
        )
        assert issuer.status_code == 201
        row = issuer.json()
        assert row["keys"] == [{"kid": "ed", "kty": "OKP"}]
        assert row["key_source"] == "static"
        path = f"{ISSUERS}/{row['id']}"
        assert call("get", path).json() == row
        tag = call("get", path)["ETag"]
        assert call("patch", path, {"name": "CD"}, **{"If-Match": tag}).json()["name"] == "CD"
        late = call("patch", path, {"name": "x"}, **{"If-Match": tag})
        assert code(late) == (412, "FAILED_PRECONDITION")
        again = {"name": "CI", "issuer": "ci", "audience": "a", "jwks": jwks}
        assert code(call("post", ISSUERS, again)) == (409, "ALREADY_EXISTS")

        account = ServiceAccount.objects.get(organization=cast.organization)
        body = {
            "name": "main",
            "issuer_id": row["id"],
            "service_account_id": str(account.pk),
            "conditions": {"sub": "repo:acme/*"},
        }
        rule = call("post", RULES, body)
        assert rule.status_code == 201
        assert body.items() <= rule.json().items()
        rule_path = f"{RULES}/{rule.json()['id']}"
        changed = call("patch", rule_path, {"conditions": {"sub": "x"}})
        assert changed.json()["conditions"] == {"sub": "x"}
        stale = call("patch", rule_path, {"name": "x"}, **{"If-Match": rule["ETag"]})
        assert code(stale) == (412, "FAILED_PRECONDITION")
        assert call("delete", rule_path).status_code == 202
        assert code(call("get", rule_path)) == (404, "NOT_FOUND")
        assert call("delete", path).status_code == 202
        assert code(call("get", path)) == (404, "NOT_FOUND")

    def test_bad_conditions_are_400(self, cast: Cast, call: Robot) -> None:
        cases: Any = [
            {},
            {"sub": "*"},
            {"sub": 5},
            {"sub": None},
            {"sub": ["a"]},
            [],
            "a",
            {"sub": "a\u0000"},
        ]
        issuer = create_issuer(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            name="CI",
            issuer="https://ci.example",
            audience="a",
        )
        account = ServiceAccount.objects.get(organization=cast.organization)
        for conditions in cases:
            body = {
                "name": "main",
                "issuer_id": str(issuer.pk),
                "service_account_id": str(account.pk),
                "conditions": conditions,
            }
            assert code(call("post", RULES, body)) == (400, "INVALID_ARGUMENT"), conditions
            assert not FederationRule.objects.exists()

    def test_a_bad_issuer_is_400(self, call: Robot) -> None:
        cases: Any = [
            {"issuer": 5},
            {"jwks": []},
            {"jwks": {"keys": "x"}},
            {"jwks_uri": "http://ci.example/keys"},
            {"jwks_uri": "https://ci.example/keys", "jwks": {"keys": []}},
            {"issuer": "no address"},
            {"audience": ""},
            {"key_source": "static"},
        ]
        for changes in cases:
            body = {"name": "CI", "issuer": "https://ci.example", "audience": "a", **changes}
            assert code(call("post", ISSUERS, body)) == (400, "INVALID_ARGUMENT"), changes
            assert not OidcIssuer.objects.exists()

    def test_what_is_elsewhere_is_404_and_what_is_here_403(
        self, cast: Cast, call: Robot, weak: Robot, stranger: Robot
    ) -> None:
        issuer = create_issuer(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            name="CI",
            issuer="https://ci.example",
            audience="a",
        )
        account = ServiceAccount.objects.get(organization=cast.organization, name="owner")
        rule = create_rule(
            actor=SYSTEM,
            issuer_id=issuer.pk,
            account_id=account.pk,
            name="main",
            conditions={"sub": "a"},
        )
        new_rule = {
            "name": "mine",
            "issuer_id": str(issuer.pk),
            "service_account_id": str(account.pk),
            "conditions": {"sub": "me"},
        }
        calls: list[tuple[str, str, object]] = [
            ("get", f"{ISSUERS}/{issuer.pk}", None),
            ("patch", f"{ISSUERS}/{issuer.pk}", {"name": "x"}),
            ("delete", f"{ISSUERS}/{issuer.pk}", None),
            ("get", f"{RULES}/{rule.pk}", None),
            ("patch", f"{RULES}/{rule.pk}", {"name": "x"}),
            ("delete", f"{RULES}/{rule.pk}", None),
            ("post", RULES, new_rule),
            ("post", f"{RULES}/test", {"token": "x", "rule_id": str(rule.pk)}),
        ]
        for method, where, body in calls:
            assert code(weak(method, where, body)) == (403, "PERMISSION_DENIED")
            assert code(stranger(method, where, body)) == (404, "NOT_FOUND")
        for where in (ISSUERS, RULES):
            assert code(weak("get", where)) == (403, "PERMISSION_DENIED")
            assert stranger("get", where).json()["data"] == []

    def test_a_test_of_nothing_is_400(self, call: Robot) -> None:
        cases: Any = [
            {"token": "x"},
            {"rule_id": str(uuid.uuid4())},
            {"token": "x", "rule_id": "x"},
            {"token": "x", "issuer_id": str(uuid.uuid4())},
            {"token": "x", "conditions": {"sub": "a"}},
            {"token": "x", "rule_id": str(uuid.uuid4()), "conditions": {"sub": "a"}},
        ]
        for body in cases:
            assert code(call("post", f"{RULES}/test", body)) == (400, "INVALID_ARGUMENT")

    def test_a_token_is_tried_then_exchanged(
        self,
        cast: Cast,
        call: Robot,
        tmp_path: Any,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        certificate = make_certificate(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with serving(certificate, new_keys()) as server:
            self.try_and_exchange(cast, call, server)

    @staticmethod
    def try_and_exchange(cast: Cast, call: Robot, server: Issuer) -> None:
        account = ServiceAccount.objects.get(organization=cast.organization)
        new = {"name": "CI", "issuer": server.url, "audience": AUDIENCE}
        issuer = call("post", ISSUERS, new).json()
        token = server.sign()
        asked = {"token": token, "issuer_id": issuer["id"]}
        conditions = {"sub": "repo:acme/*"}
        wrong = call("post", f"{RULES}/test", {**asked, "conditions": {"sub": "nobody"}}).json()
        assert wrong["accepted"] is False
        assert wrong["steps"][-1]["name"] == "condition sub"
        right = call("post", f"{RULES}/test", {**asked, "conditions": conditions}).json()
        assert right["accepted"] is True
        made = call(
            "post",
            RULES,
            {
                "name": "main",
                "issuer_id": issuer["id"],
                "service_account_id": str(account.pk),
                "conditions": conditions,
            },
        ).json()
        tested = call("post", f"{RULES}/test", {"token": token, "rule_id": made["id"]}).json()
        assert tested["accepted"] is True
        exchange = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "client_id": account.client_id,
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        }
        answer = Client().post("/oauth/token", exchange)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        answer = Client().post("/oauth/token", exchange, content_type="application/json")
        found = answer.json()
        assert answer.status_code == 200
        assert found["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
        assert Robot(found["access_token"])("get", ACCOUNTS).status_code == 200
        for changes, error in (
            ({"subject_token": "x"}, "invalid_grant"),
            ({"subject_token": ""}, "invalid_request"),
            ({"subject_token_type": "urn:x"}, "invalid_request"),
            ({"requested_token_type": "urn:x"}, "invalid_request"),
            ({"client_secret": "x"}, "invalid_request"),
            ({"actor_token": "x"}, "invalid_request"),
            ({"audience": "https://elsewhere.example"}, "invalid_target"),
        ):
            body = {**exchange, **changes}
            answer = Client().post("/oauth/token", body, content_type="application/json")
            assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert call("delete", f"{ISSUERS}/{issuer['id']}").status_code == 202
        assert Robot(found["access_token"])("get", ACCOUNTS).status_code == 401

"""Single sign-on over the Admin API: shapes, versions, previews, secrets, who belongs to what."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.models import CustomRole, RoleBinding, SecurityBaseline
from orgs.permissions import Role
from sso.models import (
    Attempt,
    BreakGlassAccess,
    BreakGlassOwner,
    Connection,
    Identity,
    Purpose,
    ScimToken,
    SetupLink,
    SsoSession,
)
from sso.services.setup_links import open_setup_link
from tests.cast import Cast
from tests.factories import make_member, make_service_account, make_user
from tests.orgs.test_api_organizations import Person
from tests.sso import idp
from tests.sso.emergencies import make_ready
from tests.sso.support import make_connection

CONNECTIONS, DOMAINS = "/admin/sso/connections", "/admin/sso/domains"
OWNERS, ACCESSES = "/admin/sso/break-glass-owners", "/admin/sso/break-glass-accesses"
pytestmark = pytest.mark.django_db


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
def connection(cast: Cast) -> Connection:
    """One that people of example.com sign in by."""
    return make_connection(cast.organization, domains=["example.com"])


def path_of(connection: Connection, *parts: object) -> str:
    return "/".join((CONNECTIONS, str(connection.pk), *map(str, parts)))


def code(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]


class ConnectionTests:
    def test_create_answers_201_with_what_the_identity_provider_has_to_know(
        self, cast: Cast, call: Robot
    ) -> None:
        answer = call("post", CONNECTIONS, {"name": "Okta"})
        found = answer.json()
        assert (answer.status_code, answer["ETag"]) == (201, '"1"')
        row = Connection.objects.get(pk=found["id"])
        assert row.organization == cast.organization
        assert found["state"] == "draft"
        assert found["protocol"] == "saml"
        assert [found["sp_entity_id"], found["acs_url"], found["sls_url"]] == [
            *(row.sp_entity_id, row.acs_url, row.sls_url)
        ]

    def test_repeating_with_the_key_makes_no_second_one(self, call: Robot) -> None:
        first, second = (
            call("post", CONNECTIONS, {"name": "Okta"}, **{"Idempotency-Key": "one"})
            for _ in range(2)
        )
        assert first.json() == second.json()
        assert Connection.objects.count() == 1

    def test_change_answers_the_new_version_and_what_was_set(
        self, cast: Cast, call: Robot, connection: Connection
    ) -> None:
        change = {
            "attribute_map": {"email": "mail", "groups": "memberOf"},
            "default_role": "OrgManager",
            "default_project_roles": [
                {"role": "ProjectViewer", "project_id": str(cast.project.pk)},
            ],
            "roles_mode": "add",
            "role_mappings": [
                {"value": "owners", "role": "OrgOwner", "project_id": None},
                {
                    "value": "engineers",
                    "role": "ProjectEditor",
                    "project_id": str(cast.project.pk),
                },
            ],
            "session_hours": 8,
        }
        idp.install(connection, idp.pair(kind="ec"))
        answer = call("patch", path_of(connection), change)
        found = answer.json()
        assert (answer.status_code, answer["ETag"]) == (200, '"2"'), found
        assert {name: found[name] for name in change} == change
        assert call("get", path_of(connection)).json() == found

    def test_another_version_than_the_one_seen_is_refused(
        self, call: Robot, connection: Connection
    ) -> None:
        stale = {"If-Match": '"7"'}
        path = path_of(connection)
        for answer in (
            call("patch", path, {"session_hours": 8}, **stale),
            call("post", f"{path}/state", {"state": "disabled"}, **stale),
            call("delete", path, **stale),
        ):
            assert code(answer) == (412, "FAILED_PRECONDITION")
        connection.refresh_from_db()
        assert (connection.session_hours, connection.state) == (24, "active")

    def test_the_client_secret_goes_in_and_never_out(self, cast: Cast, call: Robot) -> None:
        secret = "s3cret-of-the-client"
        made = call("post", CONNECTIONS, {"name": "Google", "protocol": "oidc"}).json()
        path = f"{CONNECTIONS}/{made['id']}"
        change = {
            "issuer": "https://accounts.example.com",
            "client_id": "tamarack",
            "client_secret": secret,
        }
        answers = [call("patch", path, change), call("get", path), call("get", CONNECTIONS)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert answers[0].json()["has_client_secret"] is True
        assert not [answer for answer in answers if secret in answer.content.decode()]
        too_long = call("patch", path, {"client_secret": secret * 100})
        assert code(too_long) == (400, "INVALID_ARGUMENT")
        assert secret not in too_long.content.decode()

    @pytest.mark.parametrize(
        "change",
        [
            {"state": "active"},
            {"scim_enabled": True},
            {"issuer": "https://accounts.example.com"},
            {"sso_url": "http://idp.example/sso"},
            {"attribute_map": {"email": 5}},
            {"attribute_map": {"phone": "tel"}},
            {"role_mappings": [{"value": "a", "role": "Boss"}]},
            {"role_mappings": [{"value": "a", "role": "OrgMember", "what": 1}]},
            {"default_role": "OrgOwner"},
            {"roles_mode": "all"},
            {"session_hours": 0},
            {"clock_skew_seconds": 301},
            {"signs_requests": "yes"},
        ],
        ids=json.dumps,
    )
    def test_a_value_that_breaks_its_rule_is_400(
        self, call: Robot, connection: Connection, change: dict[str, object]
    ) -> None:
        assert code(call("patch", path_of(connection), change)) == (400, "INVALID_ARGUMENT")
        connection.refresh_from_db()
        assert connection.version == 1

    def test_who_configures_gives_no_role_beyond_their_own(
        self, cast: Cast, connection: Connection
    ) -> None:
        role = CustomRole.objects.create(
            organization=cast.organization,
            name="Configurer",
            resource_type="organization",
            permissions=["sso:manage", "organization:read", "member:read"],
        )
        account, token = make_service_account(cast.organization, [Role.ORG_MEMBER])
        RoleBinding.objects.create(
            organization=cast.organization,
            principal_type="service_account",
            principal_id=account.pk,
            resource_type="organization",
            resource_id=cast.organization.pk,
            custom_role=role,
            granted_by="tests",
        )
        idp.add_certificate(connection, idp.pair(kind="ec"))
        robot = Robot(token)
        assert robot("patch", path_of(connection), {"name": "Mine"}).status_code == 200
        for change in (
            {"role_mappings": [{"value": "a", "role": "OrgOwner"}]},
            {"roles_mode": "add"},
            {"default_role": "OrgManager"},
        ):
            answer = robot("patch", path_of(connection), change)
            assert code(answer) == (403, "PERMISSION_DENIED"), change

    def test_a_person_needs_a_fresh_proof_to_change_and_none_to_look(
        self, cast: Cast, connection: Connection, settings: Any
    ) -> None:
        idp.add_certificate(connection, idp.pair(kind="ec"))
        owner = Person(cast.alice.email, cast.organization)
        assert owner.call("PATCH", path_of(connection), {"name": "A"})[0] == 200
        settings.TAMARACK_REAUTH_SECONDS = -1
        assert owner.call("PATCH", path_of(connection), {"name": "B"})[0] == 403
        assert owner.call("GET", path_of(connection))[1]["name"] == "A"

    def test_a_list_takes_the_same_number_of_queries_however_long(
        self,
        cast: Cast,
        call: Robot,
        connection: Connection,
        django_assert_max_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for _ in range(8):
            make_connection(cast.organization)
        with django_assert_max_num_queries(12):
            assert len(call("get", CONNECTIONS).json()["data"]) == 9


class StateTests:
    def test_a_preview_changes_nothing(self, call: Robot, connection: Connection) -> None:
        answer = call("post", path_of(connection, "state?dry_run=true"), {"state": "disabled"})
        assert (answer.status_code, answer.json()["state"]) == (200, "disabled")
        connection.refresh_from_db()
        assert (connection.state, connection.version) == ("active", 1)
        assert not AuditEvent.objects.filter(type="sso_connection.updated").exists()

    def test_what_is_not_ready_can_not_be_required(
        self, call: Robot, connection: Connection
    ) -> None:
        readiness = call("get", path_of(connection, "readiness")).json()
        open_ = [check["name"] for check in readiness["checks"] if not check["ok"]]
        assert readiness["is_ready"] is False
        assert {"tested", "break_glass"} <= set(open_)
        assert all(check["way_out"] for check in readiness["checks"] if not check["ok"])
        answer = call("post", path_of(connection, "state"), {"state": "enforced"})
        assert code(answer) == (412, "FAILED_PRECONDITION")

    def test_readiness_names_who_would_be_kept_out(
        self, cast: Cast, call: Robot, connection: Connection
    ) -> None:
        guest = make_member(cast.organization, "guest@elsewhere.example")
        found = call("get", path_of(connection, "readiness")).json()
        assert found["locked_out_count"] == 1
        assert [each["user_id"] for each in found["locked_out"]] == [str(guest.pk)]

    def test_required_and_back(self, cast: Cast, call: Robot) -> None:
        path = path_of(make_ready(cast.organization, cast.alice), "state")
        preview = call("post", f"{path}?dry_run=true", {"state": "enforced"})
        assert preview.json()["state"] == "enforced", preview.json()
        assert not SecurityBaseline.objects.filter(sso_required=True).exists()
        assert call("post", path, {"state": "enforced"}).json()["state"] == "enforced"
        assert SecurityBaseline.objects.get().sso_required
        assert call("post", path, {"state": "active"}).json()["state"] == "active"
        assert not SecurityBaseline.objects.get().sso_required

    def test_switching_off_and_deleting(self, call: Robot, connection: Connection) -> None:
        path = path_of(connection)
        answer = call("post", f"{path}/state", {"state": "disabled"}, **{"If-Match": '"1"'})
        assert (answer.json()["state"], answer["ETag"]) == ("disabled", '"2"')
        assert call("delete", path, **{"If-Match": '"2"'}).status_code == 202
        assert code(call("get", path)) == (404, "NOT_FOUND")


class TrustTests:
    def test_metadata_is_taken_over(self, call: Robot, cast: Cast) -> None:
        connection = make_connection(cast.organization, state=Connection.State.DRAFT)
        xml = idp.metadata("https://other.example/saml", idp.pair(kind="ec")).decode()
        answer = call("put", path_of(connection, "metadata"), {"xml": xml})
        assert answer.status_code == 200, answer.json()
        assert answer.json()["idp_entity_id"] == "https://other.example/saml"
        rows = call("get", path_of(connection, "certificates")).json()["data"]
        assert [row["source"] for row in rows] == ["metadata"]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"xml": "<a/>", "url": "https://idp.example/"},
            {"xml": "no XML"},
            {"url": "file:///"},
        ],
        ids=json.dumps,
    )
    def test_what_is_no_metadata_is_400(
        self, call: Robot, connection: Connection, body: dict[str, str]
    ) -> None:
        answer = call("put", path_of(connection, "metadata"), body)
        assert code(answer) == (400, "INVALID_ARGUMENT")

    def test_certificates_come_and_go(self, call: Robot, connection: Connection) -> None:
        path = path_of(connection, "certificates")
        pem = idp.pair(kind="ec").certificate
        made = call("post", path, {"pem": pem})
        assert made.status_code == 201, made.json()
        assert code(call("post", path, {"pem": pem})) == (409, "ALREADY_EXISTS")
        assert code(call("post", path, {"pem": "none"})) == (400, "INVALID_ARGUMENT")
        last = call("delete", f"{path}/{made.json()['id']}")
        assert code(last) == (412, "FAILED_PRECONDITION")
        second = call("post", path, {"pem": idp.pair("next", kind="ec").certificate}).json()
        assert call("delete", f"{path}/{second['id']}").status_code == 202
        assert len(call("get", path).json()["data"]) == 1

    def test_keys_are_exchanged_without_a_gap_and_never_shown(
        self, call: Robot, connection: Connection
    ) -> None:
        idp.add_sp_key(connection, idp.pair("sp"))
        path = path_of(connection, "sp-keys")
        following = call("post", path)
        assert following.status_code == 201
        assert call("post", f"{path}/rotate").json()["id"] == following.json()["id"]
        listed = call("get", path)
        assert [row["state"] for row in listed.json()["data"]] == ["previous", "current"]
        assert "PRIVATE" not in listed.content.decode()
        assert call("delete", f"{path}/previous").status_code == 202
        assert code(call("post", f"{path}/rotate")) == (412, "FAILED_PRECONDITION")


class PeopleTests:
    def test_the_log_is_listed_latest_first_and_by_code(
        self, call: Robot, connection: Connection
    ) -> None:
        for found in ("ok", "sso_replay", "ok"):
            Attempt.objects.create(connection=connection, purpose=Purpose.SIGN_IN, code=found)
        path = path_of(connection, "attempts")
        rows = call("get", f"{path}?code=ok").json()["data"]
        assert [row["code"] for row in rows] == ["ok", "ok"]
        page = call("get", f"{path}?limit=2").json()
        rest = call("get", f"{path}?limit=2&paginationToken={page['pagination']['next']}").json()
        ids = [row["id"] for row in (*page["data"], *rest["data"])]
        assert ids == [str(row.pk) for row in Attempt.objects.order_by("-created_at", "-id")]

    def test_unlinking_ends_the_sessions_and_keeps_the_place(
        self, cast: Cast, call: Robot, connection: Connection
    ) -> None:
        identity = Identity.objects.create(
            connection=connection, user=cast.bob, uid="bob", opens_sessions=True
        )
        browser = Person(cast.bob.email, cast.organization)
        key = browser.browser.session.session_key or ""
        for user, session_key in ((cast.bob, key), (cast.alice, "other")):
            SsoSession.objects.create(
                connection=connection,
                user=user,
                session_key=session_key,
                name_id="n",
                expires_at=timezone.now(),
            )
        path = path_of(connection, "identities")
        assert [row["uid"] for row in call("get", path).json()["data"]] == ["bob"]
        assert call("delete", f"{path}/{identity.pk}").status_code == 202
        assert not Identity.objects.exists()
        assert browser.call("GET", "/admin/organizations")[0] == 401
        assert [row.user for row in SsoSession.objects.all()] == [cast.alice]
        assert RoleBinding.objects.filter(principal_id=cast.bob.pk).exists()
        event = AuditEvent.objects.get(type="sso_identity.unlinked")
        assert event.detail["email"] == cast.bob.email

    def test_the_only_way_in_of_the_last_owner_is_not_unlinked(
        self, cast: Cast, call: Robot, connection: Connection
    ) -> None:
        cast.alice.set_unusable_password()
        cast.alice.save()
        identity = Identity.objects.create(
            connection=connection, user=cast.alice, uid="alice", opens_sessions=True
        )
        answer = call("delete", path_of(connection, "identities", identity.pk))
        assert code(answer) == (409, "ABORTED")
        assert Identity.objects.exists()


class SecretTests:
    def test_a_set_up_link_is_shown_once_and_works(self, call: Robot, cast: Cast) -> None:
        connection = make_connection(cast.organization, state=Connection.State.DRAFT)
        path = path_of(connection, "setup-links")
        made = call("post", path)
        token = made.json()["url"].rstrip("/").rpartition("/")[2]
        assert made.status_code == 201
        assert open_setup_link(token).connection == connection
        assert token not in SetupLink.objects.get().token_hash
        assert token not in call("get", path).content.decode()

    def test_scim_tokens_are_shown_once_and_are_two_at_most(
        self, call: Robot, connection: Connection
    ) -> None:
        path = path_of(connection, "scim-tokens")
        made = call("post", path, {"expires_in_days": None}).json()
        assert made["token"].startswith("tmrk_scim_")
        assert made["expires_at"] is None
        assert call("post", path).status_code == 201
        assert code(call("post", path)) == (403, "QUOTA_EXCEEDED")
        assert made["token"] not in call("get", path).content.decode()
        assert call("delete", f"{path}/{made['id']}").status_code == 202
        assert ScimToken.objects.count() == 1

    def test_switching_the_directory_off_revokes_its_tokens(
        self, call: Robot, connection: Connection
    ) -> None:
        path = path_of(connection, "scim")
        assert call("put", path, {"enabled": True}).json()["scim_enabled"] is True
        call("post", path_of(connection, "scim-tokens"))
        assert call("put", path, {"enabled": False}).json()["scim_enabled"] is False
        assert not ScimToken.objects.exists()


class BelongingTests:
    @pytest.mark.parametrize("kind", ["certificates", "identities", "scim-tokens"])
    def test_what_belongs_to_another_connection_is_not_there(
        self, cast: Cast, call: Robot, connection: Connection, kind: str
    ) -> None:
        other = make_connection(cast.organization)
        rows: dict[str, Any] = {
            "certificates": idp.add_certificate(other, idp.pair(kind="ec")),
            "identities": Identity.objects.create(
                connection=other, user=cast.bob, uid="bob", opens_sessions=True
            ),
            "scim-tokens": ScimToken.objects.create(connection=other, lookup="0123456789"),
        }
        row = rows[kind]
        assert code(call("delete", path_of(connection, kind, row.pk))) == (404, "NOT_FOUND")
        assert type(row).objects.filter(pk=row.pk).exists()

    def test_a_domain_leads_to_no_connection_of_another_organization(
        self, cast: Cast, call: Robot
    ) -> None:
        foreign = make_connection(cast.other_organization)
        made = call("post", DOMAINS, {"name": "acme.example"}).json()
        body = {"connection_id": str(foreign.pk)}
        answers = (
            call("patch", f"{DOMAINS}/{made['id']}", body),
            call("post", DOMAINS, {"name": "acme-labs.example", **body}),
        )
        assert [code(answer) for answer in answers] == [(404, "NOT_FOUND")] * 2


class DomainTests:
    def test_a_domain_is_claimed_assigned_and_given_up(
        self, call: Robot, connection: Connection
    ) -> None:
        made = call("post", DOMAINS, {"name": "ACME.example"})
        found = made.json()
        path = f"{DOMAINS}/{found['id']}"
        assert (made.status_code, found["name"]) == (201, "acme.example")
        assert found["record_name"] == "_tamarack-challenge.acme.example"
        assert found["verified_at"] is None
        version = {"If-Match": made["ETag"]}
        answer = call("patch", path, {"connection_id": str(connection.pk)}, **version)
        assert answer.json()["connection_id"] == str(connection.pk)
        assert call("patch", path, {"connection_id": None}, **version).status_code == 412
        assert call("delete", path, **version).status_code == 412
        assert call("delete", path, **{"If-Match": answer["ETag"]}).status_code == 202
        assert code(call("get", path)) == (404, "NOT_FOUND")

    def test_a_record_that_is_not_there_is_412_and_says_what_is_expected(
        self, call: Robot, settings: Any
    ) -> None:
        settings.TAMARACK_DNS_SERVERS = [("127.0.0.1", 9)]
        made = call("post", DOMAINS, {"name": "acme.example"}).json()
        answer = call("post", f"{DOMAINS}/{made['id']}/verify")
        assert code(answer) == (412, "FAILED_PRECONDITION")
        assert made["record_value"] in answer.json()["error"]["message"]


class BreakGlassTests:
    def test_owners_are_named_listed_and_removed(self, cast: Cast, call: Robot) -> None:
        refused = call("post", OWNERS, {"user_id": str(cast.bob.pk)})
        assert code(refused) == (412, "FAILED_PRECONDITION")
        stranger = call("post", OWNERS, {"user_id": str(cast.charlie.pk)})
        assert code(stranger) == (404, "NOT_FOUND")
        BreakGlassOwner.objects.create(
            organization=cast.organization, user=cast.alice, named_by="tests"
        )
        rows = call("get", OWNERS).json()["data"]
        assert [row["email"] for row in rows] == [cast.alice.email]
        assert call("delete", f"{OWNERS}/{cast.alice.pk}").status_code == 202
        assert code(call("delete", f"{OWNERS}/{cast.alice.pk}")) == (404, "NOT_FOUND")

    def test_an_owner_approves_and_ends_accesses_of_another(self, cast: Cast) -> None:
        second = make_user("second@example.com")
        access = BreakGlassAccess.objects.create(
            organization=cast.organization,
            user=second,
            reason="the identity provider is down",
            expires_at=timezone.now() + timedelta(hours=1),
        )
        owner, path = Person(cast.alice.email, cast.organization), f"{ACCESSES}/{access.pk}"
        status, found = owner.call("POST", f"{path}/approve")
        assert (status, found["approved_by_id"]) == (200, str(cast.alice.pk))
        assert owner.call("POST", f"{path}/approve")[0] == 412
        status, found = owner.call("POST", f"{path}/end")
        assert status == 200
        assert found["ended_at"]
        assert [row["id"] for row in owner.call("GET", ACCESSES)[1]["data"]] == [str(access.pk)]

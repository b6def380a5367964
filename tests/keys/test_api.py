"""API keys over the Admin API, and API keys in use on the control plane."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.models import ApiKey
from keys.selectors.api_keys import verify_key
from keys.services.api_keys import create_api_key, disable_api_key, revoke_api_key
from keys.services.rotation import rotate_api_key
from keys.usage import Position, Use, record_usage
from orgs.models import Organization, SecurityBaseline
from orgs.permissions import ACCESS_ROLES, Role
from projects.models import Project
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project
from tests.indexes.conftest import make_index
from tests.projects.test_api import Caller, caller_with

PINECONE_FIELDS = {"id", "name", "project_id", "roles"}


@pytest.fixture
def owner(cast: Cast) -> Caller:
    """A service account that owns the cast's organization."""
    return caller_with(cast.organization, Role.ORG_OWNER)


def keys_path(project: Project) -> str:
    """The project's keys."""
    return f"/admin/projects/{project.pk}/api-keys"


def key_path(key: ApiKey | dict[str, Any], then: str = "") -> str:
    """One key, and what is done to it."""
    return f"/admin/api-keys/{key['id'] if isinstance(key, dict) else key.pk}{then}"


class CreateTests:
    def test_it_answers_201_with_the_secret_once(self, cast: Cast, owner: Caller) -> None:
        status, made = owner.call("POST", keys_path(cast.project), {"name": " app "})
        assert status == 201
        assert made["key"].keys() >= PINECONE_FIELDS
        assert (made["key"]["name"], made["key"]["roles"]) == ("app", ["ProjectEditor"])
        assert made["key"]["project_id"] == str(cast.project.pk)
        assert (made["key"]["state"], owner.answer["ETag"]) == ("active", '"1"')
        assert verify_key(made["value"]) is not None
        status, read = owner.call("GET", key_path(made["key"]))
        assert (status, read) == (200, made["key"])
        assert made["value"][16:59] not in owner.answer.content.decode()

    def test_everything_that_can_be_said_of_a_key_comes_back(
        self, cast: Cast, owner: Caller
    ) -> None:
        index = make_index(cast.project)
        now = timezone.now().replace(microsecond=0)
        body = {
            "name": "limited",
            "roles": ["DataPlaneViewer", "ControlPlaneViewer"],
            "access": "read_only",
            "index_ids": [str(index.pk)],
            "namespaces": ["", "a b"],
            "allowed_ips": ["192.0.2.0/24"],
            "leak_policy": "revoke",
            "not_before": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "expires_at": (now + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        status, made = owner.call("POST", keys_path(cast.project), body)
        assert status == 201
        assert {**made["key"], **body, "roles": sorted(body["roles"])} == made["key"]
        assert (made["key"]["state"], made["key"]["stops_at"]) == ("not_yet", body["expires_at"])

    @pytest.mark.parametrize("role", sorted(ACCESS_ROLES))
    def test_every_key_role_can_be_held(self, cast: Cast, owner: Caller, role: Role) -> None:
        body = {"name": "a", "roles": [role.value]}
        assert owner.call("POST", keys_path(cast.project), body)[0] == 201

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x" * 81}, "name"),
            ({"name": None}, "name"),
            ({"name": 5}, "name"),
            ({"name": "a\0b"}, "NUL"),
            ({"name": "\ud800"}, "surrogates"),
            ({"name": "a", "roles": []}, "one or more of these roles"),
            ({"name": "a", "roles": ["ProjectOwner"]}, "roles"),
            ({"name": "a", "roles": "ProjectEditor"}, "roles"),
            ({"name": "a", "roles": [["ProjectEditor"]]}, "roles"),
            ({"name": "a", "roles": None}, "roles"),
            ({"name": "a", "access": "all"}, "access"),
            ({"name": "a", "access": None}, "access"),
            ({"name": "a", "index_ids": []}, "index_ids"),
            ({"name": "a", "index_ids": ["x"]}, "index_ids"),
            ({"name": "a", "index_ids": [5]}, "index_ids"),
            ({"name": "a", "index_ids": [str(uuid.UUID(int=7))]}, "index_ids"),
            ({"name": "a", "namespaces": []}, "namespaces"),
            ({"name": "a", "namespaces": ["\u00e4"]}, "namespaces"),
            ({"name": "a", "namespaces": "a"}, "namespaces"),
            ({"name": "a", "namespaces": [None]}, "namespaces"),
            ({"name": "a", "allowed_ips": ["10.0.0.1/33"]}, "no address range"),
            ({"name": "a", "allowed_ips": None}, "allowed_ips"),
            ({"name": "a", "allowed_ips": [4]}, "allowed_ips"),
            ({"name": "a", "leak_policy": ""}, "leak_policy"),
            ({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, "past"),
            ({"name": "a", "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
            ({"name": "a", "expires_at": "soon"}, "expires_at"),
            ({"name": "a", "expires_at": 2**70}, "expires_at"),
            ({"name": "a", "not_before": "0001-01-01T00:00:00Z"}, "not_before"),
            ({"name": "a", "colour": "red"}, "colour"),
        ],
        ids=str,
    )
    def test_bad_values_are_400_and_named(
        self, cast: Cast, owner: Caller, body: dict[str, object], words: str
    ) -> None:
        status, answer = owner.call("POST", keys_path(cast.project), body)
        assert status == 400, answer
        assert words in answer["error"]["message"]
        assert ApiKey.objects.filter(project=cast.project).count() == 1

    def test_a_role_outside_of_the_plan_is_403_that_names_the_plan(
        self, cast: Cast, owner: Caller
    ) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(plan="Free")
        body = {"name": "a", "roles": ["ProjectViewer"]}
        status, answer = owner.call("POST", keys_path(cast.project), body)
        assert (status, answer["error"]["code"]) == (403, "PERMISSION_DENIED")
        assert "Standard" in answer["error"]["message"]

    def test_a_full_quota_is_403_quota_exceeded(self, cast: Cast, owner: Caller) -> None:
        Project.objects.filter(pk=cast.project.pk).update(max_api_keys=1)
        status, answer = owner.call("POST", keys_path(cast.project), {"name": "a"})
        assert (status, answer["error"]["code"]) == (403, "QUOTA_EXCEEDED")

    def test_an_organization_that_owes_money_gets_402(self, cast: Cast, owner: Caller) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(payment_status="PastDue")
        assert owner.call("POST", keys_path(cast.project), {"name": "a"})[0] == 402

    def test_a_lost_answer_can_be_had_again_with_its_secret(
        self, cast: Cast, owner: Caller
    ) -> None:
        path, body = keys_path(cast.project), {"name": "once"}
        first = owner.call("POST", path, body, Idempotency_Key="k1")
        assert owner.call("POST", path, body, Idempotency_Key="k1") == first
        assert ApiKey.objects.filter(name="once").count() == 1


class ListTests:
    def test_it_is_whole_unless_a_limit_is_given(self, cast: Cast, owner: Caller) -> None:
        made = [str(make_key(cast.project)[0].pk) for _ in range(4)]
        status, whole = owner.call("GET", keys_path(cast.project))
        assert (status, whole["pagination"]) == (200, None)
        assert {key["id"] for key in whole["data"]} >= set(made)
        seen, token = [], ""
        while token is not None:
            _, page = owner.call(
                "GET",
                f"{keys_path(cast.project)}?limit=2" + (token and f"&paginationToken={token}"),
            )
            seen += page["data"]
            token = page["pagination"] and page["pagination"]["next"]
        assert seen == whole["data"]

    @pytest.mark.parametrize("limit", ["0", "101"])
    def test_a_limit_outside_of_its_range_is_400_out_of_range(
        self, cast: Cast, owner: Caller, limit: str
    ) -> None:
        status, answer = owner.call("GET", f"{keys_path(cast.project)}?limit={limit}")
        assert (status, answer["error"]["code"]) == (400, "OUT_OF_RANGE")

    def test_revoked_keys_and_foreign_ones_are_not_in_it(self, cast: Cast, owner: Caller) -> None:
        gone, _ = make_key(cast.project)
        revoke_api_key(actor=SYSTEM, key_id=gone.pk)
        make_key(make_project(cast.organization))
        _, found = owner.call("GET", keys_path(cast.project))
        assert [key["name"] for key in found["data"]] == ["key"]

    def test_takes_as_many_queries_for_many_keys_as_for_one(
        self, cast: Cast, owner: Caller, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        owner.call("GET", keys_path(cast.project))
        for more in (0, 12):
            for _ in range(more):
                key, _ = make_key(cast.project, roles=[Role.DATA_PLANE_EDITOR])
                rotate_api_key(actor=SYSTEM, key_id=key.pk)
            for query in ("", "?limit=100"):
                with django_assert_num_queries(6):
                    _, found = owner.call("GET", keys_path(cast.project) + query)
                assert len(found["data"]) == more + 1

    def test_a_bad_query_is_400(self, cast: Cast, owner: Caller) -> None:
        assert owner.call("GET", f"{keys_path(cast.project)}?colour=red")[0] == 400


class ChangeTests:
    def test_what_is_left_out_stays(self, cast: Cast, owner: Caller) -> None:
        key, text = make_key(cast.project, name="old")
        status, changed = owner.call(
            "PATCH", key_path(key), {"name": "new", "roles": ["ProjectViewer"]}
        )
        assert (status, changed["name"], changed["roles"]) == (200, "new", ["ProjectViewer"])
        assert owner.answer["ETag"] == '"2"'
        verified = verify_key(text)
        assert verified is not None
        assert verified.grants == {"r"}

    def test_null_takes_a_limit_away(self, cast: Cast, owner: Caller) -> None:
        key, _ = create_api_key(
            actor=SYSTEM,
            project=cast.project,
            name="a",
            limits={
                "namespaces": ["a"],
                "index_ids": [make_index(cast.project).pk],
                "expires_at": timezone.now() + timedelta(days=1),
                "leak_policy": "revoke",
                "allowed_ips": ["192.0.2.1"],
            },
        )
        free: dict[str, object] = {
            "namespaces": None,
            "index_ids": None,
            "expires_at": None,
            "leak_policy": None,
            "allowed_ips": [],
        }
        status, changed = owner.call("PATCH", key_path(key), free)
        assert status == 200
        assert {**changed, **free} == changed

    def test_an_empty_change_is_none(self, cast: Cast, owner: Caller) -> None:
        key, _ = make_key(cast.project)
        status, changed = owner.call("PATCH", key_path(key), {})
        assert (status, changed["name"], owner.answer["ETag"]) == (200, "key", '"1"')

    def test_a_version_that_is_not_the_newest_is_412(self, cast: Cast, owner: Caller) -> None:
        key, text = make_key(cast.project)
        owner.call("PATCH", key_path(key), {"name": "b"}, If_Match='"1"')
        calls: list[tuple[str, str, object]] = [
            ("PATCH", "", {"name": "c"}),
            ("DELETE", "", None),
            ("POST", "/rotate", {}),
            ("POST", "/disable", {}),
            ("POST", "/enable", {}),
            ("POST", "/end-overlap", None),
        ]
        for method, then, body in calls:
            status, answer = owner.call(method, key_path(key, then), body, If_Match='"1"')
            assert (status, answer["error"]["code"]) == (412, "FAILED_PRECONDITION"), then
        assert verify_key(text) is not None
        assert owner.call("PATCH", key_path(key), {"name": "c"}, If_Match='"2"')[0] == 200

    def test_switching_off_and_on(self, cast: Cast, owner: Caller) -> None:
        key, text = make_key(cast.project)
        status, off = owner.call("POST", key_path(key, "/disable"), {"reason": "Odd"})
        assert (status, off["state"], off["disabled_reason"]) == (200, "disabled", "Odd")
        assert verify_key(text) is None
        status, on = owner.call("POST", key_path(key, "/enable"))
        assert (status, on["state"], on["disabled_reason"]) == (200, "active", "")
        assert verify_key(text) is not None

    def test_deleting_is_202_and_then_404(self, cast: Cast, owner: Caller) -> None:
        key, text = make_key(cast.project)
        assert owner.call("DELETE", key_path(key)) == (202, None)
        assert verify_key(text) is None
        for method in ("DELETE", "GET", "PATCH"):
            assert owner.call(method, key_path(key), {} if method == "PATCH" else None)[0] == 404


class RotateTests:
    def test_the_new_secret_is_shown_and_both_work(self, cast: Cast, owner: Caller) -> None:
        key, old = make_key(cast.project)
        status, rotated = owner.call("POST", key_path(key, "/rotate"))
        assert (status, rotated["key"]["id"]) == (200, str(key.pk))
        assert verify_key(old) is not None
        assert verify_key(rotated["value"]) is not None
        _, secrets = owner.call("GET", key_path(key, "/secrets"))
        assert [each["is_current"] for each in secrets["data"]] == [True, False]
        assert secrets["data"][1]["idle_seconds"] == 3600
        assert [each["id"] for each in secrets["data"]] == [rotated["value"][5:15], old[5:15]]
        assert owner.call("POST", key_path(key, "/end-overlap"))[0] == 200
        assert verify_key(old) is None
        assert owner.call("POST", key_path(key, "/end-overlap"))[0] == 412

    def test_a_lost_answer_is_no_lost_key(self, cast: Cast, owner: Caller) -> None:
        key, old = make_key(cast.project)
        first = owner.call("POST", key_path(key, "/rotate"), {}, Idempotency_Key="r1")
        assert owner.call("POST", key_path(key, "/rotate"), {}, Idempotency_Key="r1") == first
        assert verify_key(old) is not None

    @pytest.mark.parametrize(
        "body",
        [
            {"overlap_seconds": -1},
            {"overlap_seconds": 7 * 24 * 3600 + 1},
            {"overlap_seconds": 2**70},
            {"overlap_seconds": "5"},
            {"overlap_seconds": None},
            {"idle_seconds": 299},
            {"idle_seconds": True},
            {"more": 1},
        ],
        ids=str,
    )
    def test_bad_values_are_400(self, cast: Cast, owner: Caller, body: dict[str, object]) -> None:
        key, _ = make_key(cast.project)
        assert owner.call("POST", key_path(key, "/rotate"), body)[0] == 400
        assert key.secrets.count() == 1


class UsageTests:
    def count(self, key: ApiKey, *changes: dict[str, Any]) -> None:
        base: dict[str, Any] = {
            "at": timezone.now(),
            "key_id": key.pk,
            "secret": key.current_secret.lookup_id,
            "plane": "data",
            "operation": "Query",
            "index_id": None,
            "address": "192.0.2.7",
            "client": "python-client-10.2.0",
            "allowed": True,
        }
        uses = [Use(**{**base, **change}) for change in changes]
        record_usage(uses, source=str(uuid.uuid4()), before=None, after=Position(1, 1))

    def test_counts_can_be_read_and_filtered(self, cast: Cast, owner: Caller) -> None:
        key, _ = make_key(cast.project)
        index_id = uuid.uuid4()
        self.count(
            key,
            {},
            {},
            {"operation": "Upsert", "allowed": False, "index_id": index_id},
            {"plane": "control", "at": timezone.now() - timedelta(days=3)},
        )
        path = key_path(key, "/usage")
        status, found = owner.call("GET", path)
        assert status == 200
        assert sorted(row["count"] for row in found["data"]) == [1, 1, 2]
        today = timezone.now().astimezone(UTC).date()
        for query, count in (
            ("outcome=denied", 1),
            ("plane=data", 2),
            ("operation=Query", 2),
            (f"index_id={index_id}", 1),
            (f"since={today}", 2),
            (f"until={today - timedelta(days=1)}", 1),
            ("secret=0123456789", 0),
        ):
            assert len(owner.call("GET", f"{path}?{query}")[1]["data"]) == count, query
        _, read = owner.call("GET", key_path(key))
        assert (read["last_used_operation"], read["last_used_ip"]) == ("Query", "192.0.2.7")
        assert datetime.fromisoformat(read["last_used_at"]) > timezone.now() - timedelta(minutes=1)

    @pytest.mark.parametrize("query", ["outcome=odd", "since=5", "index_id=x", "colour=red"])
    def test_bad_filters_are_400(self, cast: Cast, owner: Caller, query: str) -> None:
        key, _ = make_key(cast.project)
        assert owner.call("GET", f"{key_path(key, '/usage')}?{query}")[0] == 400

    def test_who_still_uses_the_old_secret_is_told(self, cast: Cast, owner: Caller) -> None:
        key, old = make_key(cast.project)
        rotate_api_key(actor=SYSTEM, key_id=key.pk)
        self.count(key, {"secret": old[5:15], "client": "batch/1"})
        _, secrets = owner.call("GET", key_path(key, "/secrets"))
        users = secrets["data"][1]["users"]
        assert [(user["client"], user["address"]) for user in users] == [("batch/1", "192.0.2.7")]
        assert secrets["data"][0]["users"] == []

    def test_takes_as_many_queries_for_many_counts_as_for_one(
        self, cast: Cast, owner: Caller, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        key, _ = make_key(cast.project)
        owner.call("GET", key_path(key, "/usage"))
        for more in (1, 40):
            self.count(key, *({"operation": f"{more} {n}"} for n in range(more)))
            with django_assert_num_queries(5):
                owner.call("GET", key_path(key, "/usage"))


class BulkRevokeTests:
    def test_a_preview_first_and_then_all(self, cast: Cast, owner: Caller) -> None:
        keys = [make_key(cast.project, name=f"ci-{n}") for n in range(3)]
        path, body = f"{keys_path(cast.project)}/bulk-revoke", {"name_prefix": "ci-"}
        status, preview = owner.call("POST", f"{path}?dry_run=true", body)
        assert (status, preview["dry_run"], len(preview["data"])) == (200, True, 3)
        assert all(verify_key(text) is not None for _, text in keys)
        status, done = owner.call("POST", path, {**body, "reason": "Incident 7"})
        assert (status, done["dry_run"]) == (200, False)
        assert {key["id"] for key in done["data"]} == {str(key.pk) for key, _ in keys}
        assert all(verify_key(text) is None for _, text in keys)
        assert verify_key(cast.key) is not None

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"ids": []},
            {"ids": ["x"]},
            {"created_before": 5},
            {"name_prefix": ""},
            {"all": True},
        ],
        ids=str,
    )
    def test_bad_filters_are_400(self, cast: Cast, owner: Caller, body: dict[str, object]) -> None:
        status, _ = owner.call("POST", f"{keys_path(cast.project)}/bulk-revoke", body)
        assert status == 400
        assert verify_key(cast.key) is not None

    def test_an_id_of_another_project_is_404_for_all(self, cast: Cast, owner: Caller) -> None:
        mine, text = make_key(cast.project)
        other, _ = make_key(make_project(cast.organization))
        body = {"ids": [str(mine.pk), str(other.pk)]}
        assert owner.call("POST", f"{keys_path(cast.project)}/bulk-revoke", body)[0] == 404
        assert verify_key(text) is not None


class PolicyTests:
    def test_it_is_read_and_changed(self, cast: Cast, owner: Caller) -> None:
        path = f"/admin/projects/{cast.project.pk}/key-policy"
        assert owner.call("GET", path)[1]["leak_policy"] == "alert"
        assert owner.answer["ETag"] == '"0"'
        status, changed = owner.call("PATCH", path, {"leak_policy": "revoke"}, If_Match='"0"')
        assert (status, changed["leak_policy"]) == (200, "revoke")
        assert owner.call("PATCH", path, {"leak_policy": "alert"}, If_Match='"0"')[0] == 412
        assert owner.call("PATCH", path, {"leak_policy": "shrug"})[0] == 400
        assert owner.call("GET", path) == (200, changed)


class InUseTests:
    """What a key meets on the control plane."""

    def ask(self, text: str, ip: str = "192.0.2.7") -> Any:
        return Client(headers={"api-key": text, "x-forwarded-for": ip}).get("/indexes")

    def limited(self, cast: Cast, **limits: Any) -> str:
        return create_api_key(
            actor=SYSTEM,
            project=cast.project,
            name="limited",
            limits=limits,  # type: ignore[arg-type]  # test data
        )[1]

    def test_a_key_is_let_in_and_named_for_the_log(self, cast: Cast) -> None:
        answer = self.ask(cast.key)
        assert answer.status_code == 200
        verified = verify_key(cast.key)
        assert verified is not None
        assert answer["X-Tamarack-Key"] == str(verified.id)
        assert answer["X-Tamarack-Secret"] == cast.key[5:15]

    def test_from_elsewhere_it_is_403_with_the_reason_and_named_too(self, cast: Cast) -> None:
        text = self.limited(cast, allowed_ips=["198.51.100.0/24"])
        answer = self.ask(text)
        assert answer.status_code == 403
        assert "from the address 192.0.2.7" in answer.json()["error"]["message"]
        assert answer["X-Tamarack-Secret"] == text[5:15]
        assert self.ask(text, "198.51.100.9").status_code == 200

    def test_ranges_of_the_organization_hold_too(self, cast: Cast) -> None:
        SecurityBaseline.objects.create(
            organization=cast.organization, ip_ranges=["198.51.100.0/24"]
        )
        answer = self.ask(cast.key)
        assert answer.status_code == 403
        assert "The organization lets nobody in" in answer.json()["error"]["message"]

    def test_an_archived_project_is_403(self, cast: Cast) -> None:
        Project.objects.filter(pk=cast.project.pk).update(archived_at=timezone.now())
        assert self.ask(cast.key).status_code == 403

    def test_every_other_key_is_one_401(self, cast: Cast) -> None:
        disabled, text = make_key(cast.project)
        disable_api_key(actor=SYSTEM, key_id=disabled.pk)
        early = self.limited(cast, not_before=timezone.now() + timedelta(hours=1))
        answers = [self.ask(each) for each in (text, early, "", cast.key[:-1], "x")]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert not any("X-Tamarack-Key" in answer for answer in answers)

    def test_a_key_that_only_reads_makes_no_index(self, cast: Cast) -> None:
        text = self.limited(cast, access="read_only")
        answer = Client(headers={"api-key": text}).delete("/indexes/none")
        assert answer.status_code == 403

    def test_a_key_limited_to_an_index_sees_and_changes_no_other(self, cast: Cast) -> None:
        mine = make_index(cast.project, "mine")
        make_index(cast.project, "other")
        client = Client(headers={"api-key": self.limited(cast, index_ids=[mine.pk])})
        listed = client.get("/indexes").json()["indexes"]
        assert [index["name"] for index in listed] == ["mine"]
        assert client.get("/indexes/mine").status_code == 200
        for name in ("other", "none"):
            assert client.get(f"/indexes/{name}").status_code in {403, 404}
            assert client.delete(f"/indexes/{name}").status_code in {403, 404}
        made = client.post(
            "/indexes",
            {
                "name": "third",
                "dimension": 3,
                "metric": "cosine",
                "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}},
            },
            content_type="application/json",
        )
        assert made.status_code == 403
        assert set(cast.project.indexes.values_list("name", flat=True)) == {"mine", "other"}

    def test_a_key_limited_to_namespaces_deletes_no_index(self, cast: Cast) -> None:
        make_index(cast.project, "mine")
        client = Client(headers={"api-key": self.limited(cast, namespaces=["a"])})
        assert client.get("/indexes/mine").status_code == 200
        assert client.delete("/indexes/mine").status_code == 403

    def test_a_key_is_no_credential_of_the_admin_api(self, cast: Cast) -> None:
        path = keys_path(cast.project)
        assert Client(headers={"api-key": cast.key}).get(path).status_code == 401
        bearer = Client(headers={"authorization": f"Bearer {cast.key}"})
        assert bearer.get(path).status_code == 401


class TenantTests:
    def test_a_stranger_gets_404_and_a_member_403(self, cast: Cast) -> None:
        key, text = make_key(cast.project)
        stranger = caller_with(cast.other_organization, Role.ORG_OWNER)
        member = caller_with(cast.organization, Role.ORG_MEMBER)
        calls: list[tuple[str, str, object]] = [
            ("GET", keys_path(cast.project), None),
            ("POST", keys_path(cast.project), {"name": "a"}),
            ("POST", f"{keys_path(cast.project)}/bulk-revoke", {"name_prefix": "k"}),
            ("GET", f"/admin/projects/{cast.project.pk}/key-policy", None),
            ("PATCH", f"/admin/projects/{cast.project.pk}/key-policy", {"leak_policy": "alert"}),
            ("GET", key_path(key), None),
            ("PATCH", key_path(key), {"name": "b"}),
            ("DELETE", key_path(key), None),
            ("GET", key_path(key, "/secrets"), None),
            ("GET", key_path(key, "/usage"), None),
            *(
                ("POST", key_path(key, then), {})
                for then in ("/rotate", "/disable", "/enable", "/end-overlap")
            ),
        ]
        for method, path, body in calls:
            foreign = stranger.call(method, path, body)
            absent = stranger.call(
                method,
                path.replace(str(key.pk), NOBODY).replace(str(cast.project.pk), NOBODY),
                body,
            )
            assert foreign[0] == absent[0] == 404, (method, path)
            assert str(absent[1]).replace(NOBODY, "?") == str(foreign[1]).replace(
                str(key.pk), "?"
            ).replace(str(cast.project.pk), "?")
            # Who belongs to the organization without any role in the project sees no project.
            assert member.call(method, path, body)[0] in {403, 404}, (method, path)
        assert verify_key(text) is not None


NOBODY = "00000000-0000-4000-8000-000000000000"

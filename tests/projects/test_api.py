"""Projects and quotas over the Admin API, with real access tokens and sessions."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.models import Organization
from orgs.permissions import Role
from projects.models import Project
from tests.cast import Cast
from tests.factories import make_project, make_service_account
from tests.indexes.conftest import make_index
from tests.pages import Browser

PINECONE_FIELDS = {
    *("id", "name", "max_pods", "force_encryption_with_cmek", "organization_id", "created_at"),
}


class Caller:
    """Requests of one service account."""

    def __init__(self, token: str) -> None:
        self.client = Client(
            headers={"authorization": f"Bearer {token}"}, raise_request_exception=False
        )

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body; None where there is none."""
        self.answer = self.client.generic(
            method,
            path,
            b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        return (
            self.answer.status_code,
            json.loads(self.answer.content) if self.answer.content else None,
        )


def caller_with(organization: Organization, *roles: Role, project: Project | None = None) -> Caller:
    """A service account with these roles."""
    return Caller(make_service_account(organization, roles, project=project)[1])


@pytest.fixture
def owner(cast: Cast) -> Caller:
    """A service account that owns the cast's organization."""
    return caller_with(cast.organization, Role.ORG_OWNER)


class CreateTests:
    def test_it_answers_200_with_what_clients_read(self, cast: Cast, owner: Caller) -> None:
        status, made = owner.call("POST", "/admin/projects", {"name": " Fresh ", "max_pods": 0})
        assert status == 200
        assert made.keys() >= PINECONE_FIELDS
        assert (made["name"], made["max_pods"]) == ("Fresh", 0)
        assert made["force_encryption_with_cmek"] is False
        assert made["organization_id"] == str(cast.organization.pk)
        assert owner.answer["ETag"] == '"1"'
        assert owner.call("GET", f"/admin/projects/{made['id']}") == (200, made)

    def test_the_service_account_that_makes_one_owns_it(self, cast: Cast) -> None:
        manager = caller_with(cast.organization, Role.ORG_MANAGER)
        _, made = manager.call("POST", "/admin/projects", {"name": "Mine"})
        status, changed = manager.call("PATCH", f"/admin/projects/{made['id']}", {"name": "Ours"})
        assert (status, changed["name"]) == (200, "Ours")
        assert manager.call("GET", f"/admin/projects/{cast.project.pk}")[0] == 404

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": None}, "name"),
            ({"name": 5}, "name"),
            ({"name": "x" * 513}, "512"),
            ({"name": "a\x00b"}, "NUL"),
            ({"name": "\ud800"}, "surrogates"),
            ({"name": "a", "max_pods": 3}, "no pods"),
            ({"name": "a", "max_pods": "0"}, "max_pods"),
            ({"name": "a", "max_pods": True}, "max_pods"),
            ({"name": "a", "max_pods": 10**30}, "max_pods"),
            ({"name": "a", "force_encryption_with_cmek": "yes"}, "force_encryption_with_cmek"),
            ({"name": "a", "colour": "red"}, "colour"),
            ([], "JSON object"),
        ],
    )
    def test_a_bad_value_is_400_and_named(self, owner: Caller, body: object, words: str) -> None:
        status, answer = owner.call("POST", "/admin/projects", body)
        assert (status, answer["error"]["code"]) == (400, "INVALID_ARGUMENT")
        assert words in answer["error"]["message"]

    def test_a_full_quota_is_403_quota_exceeded(self, cast: Cast, owner: Caller) -> None:
        Organization.objects.update(overrides={"max_projects": 1})
        status, answer = owner.call("POST", "/admin/projects", {"name": "More"})
        assert (status, answer["error"]["code"]) == (403, "QUOTA_EXCEEDED")

    def test_arrears_are_402_payment_required(self, cast: Cast, owner: Caller) -> None:
        Organization.objects.update(payment_status="PastDue")
        status, answer = owner.call("POST", "/admin/projects", {"name": "More"})
        assert (status, answer["error"]["code"]) == (402, "PAYMENT_REQUIRED")

    def test_cmek_outside_the_plan_is_403(self, cast: Cast, owner: Caller) -> None:
        Organization.objects.update(overrides={"customer_managed_keys": False})
        body = {"name": "More", "force_encryption_with_cmek": True}
        status, answer = owner.call("POST", "/admin/projects", body)
        assert (status, answer["error"]["code"]) == (403, "PERMISSION_DENIED")

    def test_a_dry_run_says_which_quota_would_be_full(self, cast: Cast, owner: Caller) -> None:
        body = {"name": "More"}
        status, answer = owner.call("POST", "/admin/projects?dry_run=true", body)
        assert (status, answer["dry_run"], answer["allowed"]) == (200, True, True)
        Organization.objects.update(overrides={"max_projects": 1})
        _, answer = owner.call("POST", "/admin/projects?dry_run=true", body)
        assert answer["allowed"] is False
        (quota,) = answer["quotas"]
        assert quota.pop("reason").startswith("The operator of this installation allows at most 1")
        assert quota == {
            "name": "projects",
            "scope": "organization",
            "used": 1,
            "limit": 1,
            "source": "operator",
            "is_full": True,
        }
        assert Project.objects.filter(organization=cast.organization).count() == 1

    def test_a_repeated_request_with_its_key_makes_one_project(self, owner: Caller) -> None:
        key = str(uuid.uuid4())
        answers = [
            owner.call("POST", "/admin/projects", {"name": "Once"}, idempotency_key=key)
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert Project.objects.filter(name="Once").count() == 1


class ListTests:
    def test_it_comes_whole_unless_a_limit_is_given(self, cast: Cast, owner: Caller) -> None:
        for number in range(120):
            make = Project(organization=cast.organization, name=f"Project {number}")
            make.save()
        _, whole = owner.call("GET", "/admin/projects")
        assert len(whole["data"]) == 121
        assert whole["pagination"] is None
        seen, token = [], ""
        while token is not None:
            query = f"?limit=50{token and '&paginationToken=' + token}"
            status, page = owner.call("GET", f"/admin/projects{query}")
            assert status == 200
            seen += page["data"]
            token = page["pagination"] and page["pagination"]["next"]
        assert seen == whole["data"]

    def test_it_shows_the_callers_own_organization_and_roles_only(self, cast: Cast) -> None:
        second = make_project(cast.organization, "Second")
        for caller, expected in (
            (caller_with(cast.organization, Role.ORG_OWNER), {cast.project.pk, second.pk}),
            (caller_with(cast.organization, Role.ORG_MEMBER), set()),
            (
                caller_with(cast.organization, Role.DATA_PLANE_VIEWER, project=second),
                {second.pk},
            ),
            (caller_with(cast.other_organization, Role.ORG_OWNER), {cast.other_project.pk}),
        ):
            status, answer = caller.call("GET", "/admin/projects")
            assert status == 200
            assert {row["id"] for row in answer["data"]} == {str(pk) for pk in expected}

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("limit=0", "OUT_OF_RANGE"),
            ("limit=101", "OUT_OF_RANGE"),
            ("limit=many", "INVALID_ARGUMENT"),
            ("paginationToken=nonsense", "INVALID_ARGUMENT"),
            ("colour=red", "INVALID_ARGUMENT"),
        ],
    )
    def test_a_bad_query_is_400(self, owner: Caller, query: str, code: str) -> None:
        status, answer = owner.call("GET", f"/admin/projects?{query}")
        assert (status, answer["error"]["code"]) == (400, code)

    @pytest.mark.parametrize("path", ["/admin/projects", "/admin/projects?limit=100"])
    def test_more_projects_take_no_more_queries(
        self,
        cast: Cast,
        owner: Caller,
        path: str,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        owner.call("GET", path)
        with django_assert_num_queries(3):  # the token, its account's roles, the projects
            owner.call("GET", path)
        for number in range(30):
            make_project(cast.organization, f"Project {number}")
        with django_assert_num_queries(3):
            owner.call("GET", path)


class UpdateTests:
    def test_it_answers_200_with_the_new_version(self, cast: Cast, owner: Caller) -> None:
        path = f"/admin/projects/{cast.project.pk}"
        status, changed = owner.call("PATCH", path, {"name": "Renamed", "max_indexes": 7})
        assert (status, changed["name"], changed["max_indexes"]) == (200, "Renamed", 7)
        assert owner.answer["ETag"] == '"2"'

    def test_a_stale_if_match_is_412(self, cast: Cast, owner: Caller) -> None:
        path = f"/admin/projects/{cast.project.pk}"
        assert owner.call("PATCH", path, {"name": "First"}, if_match='"1"')[0] == 200
        status, answer = owner.call("PATCH", path, {"name": "Second"}, if_match='"1"')
        assert (status, answer["error"]["code"]) == (412, "FAILED_PRECONDITION")
        assert owner.call("DELETE", path, if_match='"1"')[0] == 412
        assert owner.call("POST", f"{path}/archive", if_match='"1"')[0] == 412
        assert Project.objects.get(pk=cast.project.pk).name == "First"

    def test_switching_cmek_off_is_412_and_leaving_it_off_is_200(
        self, cast: Cast, owner: Caller
    ) -> None:
        path, flag = f"/admin/projects/{cast.project.pk}", "force_encryption_with_cmek"
        assert owner.call("PATCH", path, {flag: False})[0] == 200
        assert owner.call("PATCH", path, {flag: True})[1][flag] is True
        status, answer = owner.call("PATCH", path, {flag: False})
        assert (status, answer["error"]["code"]) == (412, "FAILED_PRECONDITION")

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"max_pods": 1}, "INVALID_ARGUMENT"),
            ({"name": " "}, "INVALID_ARGUMENT"),
            ({"max_indexes": -1}, "OUT_OF_RANGE"),
            ({"max_api_keys": 10**18}, "OUT_OF_RANGE"),
            ({"archived_at": None}, "INVALID_ARGUMENT"),
        ],
    )
    def test_a_bad_value_is_400(self, cast: Cast, owner: Caller, body: object, code: str) -> None:
        status, answer = owner.call("PATCH", f"/admin/projects/{cast.project.pk}", body)
        assert (status, answer["error"]["code"]) == (400, code)

    def test_without_the_permission_it_is_403(self, cast: Cast) -> None:
        member = caller_with(cast.organization, Role.PROJECT_MEMBER, project=cast.project)
        path = f"/admin/projects/{cast.project.pk}"
        for method, where in (
            ("PATCH", path),
            ("DELETE", path),
            ("POST", f"{path}/archive"),
            ("POST", f"{path}/restore"),
        ):
            body = {"name": "Mine"} if method == "PATCH" else None
            status, answer = member.call(method, where, body)
            assert (status, answer["error"]["code"]) == (403, "PERMISSION_DENIED")

    def test_another_tenants_project_is_404_like_an_absent_one(self, cast: Cast) -> None:
        stranger = caller_with(cast.other_organization, Role.ORG_OWNER)
        texts = set()
        for project_id in (cast.project.pk, uuid.uuid4()):
            path = f"/admin/projects/{project_id}"
            for method, where in (
                ("GET", path),
                ("PATCH", path),
                ("DELETE", path),
                ("GET", f"{path}/quotas"),
                ("POST", f"{path}/archive"),
                ("POST", f"{path}/restore"),
            ):
                body = {"name": "Mine"} if method == "PATCH" else None
                status, answer = stranger.call(method, where, body)
                assert status == 404
                texts.add(answer["error"]["message"].replace(str(project_id), "ID"))
        assert texts == {"There is no project ID, or none that you may see."}


class ArchiveTests:
    def test_archive_and_restore_answer_the_project(self, cast: Cast, owner: Caller) -> None:
        path = f"/admin/projects/{cast.project.pk}"
        status, archived = owner.call("POST", f"{path}/archive")
        assert status == 200
        assert archived["archived_at"] is not None
        headers = {"api-key": cast.key}
        refused = Client(headers=headers).get("/indexes")
        assert refused.status_code == 403
        assert "is archived" in refused.json()["error"]["message"]
        status, restored = owner.call("POST", f"{path}/restore")
        assert (status, restored["archived_at"]) == (200, None)
        assert Client(headers=headers).get("/indexes").status_code == 200


class DeleteTests:
    def test_it_is_202_without_body_and_404_on_repeat(self, cast: Cast, owner: Caller) -> None:
        path = f"/admin/projects/{cast.project.pk}"
        assert owner.call("DELETE", path) == (202, None)
        assert owner.call("DELETE", path)[0] == 404
        assert owner.call("GET", path)[0] == 404
        assert Client(headers={"api-key": cast.key}).get("/indexes").status_code == 401

    def test_while_indexes_remain_it_is_412(self, cast: Cast, owner: Caller) -> None:
        make_index(cast.project)
        status, answer = owner.call("DELETE", f"/admin/projects/{cast.project.pk}")
        assert (status, answer["error"]["code"]) == (412, "FAILED_PRECONDITION")
        assert "still has indexes: 1" in answer["error"]["message"]


class QuotaTests:
    def test_of_a_project(self, cast: Cast, owner: Caller) -> None:
        make_index(cast.project)
        status, answer = owner.call("GET", f"/admin/projects/{cast.project.pk}/quotas")
        assert status == 200
        assert {(q["name"], q["used"], q["limit"], q["source"]) for q in answer["data"]} == {
            ("indexes", 1, 200, "plan"),
            ("api_keys", 1, 1000, "plan"),
        }

    def test_of_an_organization(self, cast: Cast, owner: Caller) -> None:
        path = f"/admin/organizations/{cast.organization.pk}/quotas"
        status, answer = owner.call("GET", path)
        assert status == 200
        assert {(q["name"], q["used"], q["limit"]) for q in answer["data"]} == {
            ("projects", 1, 100),
            ("members", 2, None),
            ("service_accounts", 1, 1000),
        }

    def test_access_roles_do_not_read_them(self, cast: Cast) -> None:
        caller = caller_with(cast.organization, Role.PROJECT_EDITOR, project=cast.project)
        path = f"/admin/projects/{cast.project.pk}"
        assert caller.call("GET", path)[0] == 200
        assert caller.call("GET", f"{path}/quotas")[0] == 403

    def test_another_organizations_are_404(self, cast: Cast) -> None:
        stranger = caller_with(cast.other_organization, Role.ORG_OWNER)
        path = f"/admin/organizations/{cast.organization.pk}/quotas"
        assert stranger.call("GET", path)[0] == 404


class WhoTests:
    @pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
    def test_nobody_is_401(self, cast: Cast, method: str) -> None:
        path = "/admin/projects" if method == "POST" else f"/admin/projects/{cast.project.pk}"
        for headers in ({}, {"api-key": cast.key}, {"authorization": "Bearer nonsense"}):
            answer = Client(headers=headers).generic(method, path)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "UNAUTHENTICATED"

    def test_a_signed_in_person_needs_a_fresh_proof_to_delete(self, cast: Cast) -> None:
        browser, path = Browser(cast.alice), f"/admin/projects/{cast.project.pk}"
        browser.prove(cast.alice, seconds_ago=7200)
        refused = browser.delete(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
        assert Project.objects.filter(pk=cast.project.pk).exists()
        browser.prove(cast.alice)
        assert browser.delete(path).status_code == 202

    def test_every_change_is_audited_with_the_account_that_made_it(
        self, cast: Cast, owner: Caller
    ) -> None:
        _, made = owner.call("POST", "/admin/projects", {"name": "Traced"})
        path = f"/admin/projects/{made['id']}"
        owner.call("PATCH", path, {"name": "Traced twice"})
        owner.call("POST", f"{path}/archive")
        owner.call("POST", f"{path}/restore")
        owner.call("DELETE", path)
        found = AuditEvent.objects.filter(resource_id=made["id"]).order_by("time")
        assert [(event.type, event.actor_kind) for event in found] == [
            (f"project.{verb}", "service_account")
            for verb in ("created", "updated", "archived", "restored", "deleted")
        ]
        assert all(event.request_id for event in found)

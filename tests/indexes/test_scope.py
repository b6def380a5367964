"""Roles on single indexes, and service accounts in the control plane."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from indexes.models import Index
from indexes.rules import IndexSpec
from indexes.selectors import get_index, list_indexes
from indexes.services import configure_index, create_index, delete_index
from keys.models import ServiceAccount
from orgs.actors import Actor, Bar
from orgs.errors import NotFound, PermissionDenied
from orgs.models import CustomRole, Organization, PrincipalType, RoleBinding
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from projects.models import Project
from projects.selectors import get_project, projects_visible_to
from tests.cast import Cast
from tests.factories import SYSTEM, make_service_account
from tests.indexes.conftest import drive, make_index
from tests.indexes.processes import Processes
from tests.pages import Browser

DENSE = {"fields": {"_values": {"type": "dense_vector", "dimension": 3, "metric": "cosine"}}}


def bind(
    organization: Organization,
    principal: tuple[PrincipalType, uuid.UUID],
    role: Role | CustomRole,
    index: Index,
) -> RoleBinding:
    """A role on one index."""
    return bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=principal,
        role=role,
        resource_id=index.pk,
        index_in=index.project_id,
    )


@pytest.fixture
def indexes(cast: Cast) -> list[Index]:
    """Two indexes of the cast's project."""
    return [make_index(cast.project, name) for name in ("mine", "theirs")]


def bob_with(cast: Cast, index: Index, role: Role) -> Actor:
    """Bob, who holds a role on one index and none on its project."""
    bind(cast.organization, (PrincipalType.USER, cast.bob.pk), role, index)
    return cast.actor(cast.bob)


class SingleIndexTests:
    def test_only_those_are_listed(self, cast: Cast, indexes: list[Index]) -> None:
        actor = bob_with(cast, indexes[0], Role.CONTROL_PLANE_VIEWER)
        assert list(list_indexes(actor, cast.project.pk)) == [indexes[0]]
        assert get_index(actor, cast.project.pk, "mine") == indexes[0]

    def test_others_of_the_project_are_forbidden_and_absent_ones_not_found(
        self, cast: Cast, indexes: list[Index]
    ) -> None:
        actor = bob_with(cast, indexes[0], Role.CONTROL_PLANE_EDITOR)
        attempts: list[Callable[[str], object]] = [
            lambda name: get_index(actor, cast.project.pk, name),
            lambda name: delete_index(actor=actor, project_id=cast.project.pk, name=name),
            lambda name: configure_index(
                actor=actor, project_id=cast.project.pk, name=name, tags={"a": "b"}
            ),
        ]
        for attempt in attempts:
            with pytest.raises(PermissionDenied, match="lacks the permission index:"):
                attempt("theirs")
            with pytest.raises(NotFound, match="No index"):
                attempt("absent")

    def test_an_editor_changes_and_deletes_its_index(
        self, cast: Cast, indexes: list[Index]
    ) -> None:
        actor = bob_with(cast, indexes[0], Role.CONTROL_PLANE_EDITOR)
        changed = configure_index(
            actor=actor, project_id=cast.project.pk, name="mine", tags={"a": "b"}
        )
        assert changed.tags == {"a": "b"}
        delete_index(actor=actor, project_id=cast.project.pk, name="mine")
        indexes[0].refresh_from_db()
        assert indexes[0].state == Index.State.TERMINATING

    def test_a_viewer_of_it_does_neither(self, cast: Cast, indexes: list[Index]) -> None:
        actor = bob_with(cast, indexes[0], Role.PROJECT_VIEWER)
        with pytest.raises(PermissionDenied, match="index:configure"):
            configure_index(
                actor=actor, project_id=cast.project.pk, name="mine", deletion_protection=True
            )
        with pytest.raises(PermissionDenied, match="index:delete"):
            delete_index(actor=actor, project_id=cast.project.pk, name="mine")

    def test_a_data_role_on_it_does_not_show_it(self, cast: Cast, indexes: list[Index]) -> None:
        actor = bob_with(cast, indexes[0], Role.DATA_PLANE_EDITOR)
        with pytest.raises(PermissionDenied, match="index:read"):
            list_indexes(actor, cast.project.pk)
        with pytest.raises(PermissionDenied, match="index:read"):
            get_index(actor, cast.project.pk, "mine")

    def test_nobody_creates_by_a_role_on_an_index(self, cast: Cast, indexes: list[Index]) -> None:
        actor = bob_with(cast, indexes[0], Role.PROJECT_EDITOR)
        with pytest.raises(PermissionDenied, match="index:create"):
            create_index(
                actor=actor, project_id=cast.project.pk, spec=IndexSpec("more", dimension=3)
            )

    def test_a_role_on_the_project_is_not_narrowed_by_one_on_an_index(
        self, cast: Cast, indexes: list[Index]
    ) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.CONTROL_PLANE_VIEWER,
            resource_id=cast.project.pk,
        )
        actor = bob_with(cast, indexes[0], Role.CONTROL_PLANE_EDITOR)
        assert set(list_indexes(actor, cast.project.pk)) == set(indexes)
        delete_index(actor=actor, project_id=cast.project.pk, name="mine")
        with pytest.raises(PermissionDenied, match="index:delete"):
            delete_index(actor=actor, project_id=cast.project.pk, name="theirs")

    def test_a_role_of_the_organizations_own_counts_as_far_as_an_index_goes(
        self, cast: Cast, indexes: list[Index]
    ) -> None:
        role = CustomRole.objects.create(
            organization=cast.organization,
            name="Reader",
            resource_type="index",
            permissions=["index:read", "index:create"],
        )
        bind(cast.organization, (PrincipalType.USER, cast.bob.pk), role, indexes[0])
        actor = cast.actor(cast.bob)
        assert list(list_indexes(actor, cast.project.pk)) == [indexes[0]]
        with pytest.raises(PermissionDenied):
            create_index(
                actor=actor, project_id=cast.project.pk, spec=IndexSpec("more", dimension=3)
            )

    def test_another_tenants_project_does_not_exist(self, cast: Cast, indexes: list[Index]) -> None:
        foreign = make_index(cast.other_project, "mine")
        actor = bob_with(cast, indexes[0], Role.PROJECT_EDITOR)
        for attempt in (
            lambda: list_indexes(actor, cast.other_project.pk),
            lambda: get_index(actor, cast.other_project.pk, foreign.name),
            lambda: delete_index(actor=actor, project_id=cast.other_project.pk, name="mine"),
        ):
            with pytest.raises(NotFound, match="There is no project"):
                attempt()

    def test_where_the_organization_bars_the_actor_the_role_does_not_count(
        self, cast: Cast, indexes: list[Index]
    ) -> None:
        held = bob_with(cast, indexes[0], Role.PROJECT_EDITOR)
        barred = Actor(
            kind=held.kind,
            id=held.id,
            label=held.label,
            bindings=held.bindings,
            bars=(Bar(cast.organization.pk, "Come from the office."),),
        )
        with pytest.raises(PermissionDenied, match="Come from the office"):
            list_indexes(barred, cast.project.pk)
        with pytest.raises(PermissionDenied, match="Come from the office"):
            get_project(barred, cast.project.pk)
        assert list(projects_visible_to(barred)) == []

    def test_its_project_is_visible(self, cast: Cast, indexes: list[Index]) -> None:
        actor = bob_with(cast, indexes[0], Role.DATA_PLANE_VIEWER)
        assert list(projects_visible_to(actor)) == [cast.project]
        assert get_project(actor, cast.project.pk) == cast.project

    def test_the_page_shows_those_alone(self, cast: Cast, indexes: list[Index]) -> None:
        bob_with(cast, indexes[0], Role.CONTROL_PLANE_VIEWER)
        answer = Browser(cast.bob).get(f"/projects/{cast.project.pk}/indexes/")
        assert answer.status_code == 200
        assert b"mine" in answer.content
        assert b"theirs" not in answer.content

    def test_more_indexes_take_no_more_queries(
        self,
        cast: Cast,
        indexes: list[Index],
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        actor = bob_with(cast, indexes[0], Role.CONTROL_PLANE_VIEWER)
        with django_assert_num_queries(2):
            list(list_indexes(actor, cast.project.pk))
        for number in range(10):
            bind(
                cast.organization,
                (PrincipalType.USER, cast.bob.pk),
                Role.CONTROL_PLANE_VIEWER,
                make_index(cast.project, f"index-{number}"),
            )
        actor = cast.actor(cast.bob)
        with django_assert_num_queries(2):
            assert len(list_indexes(actor, cast.project.pk)) == 11


@pytest.mark.xdist_group("platform")
class GoneTests:
    def test_a_deleted_index_leaves_no_role(self, platform: Processes) -> None:
        index = make_index()
        organization = Project.objects.get(pk=index.project_id).organization
        account, _ = make_service_account(organization, ())
        bind(
            organization,
            (PrincipalType.SERVICE_ACCOUNT, account.pk),
            Role.PROJECT_EDITOR,
            index,
        )
        delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        drive(index)
        assert index.deleted_at is not None
        assert not RoleBinding.objects.filter(principal_id=account.pk).exists()


class Robot:
    """A service account that calls the control plane."""

    def __init__(self, account: ServiceAccount, token: str) -> None:
        self.account = account
        self.token = token

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body; None where there is none."""
        sent = {"authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        self.answer = Client(raise_request_exception=False).generic(
            method,
            path,
            b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers=sent,
        )
        try:
            return self.answer.status_code, json.loads(self.answer.content or b"null")
        except ValueError:
            return self.answer.status_code, self.answer.content.decode()


def robot(organization: Organization, *roles: Role, project: Project | None = None) -> Robot:
    """A service account with these roles."""
    return Robot(*make_service_account(organization, roles, project=project))


class ServiceAccountTests:
    def test_it_names_its_project_and_does_what_its_role_allows(self, cast: Cast) -> None:
        editor = robot(cast.organization, Role.PROJECT_EDITOR, project=cast.project)
        where = {"x_project_id": str(cast.project.pk)}
        status, made = editor.call(
            "POST", "/indexes", {"name": "products", "schema": DENSE}, **where
        )
        assert (status, made["name"]) == (201, "products")
        assert editor.call("GET", "/indexes", **where)[1]["indexes"] == [made]
        assert editor.call("GET", "/indexes/products", **where) == (200, made)
        tags = {"tags": {"a": "b"}}
        assert editor.call("PATCH", "/indexes/products", tags, **where)[0] == 200
        assert editor.call("DELETE", "/indexes/products", **where)[0] == 202
        assert editor.call("GET", "/collections", **where) == (200, {"collections": []})

    def test_one_that_holds_roles_on_indexes_only(self, cast: Cast, indexes: list[Index]) -> None:
        single = robot(cast.organization)
        principal = (PrincipalType.SERVICE_ACCOUNT, single.account.pk)
        bind(cast.organization, principal, Role.CONTROL_PLANE_VIEWER, indexes[0])
        where = {"x_project_id": str(cast.project.pk)}
        _, listed = single.call("GET", "/indexes", **where)
        assert [each["name"] for each in listed["indexes"]] == ["mine"]
        assert single.call("GET", "/indexes/mine", **where)[0] == 200
        assert single.call("GET", "/indexes/theirs", **where)[0] == 403
        assert single.call("DELETE", "/indexes/mine", **where)[0] == 403
        body = {"name": "more", "schema": DENSE}
        assert single.call("POST", "/indexes", body, **where)[0] == 403
        assert single.call("GET", "/collections", **where)[0] == 200
        _, listed = single.call("GET", "/admin/projects")
        assert [each["id"] for each in listed["data"]] == [str(cast.project.pk)]

    def test_without_the_header_it_is_400(self, cast: Cast) -> None:
        owner = robot(cast.organization, Role.ORG_OWNER)
        for headers in ({}, {"x_project_id": "search"}, {"x_project_id": ""}):
            status, answer = owner.call("GET", "/indexes", **headers)
            assert (status, answer["error"]["code"]) == (400, "INVALID_ARGUMENT")
            assert "X-Project-Id" in answer["error"]["message"]

    def test_a_foreign_project_and_an_absent_one_are_the_same_404(self, cast: Cast) -> None:
        owner = robot(cast.organization, Role.ORG_OWNER)
        texts = set()
        for project_id in (cast.other_project.pk, uuid.uuid4()):
            for method, path in (
                ("GET", "/indexes"),
                ("GET", "/indexes/products"),
                ("DELETE", "/indexes/products"),
                ("GET", "/collections"),
            ):
                status, answer = owner.call(method, path, x_project_id=str(project_id))
                assert status == 404
                texts.add(answer["error"]["message"].replace(str(project_id), "ID"))
        assert texts == {"There is no project ID, or none that you may see."}

    def test_a_token_that_is_none_is_401(self, cast: Cast) -> None:
        nobody = Robot(ServiceAccount(), "nonsense")
        where = {"x_project_id": str(cast.project.pk)}
        status, answer = nobody.call("GET", "/indexes", **where)
        assert (status, answer["error"]["code"]) == (401, "UNAUTHENTICATED")
        assert nobody.answer["WWW-Authenticate"].startswith("Bearer")
        status, text = nobody.call("GET", "/indexes", x_pinecone_api_version="2026-07", **where)
        assert status == 401
        assert "access token is not valid" in text

    def test_two_credentials_at_once_are_400(self, cast: Cast) -> None:
        owner = robot(cast.organization, Role.ORG_OWNER)
        status, answer = owner.call(
            "GET", "/indexes", api_key=cast.key, x_project_id=str(cast.project.pk)
        )
        assert (status, answer["error"]["code"]) == (400, "INVALID_ARGUMENT")

    def test_a_person_who_is_signed_in_needs_one_too(self, cast: Cast) -> None:
        answer = Browser(cast.alice).get("/indexes", headers={"x-project-id": str(cast.project.pk)})
        assert answer.status_code == 401


class ApiKeyHeaderTests:
    def test_a_key_may_name_its_own_project_and_no_other(self, cast: Cast) -> None:
        def status(project_id: object) -> int:
            headers = {"api-key": cast.key, "x-project-id": str(project_id)}
            return Client(headers=headers).get("/indexes").status_code

        assert status(cast.project.pk) == 200
        assert status(cast.other_project.pk) == status(uuid.uuid4()) == 400


class DryRunTests:
    BODY: ClassVar[dict[str, object]] = {"name": "products", "schema": DENSE}

    @pytest.mark.parametrize("where", ["query", "header"])
    def test_it_says_which_quota_would_be_full(self, cast: Cast, where: str) -> None:
        client = Client(headers={"api-key": cast.key})

        def post(body: object) -> Any:
            return client.post(
                "/indexes?dry_run=true" if where == "query" else "/indexes",
                json.dumps(body),
                content_type="application/json",
                headers={"x-dry-run": "true"} if where == "header" else {},
            )

        answer = post(self.BODY)
        assert (answer.status_code, answer.json()["allowed"]) == (200, True)
        Project.objects.update(max_indexes=0)
        full = post(self.BODY).json()
        assert full["allowed"] is False
        (quota,) = full["quotas"]
        assert (quota["name"], quota["limit"], quota["source"]) == ("indexes", 0, "project")
        assert post({**self.BODY, "name": "Bad Name"}).status_code == 400
        assert not Index.objects.exists()

    def test_what_is_neither_true_nor_false_is_400(self, cast: Cast) -> None:
        client = Client(headers={"api-key": cast.key})
        for path, headers in (("/indexes?dry_run=1", {}), ("/indexes", {"x-dry-run": "yes"})):
            answer = client.post(
                path, json.dumps(self.BODY), content_type="application/json", headers=headers
            )
            assert answer.status_code == 400
        assert not Index.objects.exists()


class RemovedRowsTests:
    def test_a_name_in_use_again_is_another_index(self, cast: Cast, indexes: list[Index]) -> None:
        """A role on the index that had the name before says nothing about the one that has it."""
        actor = bob_with(cast, indexes[0], Role.CONTROL_PLANE_EDITOR)
        Index.objects.filter(pk=indexes[0].pk).update(deleted_at=timezone.now())
        make_index(cast.project, "mine")
        assert list(list_indexes(actor, cast.project.pk)) == []
        with pytest.raises(PermissionDenied, match="index:read"):
            get_index(actor, cast.project.pk, "mine")

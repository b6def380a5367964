"""Roles of an organization's own: what they may hold, and who may make them hold it."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Refused,
)
from orgs.models import CustomRole, PrincipalType, ResourceType, User
from orgs.permissions import GRANTABLE, PERMISSION_HELP, ROLE_HELP, Permission, Role
from orgs.plans import Plan
from orgs.role_hints import hints_for
from orgs.services.bindings import bind_role
from orgs.services.roles import create_role, delete_role, update_role
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_member
from tests.pages import Browser

ORG, PROJECT, INDEX = ResourceType.ORGANIZATION, ResourceType.PROJECT, ResourceType.INDEX
ROLES = "/admin/roles"


def make(cast: Cast, who: Actor | User | None = None, **more: Any) -> CustomRole:
    """A role that reads records of a project, made by Alice unless told otherwise."""
    actor = who if isinstance(who, Actor) else cast.actor(who or cast.alice)
    fields: dict[str, Any] = {
        "name": "Reader",
        "resource_type": PROJECT,
        "permissions": ["data:read"],
        **more,
    }
    return create_role(actor=actor, organization_id=cast.organization.pk, **fields)


def change(cast: Cast, who: User, role: CustomRole, **fields: Any) -> CustomRole:
    """Somebody changes it."""
    return update_role(
        actor=cast.actor(who), organization_id=cast.organization.pk, role_id=role.pk, **fields
    )


def remove(cast: Cast, who: User, role_id: uuid.UUID) -> None:
    """Somebody deletes it."""
    delete_role(actor=cast.actor(who), organization_id=cast.organization.pk, role_id=role_id)


def hold(cast: Cast, role: CustomRole, user: User | None = None) -> None:
    """Bob gets it, on the project or the organization."""
    on_organization = role.resource_type == ORG
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, (user or cast.bob).pk),
        role=role,
        resource_id=cast.organization.pk if on_organization else cast.project.pk,
    )


def manager_of_roles(cast: Cast) -> User:
    """Somebody who may make roles and hold little else: Bob."""
    role = CustomRole.objects.create(
        organization=cast.organization,
        name="Role manager",
        resource_type=ORG,
        permissions=["member:read", "organization:read", "role:manage"],
    )
    hold(cast, role)
    return cast.bob


class CreateRoleTests:
    def test_it_holds_what_was_asked_and_is_written_down(self, cast: Cast) -> None:
        role = make(cast, permissions=["index:read", "data:read", "data:read"])
        assert role.permissions == ["data:read", "index:read"]
        event = AuditEvent.objects.get(type="role.created")
        assert event.permission == "role:manage"
        assert event.detail["permissions"] == ["data:read", "index:read"]

    @pytest.mark.parametrize("kind", list(ResourceType))
    def test_only_permissions_that_can_be_held_there_400(
        self, cast: Cast, kind: ResourceType
    ) -> None:
        for number, permission in enumerate(Permission):
            fields: dict[str, Any] = {
                "name": f"r{number}",
                "resource_type": kind,
                "permissions": [permission],
            }
            if permission in GRANTABLE[kind]:
                assert make(cast, **fields).permissions == [permission.value]
            else:
                with pytest.raises(InvalidArgument, match=f"can't include {permission.value}"):
                    make(cast, **fields)

    @pytest.mark.parametrize(
        "permissions", [[], ["everything"], ["data:read", "a\0"], ["x" * 9999]]
    )
    def test_permissions_that_do_not_exist_400(self, cast: Cast, permissions: list[str]) -> None:
        with pytest.raises(InvalidArgument, match=r"no permission|at least one"):
            make(cast, permissions=permissions)

    @pytest.mark.parametrize("name", ["", " ", "x" * 81, "a\0b", "a\nb"])
    def test_a_name_that_breaks_its_rule_400(self, cast: Cast, name: str) -> None:
        with pytest.raises(InvalidArgument, match="role name"):
            make(cast, name=name)

    @pytest.mark.parametrize("name", ["reader", " READER ", "OrgOwner", "orgowner"])
    def test_a_name_that_is_taken_in_whatever_case_409(self, cast: Cast, name: str) -> None:
        make(cast)
        with pytest.raises(AlreadyExists):
            make(cast, name=name)

    def test_another_organization_may_use_the_name(self, cast: Cast) -> None:
        make(cast)
        create_role(
            actor=cast.actor(cast.charlie),
            organization_id=cast.other_organization.pk,
            name="Reader",
            resource_type=INDEX,
            permissions=["data:read"],
        )

    def test_a_member_makes_none_403(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="role:manage"):
            make(cast, cast.bob)

    def test_a_stranger_gets_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound):
            make(cast, cast.charlie)

    def test_nobody_makes_one_that_can_do_more_than_they_403(self, cast: Cast) -> None:
        bob = manager_of_roles(cast)
        with pytest.raises(PermissionDenied, match="you lack data:read"):
            make(cast, bob)
        make(cast, bob, name="Role maker", resource_type=ORG, permissions=["role:manage"])

    def test_a_plan_without_them_403_names_it(self, cast: Cast) -> None:
        cast.organization.plan = Plan.STANDARD
        cast.organization.save()
        with pytest.raises(PermissionDenied, match="Enterprise plan"):
            make(cast)


class UpdateRoleTests:
    def test_it_counts_at_once_for_everybody_who_holds_it(self, cast: Cast) -> None:
        role = make(cast)
        hold(cast, role)
        change(cast, cast.alice, role, permissions=["data:write"])
        (held,) = [each for each in cast.actor(cast.bob).bindings if each.role == "Reader"]
        assert held.permissions == frozenset({"data:write"})
        event = AuditEvent.objects.get(type="role.updated")
        assert event.changes == {"permissions": {"before": ["data:read"], "after": ["data:write"]}}

    def test_what_is_left_out_stays_and_nothing_new_is_no_change(self, cast: Cast) -> None:
        role = make(cast, description="reads")
        assert change(cast, cast.alice, role, name="Looker").description == "reads"
        assert change(cast, cast.alice, role, name="Looker").version == 2
        assert AuditEvent.objects.filter(type="role.updated").count() == 1

    def test_it_may_change_the_case_of_its_own_name(self, cast: Cast) -> None:
        assert change(cast, cast.alice, make(cast), name="READER").name == "READER"

    def test_a_name_that_is_taken_409(self, cast: Cast) -> None:
        make(cast)
        other = make(cast, name="Other")
        for name in ("reader", "OrgOwner"):
            with pytest.raises(AlreadyExists):
                change(cast, cast.alice, other, name=name)

    def test_nobody_adds_what_they_may_not_do_themselves_403(self, cast: Cast) -> None:
        bob, role = manager_of_roles(cast), make(cast)
        with pytest.raises(PermissionDenied, match="you lack data:write"):
            change(cast, bob, role, permissions=["data:read", "data:write"])
        change(cast, bob, role, description="who reads")
        role = make(cast, name="Two", permissions=["data:read", "data:write"])
        assert change(cast, bob, role, permissions=["data:read"]).permissions == ["data:read"]

    def test_who_holds_the_permission_on_one_project_only_adds_it_nowhere_403(
        self, cast: Cast
    ) -> None:
        bob, role = manager_of_roles(cast), make(cast)
        hold(cast, role)
        with pytest.raises(PermissionDenied, match="you lack data:read"):
            make(cast, bob, name="Mine")

    def test_a_foreign_or_absent_one_404(self, cast: Cast) -> None:
        role = make(cast)
        for pk in (role.pk, uuid.uuid4()):
            with pytest.raises(NotFound, match=f"no role {pk}"):
                update_role(
                    actor=cast.actor(cast.charlie),
                    organization_id=cast.other_organization.pk,
                    role_id=pk,
                    name="Mine",
                )


class DeleteRoleTests:
    def test_one_that_nobody_holds_goes(self, cast: Cast) -> None:
        role = make(cast)
        remove(cast, cast.alice, role.pk)
        with pytest.raises(NotFound):
            remove(cast, cast.alice, role.pk)
        assert AuditEvent.objects.filter(type="role.deleted").count() == 1

    def test_one_that_somebody_holds_stays_412(self, cast: Cast) -> None:
        role = make(cast)
        hold(cast, role)
        with pytest.raises(FailedPrecondition, match="held by 1 role binding"):
            remove(cast, cast.alice, role.pk)

    def test_a_member_deletes_none_403(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            remove(cast, cast.bob, make(cast).pk)


class HintTests:
    def test_every_permission_and_every_role_is_explained(self) -> None:
        assert set(PERMISSION_HELP) == set(Permission)
        assert set(ROLE_HELP) == set(Role)

    def test_what_is_of_little_use_alone(self) -> None:
        assert [each.code for each in hints_for(["index:delete"])] == ["incomplete"]
        assert hints_for(["index:delete", "index:read"]) == []

    @pytest.mark.parametrize("permission", ["member:update", "role:manage", "group:manage"])
    def test_what_gives_rights_to_others(self, permission: str) -> None:
        found = hints_for([permission, "member:read"])
        assert [(each.code, each.permission) for each in found] == [("escalation", permission)]


class ApiTests:
    def test_the_list_has_all_predefined_roles_and_the_organization_s_own(self, cast: Cast) -> None:
        role = make(cast)
        hold(cast, role)
        rows = Browser(cast.bob).get(ROLES).json()["data"]
        assert [row["name"] for row in rows] == [*Role, "Reader"]
        owner, own = rows[0], rows[-1]
        assert (owner["predefined"], owner["id"], len(owner["permissions"])) == (
            True,
            None,
            len(Permission),
        )
        assert owner["resource_types"] == ["organization"]
        assert (own["id"], own["holders"], own["version"]) == (str(role.pk), 1, 1)
        assert {row["name"] for row in rows if row["for_api_keys"]} == {
            role.value for role in Role if role.value in GRANTED_TO_KEYS
        }

    def test_permissions_tell_where_they_can_be_held(self, cast: Cast) -> None:
        rows = {
            row["name"]: row for row in Browser(cast.bob).get("/admin/permissions").json()["data"]
        }
        assert set(rows) == {each.value for each in Permission}
        assert rows["data:read"]["resource_types"] == ["organization", "project", "index"]
        assert rows["member:update"]["resource_types"] == ["organization"]
        assert rows["member:update"]["needs_fresh_sign_in"]

    def signed_in(self, email: str = "alice@example.com") -> Browser:
        """Somebody who just proved who they are."""
        browser = Browser()
        browser.sign_in(email)
        return browser

    def test_made_changed_and_deleted(self, cast: Cast) -> None:
        browser = self.signed_in()
        body = {"name": "Boss", "resource_type": "organization", "permissions": ["member:update"]}
        made = browser.post(ROLES, body, content_type="application/json")
        assert (made.status_code, made["ETag"]) == (201, '"1"')
        assert [hint["code"] for hint in made.json()["hints"]] == ["incomplete", "escalation"]
        path = f"{ROLES}/{made.json()['id']}"
        fields = {"permissions": ["member:update", "member:read"]}
        patched = browser.patch(path, fields, content_type="application/json")
        assert (patched.status_code, patched["ETag"]) == (200, '"2"')
        assert browser.get(path).json() == patched.json()
        assert browser.delete(path, headers={"if-match": '"1"'}).status_code == 412
        assert browser.delete(path).status_code == 202
        assert browser.get(path).status_code == 404

    def test_an_outdated_version_412(self, cast: Cast) -> None:
        role = make(cast)
        answer = self.signed_in().patch(
            f"{ROLES}/{role.pk}",
            {"name": "Mine"},
            content_type="application/json",
            headers={"if-match": '"7"'},
        )
        assert answer.status_code == 412
        assert CustomRole.objects.get().name == "Reader"

    def test_without_a_fresh_proof_403(self, cast: Cast) -> None:
        body = {"name": "Boss", "resource_type": "organization", "permissions": ["member:read"]}
        browser = self.signed_in()
        session = browser.session
        for proof in session["account_authentication_methods"]:
            proof["at"] -= 24 * 3600
        session.save()
        assert browser.post(ROLES, body, content_type="application/json").status_code == 403

    @pytest.mark.parametrize(
        "more",
        [
            {"name": None},
            {"name": 5},
            {"permissions": "data:read"},
            {"permissions": [1]},
            {"permissions": ["data:read"] * 101},
            {"permissions": [[["data:read"]]]},
            {"resource_type": "planet"},
            {"version": 7},
        ],
    )
    def test_nonsense_400(self, cast: Cast, more: dict[str, Any]) -> None:
        body = {"name": "A", "resource_type": "project", "permissions": ["data:read"], **more}
        answer = self.signed_in().post(ROLES, body, content_type="application/json")
        assert answer.status_code == 400, answer.content

    def test_a_dry_run_tells_whom_a_change_reaches(self, cast: Cast) -> None:
        role = make(cast)
        hold(cast, role)
        dora = make_member(cast.organization)
        hold(cast, role, dora)
        answer = self.signed_in().patch(
            f"{ROLES}/{role.pk}?dry_run=true",
            {"permissions": ["data:write"]},
            content_type="application/json",
        )
        flips = answer.json()["flips"]
        assert {row["principal_id"] for row in flips} == {str(cast.bob.pk), str(dora.pk)}
        assert {tuple(row["gained"]) for row in flips} == {("data:write",)}
        assert {tuple(row["lost"]) for row in flips} == {("data:read",)}
        assert CustomRole.objects.get().permissions == ["data:read"]

    @pytest.mark.parametrize("count", [2, 12])
    def test_more_rows_take_no_more_queries(
        self, cast: Cast, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(count):
            hold(cast, make(cast, name=f"r{number}"))
        browser = Browser(cast.alice)
        browser.get(ROLES)
        with django_assert_num_queries(4):
            browser.get(ROLES)


GRANTED_TO_KEYS = {
    *("ProjectEditor", "ProjectViewer", "ControlPlaneEditor", "ControlPlaneViewer"),
    *("DataPlaneEditor", "DataPlaneViewer"),
}


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_of_two_changes_of_the_same_version_one_is_412(self) -> None:
        cast = make_cast()
        role, actor = make(cast), cast.actor(cast.alice)
        gate = threading.Barrier(2)

        def check(version: int) -> None:
            if version != 1:
                raise FailedPrecondition("It has changed.")

        def run(name: str) -> str:
            gate.wait(timeout=30)
            try:
                update_role(
                    actor=actor,
                    organization_id=cast.organization.pk,
                    role_id=role.pk,
                    name=name,
                    check=check,
                )
            except Refused as refused:
                return refused.code.value
            finally:
                connection.close()
            return "done"

        with ThreadPoolExecutor(2) as pool:
            ends = sorted(pool.map(run, ["One", "Two"]))
        assert ends == ["FAILED_PRECONDITION", "done"]
        assert CustomRole.objects.get().version == 2

    def test_of_two_of_the_same_name_one_is_409(self) -> None:
        cast = make_cast()
        actor = cast.actor(cast.alice)
        gate = threading.Barrier(2)

        def run(name: str) -> str:
            gate.wait(timeout=30)
            try:
                make(cast, actor, name=name)
            except Refused as refused:
                return refused.code.value
            finally:
                connection.close()
            return "done"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(run, ["one", "ONE"])) == ["ALREADY_EXISTS", "done"]

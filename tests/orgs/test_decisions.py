"""Every denial leaves a trace that explains it, to those who may know."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.decisions import Denial
from orgs.errors import Refused
from orgs.models import (
    CustomRole,
    Decision,
    Group,
    GroupMembership,
    PrincipalType,
    RoleBinding,
    SecurityBaseline,
    User,
)
from orgs.permissions import Permission, Role, authorize
from orgs.selectors.bindings import actor_for
from orgs.services import decisions
from orgs.services.bindings import bind_role
from orgs.services.decisions import record_denial
from orgs.tasks import forget_old_decisions
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_key, make_member, make_project, make_service_account
from tests.indexes.conftest import make_index
from tests.pages import Browser

LIST = "/admin/decisions"


def give(
    cast: Cast,
    user: User,
    role: Role | CustomRole,
    *,
    project: uuid.UUID | None = None,
    **more: Any,
) -> None:
    """A role on the organization or on a project."""
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=more.pop("principal", (PrincipalType.USER, user.pk)),
        role=role,
        resource_id=project or cast.organization.pk,
        **more,
    )


def denied(actor: Actor, permission: Permission, cast: Cast, **where: Any) -> Denial:
    """What comes with the refusal."""
    with pytest.raises(Refused) as refused:
        authorize(actor, permission, organization_id=cast.organization.pk, **where)
    assert refused.value.denial is not None
    return refused.value.denial


def explained(browser: Browser, decision_id: object) -> dict[str, Any]:
    """The decision as the API shows it."""
    answer = browser.get(f"{LIST}/{decision_id}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


class RecordTests:
    def test_a_denial_becomes_a_decision_and_an_audit_event(self, cast: Cast) -> None:
        denial = denied(cast.actor(cast.bob), Permission.PROJECT_CREATE, cast)
        decision_id = record_denial(denial)
        row = Decision.objects.get()
        assert row.pk == decision_id
        assert (row.actor_label, row.permission, row.count, row.hidden) == (
            "bob@example.com",
            "project:create",
            1,
            False,
        )
        event = AuditEvent.objects.get(type="access.denied")
        assert (event.decision_id, event.permission, event.outcome) == (
            decision_id,
            "project:create",
            "failure",
        )

    def test_equal_ones_within_a_minute_are_one(self, cast: Cast) -> None:
        actor = cast.actor(cast.bob)
        ids = {record_denial(denied(actor, Permission.PROJECT_CREATE, cast)) for _ in range(3)}
        # The minute may end in between.
        assert 1 <= len(ids) <= 2
        assert sum(Decision.objects.values_list("count", flat=True)) == 3
        assert AuditEvent.objects.filter(type="access.denied").count() == len(ids)
        record_denial(denied(actor, Permission.BILLING_READ, cast))
        assert Decision.objects.count() == len(ids) + 1

    def test_a_denial_that_cannot_be_written_down_stands_and_is_logged(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise DatabaseError("the disk is full")

        monkeypatch.setattr(decisions, "record", fail)
        with caplog.at_level(logging.ERROR, logger="orgs.services.decisions"):
            answer = Browser(cast.bob).post(
                "/admin/groups", {"name": "a"}, content_type="application/json"
            )
        assert answer.status_code == 403
        assert "details" not in answer.json()["error"]
        assert "group:manage" in caplog.text
        assert not Decision.objects.exists()

    def test_an_organization_that_somebody_made_up_gets_no_trail(self, cast: Cast) -> None:
        made_up = uuid.uuid4()
        with pytest.raises(Refused) as refused:
            authorize(cast.actor(cast.bob), Permission.PROJECT_CREATE, organization_id=made_up)
        assert refused.value.denial is not None
        assert record_denial(refused.value.denial) is None
        assert not Decision.objects.exists()
        assert not AuditEvent.objects.filter(organization_id=made_up).exists()

    def test_unusual_text_is_kept_as_far_as_it_can_be(self, cast: Cast) -> None:
        actor = cast.actor(cast.bob)
        what = "a\0b\ud800" + "x" * 1000
        assert record_denial(denied(actor, Permission.PROJECT_CREATE, cast, what=what))
        assert len(Decision.objects.get().what) <= 512

    def test_old_ones_are_forgotten(self, cast: Cast) -> None:
        actor = cast.actor(cast.bob)
        for permission in (Permission.PROJECT_CREATE, Permission.BILLING_READ):
            record_denial(denied(actor, permission, cast))
        old = Decision.objects.filter(permission="billing:read")
        old.update(created_at=timezone.now() - timedelta(days=31))
        for _ in range(2):
            forget_old_decisions()
        assert [row.permission for row in Decision.objects.all()] == ["project:create"]
        assert AuditEvent.objects.filter(type="access.denied").count() == 2


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_equal_ones_at_the_same_moment_are_one(self) -> None:
        cast = make_cast()
        denial = denied(cast.actor(cast.bob), Permission.PROJECT_CREATE, cast)
        gate = threading.Barrier(4)

        def run(_: int) -> object:
            gate.wait(timeout=30)
            try:
                return record_denial(denial)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            ids = set(pool.map(run, range(4)))
        assert None not in ids
        assert len(ids) <= 2
        assert sum(Decision.objects.values_list("count", flat=True)) == 4
        assert AuditEvent.objects.filter(type="access.denied").count() == len(ids)


class EdgeTests:
    def test_a_403_of_the_api_carries_the_decision(self, cast: Cast) -> None:
        answer = Browser(cast.bob).post(
            "/admin/groups", {"name": "a"}, content_type="application/json"
        )
        assert answer.status_code == 403
        decision_id = answer.json()["error"]["details"]["decision_id"]
        assert answer["X-Decision-Id"] == decision_id
        assert Decision.objects.get().pk == uuid.UUID(decision_id)

    def test_a_403_page_leads_to_the_decision(self, cast: Cast) -> None:
        give(cast, cast.bob, Role.PROJECT_MEMBER, project=cast.project.pk)
        answer = Browser(cast.bob).get(f"/projects/{cast.project.pk}/keys/create/")
        assert answer.status_code == 403
        decision_id = answer["X-Decision-Id"]
        assert f'href="/denials/{decision_id}/"' in answer.content.decode()
        assert explained(Browser(cast.bob), decision_id)["permission"] == "api_key:create"

    def test_a_grant_above_one_s_own_rights_carries_a_decision(self, cast: Cast) -> None:
        lead = CustomRole.objects.create(
            organization=cast.organization,
            name="Lead",
            resource_type="organization",
            permissions=["member:read", "member:update", "organization:read"],
        )
        give(cast, cast.bob, lead)
        body = {
            "principal_type": "user",
            "principal_id": str(cast.bob.pk),
            "resource_type": "organization",
            "role": "OrgOwner",
        }
        browser = Browser()
        browser.sign_in("bob@example.com")
        answer = browser.post("/admin/role-bindings", body, content_type="application/json")
        assert answer.status_code == 403
        row = Decision.objects.get(pk=answer.json()["error"]["details"]["decision_id"])
        assert "Nobody can give more" in row.reason

    def test_a_hidden_one_is_recorded_but_the_answer_is_that_to_an_absent_object(
        self, cast: Cast
    ) -> None:
        dora = make_member(cast.organization)
        give(cast, cast.alice, Role.PROJECT_OWNER, project=cast.project.pk)
        hidden = cast.alice.pk
        row = make_binding_id(cast, hidden)
        absent = uuid.uuid4()

        def ask(pk: uuid.UUID) -> tuple[int, bytes, dict[str, str]]:
            answer = Browser(dora).delete(
                f"/admin/role-bindings/{pk}", headers={"x-request-id": "same-request"}
            )
            headers = {
                name: re.sub(r"\d+", "N", value) if name.startswith("RateLimit") else value
                for name, value in answer.items()
            }
            return answer.status_code, answer.content, headers

        status, content, headers = ask(row)
        assert status == 404
        assert Decision.objects.get().hidden
        plain_status, plain_content, plain_headers = ask(absent)
        assert Decision.objects.count() == 1
        assert (status, headers) == (plain_status, plain_headers)
        assert content == plain_content.replace(str(absent).encode(), str(row).encode())

    def test_what_is_not_a_denial_leaves_none(self, cast: Cast) -> None:
        Browser(cast.alice).get(f"/admin/groups/{uuid.uuid4()}")
        Browser(cast.alice).post("/admin/groups", {}, content_type="application/json")
        assert not Decision.objects.exists()


def make_binding_id(cast: Cast, user_id: uuid.UUID) -> uuid.UUID:
    """The id of the person's binding on the project."""
    return RoleBinding.objects.get(principal_id=user_id, project_id=cast.project.pk).pk


class VisibilityTests:
    @pytest.fixture
    def decision(self, cast: Cast) -> uuid.UUID:
        """Bob was denied, and knows it."""
        found = record_denial(denied(cast.actor(cast.bob), Permission.PROJECT_CREATE, cast))
        assert found is not None
        return found

    def test_who_was_denied_sees_it(self, cast: Cast, decision: uuid.UUID) -> None:
        assert explained(Browser(cast.bob), decision)["actor"]["label"] == "bob@example.com"

    def test_who_has_left_the_organization_sees_it_no_more_404(
        self, cast: Cast, decision: uuid.UUID
    ) -> None:
        RoleBinding.objects.filter(principal_id=cast.bob.pk).delete()
        assert Browser(cast.bob).get(f"{LIST}/{decision}").status_code == 404

    def test_who_reads_the_trail_sees_it(self, cast: Cast, decision: uuid.UUID) -> None:
        assert explained(Browser(cast.alice), decision)["count"] == 1
        (row,) = Browser(cast.alice).get(LIST).json()["data"]
        assert row["id"] == str(decision)

    def test_everybody_else_gets_404_as_for_an_absent_one(
        self, cast: Cast, decision: uuid.UUID
    ) -> None:
        dora = make_member(cast.organization)
        for user in (dora, cast.charlie):
            foreign = Browser(user).get(f"{LIST}/{decision}")
            absent = Browser(user).get(f"{LIST}/{uuid.UUID(int=0)}")
            assert (foreign.status_code, absent.status_code) == (404, 404)
            assert foreign.content == absent.content.replace(
                str(uuid.UUID(int=0)).encode(), str(decision).encode()
            )

    def test_who_was_told_that_there_is_nothing_sees_no_decision_404(self, cast: Cast) -> None:
        denial = denied(cast.actor(cast.charlie), Permission.PROJECT_CREATE, cast)
        decision_id = record_denial(denial)
        assert Browser(cast.charlie).get(f"{LIST}/{decision_id}").status_code == 404
        assert explained(Browser(cast.alice), decision_id)["hidden"]

    def test_the_list_is_for_who_reads_the_trail_403(self, cast: Cast) -> None:
        assert Browser(cast.bob).get(LIST).status_code == 403

    def test_the_list_can_be_narrowed(self, cast: Cast, decision: uuid.UUID) -> None:
        browser = Browser(cast.alice)
        for query, count in (
            ("permission=project:create", 1),
            ("permission=billing:read", 0),
            (f"actor_id={cast.bob.pk}", 1),
            (f"actor_id={cast.alice.pk}", 0),
        ):
            assert len(browser.get(f"{LIST}?{query}").json()["data"]) == count
        assert browser.get(f"{LIST}?permission=everything").status_code == 400

    def test_who_does_not_see_people_gets_a_number(self, cast: Cast) -> None:
        account, token = make_service_account(
            cast.organization, [Role.PROJECT_VIEWER], project=cast.project
        )
        client = Browser()
        answer = client.post(
            "/admin/groups",
            {"name": "a"},
            content_type="application/json",
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 404
        denial = Denial(
            actor=Actor(kind="service_account", id=str(account.pk), label="robot"),
            permission="index:create",
            organization_id=cast.organization.pk,
            project_id=cast.project.pk,
            index_id=None,
            what="project",
            hidden=False,
            reason="",
            trace=(),
        )
        decision_id = record_denial(denial)
        found = client.get(
            f"{LIST}/{decision_id}", headers={"authorization": f"Bearer {token}"}
        ).json()
        assert found["who_can_grant"] == {"count": 1, "people": None}

    @pytest.mark.parametrize("count", [2, 12])
    def test_more_rows_take_no_more_queries(
        self, cast: Cast, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for _ in range(count):
            dora = make_member(cast.organization)
            record_denial(denied(cast.actor(dora), Permission.PROJECT_CREATE, cast))
        browser = Browser(cast.alice)
        browser.get(LIST)
        with django_assert_num_queries(4):
            browser.get(LIST)


class ExplanationTests:
    """The trace, the nearest miss, the smallest grant and who can give it."""

    def ask(
        self,
        cast: Cast,
        permission: str,
        kind: str = "organization",
        pk: object = None,
        **more: Any,
    ) -> dict[str, Any]:
        """What Alice is told about Bob."""
        body = {
            "principal_type": "user",
            "principal_id": str(cast.bob.pk),
            "permission": permission,
            "resource_type": kind,
            **({"resource_id": str(pk)} if pk else {}),
            **more,
        }
        answer = Browser(cast.alice).post(f"{LIST}/explain", body, content_type="application/json")
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()
        return found

    def test_what_is_allowed_names_the_rule(self, cast: Cast) -> None:
        found = self.ask(cast, "member:read")
        assert found["allowed"]
        (rule,) = found["trace"]
        assert (rule["role"], rule["includes"], rule["state"]) == ("OrgMember", True, "in_force")
        assert found["smallest_grant"] is None

    def test_what_is_denied_names_the_smallest_role_and_who_gives_it(self, cast: Cast) -> None:
        found = self.ask(cast, "data:read", "project", cast.project.pk)
        assert not found["allowed"]
        assert found["smallest_grant"] == {
            "role": "DataPlaneViewer",
            "custom_role_id": None,
            "resource_type": "project",
            "resource_id": str(cast.project.pk),
        }
        assert [each["email"] for each in found["who_can_grant"]["people"]] == ["alice@example.com"]

    def test_on_an_index_the_smallest_grant_is_on_the_index(self, cast: Cast) -> None:
        index = make_index(cast.project)
        found = self.ask(cast, "data:write", "index", index.pk)["smallest_grant"]
        assert (found["role"], found["resource_type"]) == ("DataPlaneEditor", "index")
        assert found["resource_id"] == str(index.pk)

    def test_a_smaller_role_of_the_organization_s_own_wins(self, cast: Cast) -> None:
        own = CustomRole.objects.create(
            organization=cast.organization,
            name="Writer",
            resource_type="project",
            permissions=["data:write"],
        )
        found = self.ask(cast, "data:write", "project", cast.project.pk)["smallest_grant"]
        assert found["custom_role_id"] == str(own.pk)

    def test_a_key_is_offered_only_what_keys_may_hold(self, cast: Cast) -> None:
        key, _ = make_key(cast.project, [Role.DATA_PLANE_VIEWER])
        whose = {"principal_type": "api_key", "principal_id": str(key.pk)}
        index = make_index(cast.project)
        found = self.ask(cast, "index:read", "index", index.pk, **whose)
        assert found["smallest_grant"]["role"] == "ControlPlaneViewer"
        assert found["smallest_grant"]["resource_type"] == "project"
        assert (
            self.ask(cast, "project:update", "project", cast.project.pk, **whose)["smallest_grant"]
            is None
        )

    def test_project_owners_can_give_roles_on_their_project_but_nobody_beyond_their_own(
        self, cast: Cast
    ) -> None:
        dora, erin = make_member(cast.organization), make_member(cast.organization)
        give(cast, dora, Role.PROJECT_OWNER, project=cast.project.pk)
        weak = CustomRole.objects.create(
            organization=cast.organization,
            name="Weak",
            resource_type="project",
            permissions=["project_member:update"],
        )
        give(cast, erin, weak, project=cast.project.pk)
        people = self.ask(cast, "data:read", "project", cast.project.pk)["who_can_grant"]
        assert {each["email"] for each in people["people"]} == {"alice@example.com", dora.email}
        assert people["count"] == 2

    def test_an_expired_role_is_the_nearest_miss(self, cast: Cast) -> None:
        now = timezone.now()
        give(
            cast,
            cast.bob,
            Role.PROJECT_VIEWER,
            project=cast.project.pk,
            period=(None, now - timedelta(hours=1)),
        )
        found = self.ask(cast, "data:read", "project", cast.project.pk)
        assert found["nearest_miss"]["rule"]["role"] == "ProjectViewer"
        assert found["nearest_miss"]["why"].startswith("It ended at")
        assert [rule["state"] for rule in found["trace"]] == ["in_force", "expired"]

    def test_a_role_elsewhere_is_the_next_nearest(self, cast: Cast) -> None:
        elsewhere = make_project(cast.organization)
        give(cast, cast.bob, Role.PROJECT_VIEWER, project=elsewhere.pk)
        miss = self.ask(cast, "data:read", "project", cast.project.pk)["nearest_miss"]
        assert str(elsewhere.pk) in miss["why"]
        index = make_index(cast.project)
        give(cast, cast.bob, Role.DATA_PLANE_VIEWER, project=index.pk, index_in=cast.project.pk)
        other = make_index(cast.project, "other")
        miss = self.ask(cast, "data:read", "index", other.pk)["nearest_miss"]
        assert "another index" in miss["why"]

    def test_a_group_is_named(self, cast: Cast) -> None:
        group = Group.objects.create(organization=cast.organization, name="Readers")
        GroupMembership.objects.create(group=group, user=cast.bob)
        give(
            cast,
            cast.bob,
            Role.PROJECT_VIEWER,
            project=cast.project.pk,
            principal=(PrincipalType.GROUP, group.pk),
        )
        found = self.ask(cast, "data:read", "project", cast.project.pk)
        assert found["allowed"]
        assert {rule["group"] for rule in found["trace"]} == {"", "Readers"}
        denial = denied(
            cast.actor(cast.bob),
            Permission.DATA_WRITE,
            cast,
            project_id=cast.project.pk,
        )
        kept = explained(Browser(cast.bob), record_denial(denial))
        assert {rule["group"] for rule in kept["trace"]} == {"", "Readers"}

    def test_who_is_barred_is_told_why_and_offered_no_role(self, cast: Cast) -> None:
        SecurityBaseline.objects.create(organization=cast.organization, mfa_required=True)
        denial = denied(actor_for(cast.alice), Permission.PROJECT_CREATE, cast)
        SecurityBaseline.objects.all().delete()
        found = explained(Browser(cast.alice), record_denial(denial))
        assert "second factor" in found["reason"]
        assert found["nearest_miss"]["why"] == found["reason"]
        assert found["smallest_grant"] is None

    def test_only_who_reads_the_trail_or_gives_roles_may_ask_403(self, cast: Cast) -> None:
        body = {
            "principal_type": "user",
            "principal_id": str(cast.alice.pk),
            "permission": "data:read",
            "resource_type": "organization",
        }
        answer = Browser(cast.bob).post(f"{LIST}/explain", body, content_type="application/json")
        assert answer.status_code == 403

    @pytest.mark.parametrize(
        ("more", "status"),
        [
            ({"principal_id": str(uuid.uuid4())}, 404),
            ({"resource_type": "project", "resource_id": str(uuid.uuid4())}, 404),
            ({"resource_type": "project"}, 400),
            ({"permission": "everything"}, 400),
            ({"principal_type": "robot"}, 400),
            ({"principal_type": "group"}, 404),
            ({"more": 1}, 400),
        ],
    )
    def test_nonsense_is_refused(self, cast: Cast, more: dict[str, Any], status: int) -> None:
        body = {
            "principal_type": "user",
            "principal_id": str(cast.bob.pk),
            "permission": "data:read",
            "resource_type": "organization",
            **more,
        }
        answer = Browser(cast.alice).post(f"{LIST}/explain", body, content_type="application/json")
        assert answer.status_code == status, answer.content

    def test_foreign_objects_are_404(self, cast: Cast) -> None:
        for more in (
            {"principal_id": str(cast.charlie.pk)},
            {"resource_type": "project", "resource_id": str(cast.other_project.pk)},
        ):
            body = {
                "principal_type": "user",
                "principal_id": str(cast.bob.pk),
                "permission": "data:read",
                "resource_type": "organization",
                **more,
            }
            answer = Browser(cast.alice).post(
                f"{LIST}/explain", body, content_type="application/json"
            )
            assert answer.status_code == 404

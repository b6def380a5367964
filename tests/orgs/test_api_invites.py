"""Invitations over the Admin API."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.events import EventType
from audit.services import record
from orgs.models import Invitation, OutgoingMail
from orgs.permissions import Role
from orgs.services.invitations import accept_as_new_person
from tests.cast import Cast
from tests.factories import PASSWORD, SYSTEM
from tests.orgs.test_invitations import NOBODY, invite
from tests.projects.test_api import Caller, caller_with

FIELDS = {"id", "email", "status", "expires_at", "processed_at", "created_at"}
MEMBER = {"resource_type": "organization", "role": "OrgMember"}


@pytest.fixture
def owner(cast: Cast) -> Caller:
    """A service account that owns the cast's organization."""
    return caller_with(cast.organization, Role.ORG_OWNER)


def body(**changed: Any) -> dict[str, Any]:
    """A good request, changed."""
    return {"email": "dora@example.com", "role_bindings": [MEMBER], **changed}


def accept(pk: str) -> None:
    """Dora comes in."""
    accept_as_new_person(
        actor=NOBODY,
        invitation_id=uuid.UUID(pk),
        nonce=Invitation.objects.get(pk=pk).nonce,
        name="Dora",
        password=PASSWORD,
    )


class CreateTests:
    def test_it_answers_200_mails_and_echoes_no_roles(self, cast: Cast, owner: Caller) -> None:
        on_project = {
            "resource_type": "project",
            "resource_id": str(cast.project.pk),
            "role": "ProjectViewer",
        }
        status, made = owner.call(
            "POST", "/admin/invites", body(role_bindings=[MEMBER, on_project])
        )
        assert status == 200
        assert made.keys() >= FIELDS
        assert (made["email"], made["status"]) == ("dora@example.com", "pending")
        assert made["processed_at"] is None
        assert "role_bindings" not in made
        left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
        assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
        assert OutgoingMail.objects.filter(to="dora@example.com").count() == 1
        query = f"principal_type=invite&principal_id={made['id']}"
        _, bound = owner.call("GET", f"/admin/role-bindings?{query}")
        assert {each["role"] for each in bound["data"]} == {"OrgMember", "ProjectViewer"}

    def test_with_an_idempotency_key_a_repeat_sends_no_second_mail(self, owner: Caller) -> None:
        first = owner.call("POST", "/admin/invites", body(), Idempotency_Key="k1")
        assert owner.call("POST", "/admin/invites", body(), Idempotency_Key="k1") == first
        assert OutgoingMail.objects.count() == Invitation.objects.count() == 1

    def test_a_pending_one_is_409_with_its_id(self, owner: Caller) -> None:
        _, made = owner.call("POST", "/admin/invites", body())
        status, found = owner.call("POST", "/admin/invites", body(email="DORA@example.com"))
        assert (status, found["error"]["code"]) == (409, "ALREADY_EXISTS")
        assert made["id"] in found["error"]["message"]

    def test_a_member_is_409(self, owner: Caller) -> None:
        status, found = owner.call("POST", "/admin/invites", body(email="bob@example.com"))
        assert (status, found["error"]["code"]) == (409, "ALREADY_EXISTS")

    @pytest.mark.parametrize(
        "changed",
        [
            {"email": "dora"},
            {"email": ""},
            {"email": None},
            {"email": 5},
            {"email": "d\0@example.com"},
            {"email": "x" * 250 + "@example.com"},
            {"role_bindings": []},
            {"role_bindings": None},
            {"role_bindings": {}},
            {"role_bindings": ["OrgMember"]},
            {"role_bindings": [MEMBER] * 101},
            {"role_bindings": [MEMBER, MEMBER]},
            {"role_bindings": [{**MEMBER, "role": "Nonsense"}]},
            {"role_bindings": [{**MEMBER, "role": "ProjectOwner"}]},
            {"role_bindings": [{**MEMBER, "role": "\ud800"}]},
            {"role_bindings": [{**MEMBER, "resource_type": "planet"}]},
            {"role_bindings": [{**MEMBER, "resource_id": "nonsense"}]},
            {"role_bindings": [{**MEMBER, "surprise": 1}]},
            {"role_bindings": [{"role": "OrgMember"}]},
            {"surprise": True},
        ],
    )
    def test_bad_bodies_are_400_and_invite_nobody(
        self, owner: Caller, changed: dict[str, object]
    ) -> None:
        status, found = owner.call("POST", "/admin/invites", body(**changed))
        assert (status, found["error"]["code"]) == (400, "INVALID_ARGUMENT")
        assert not Invitation.objects.exists()
        assert not OutgoingMail.objects.exists()

    def test_a_project_only_invitation_is_400(self, cast: Cast, owner: Caller) -> None:
        roles = [
            {
                "resource_type": "project",
                "resource_id": str(cast.project.pk),
                "role": "ProjectOwner",
            }
        ]
        status, found = owner.call("POST", "/admin/invites", body(role_bindings=roles))
        assert status == 400
        assert "at least one role on the organization" in found["error"]["message"]

    def test_another_organization_is_404_even_as_the_resource(
        self, cast: Cast, owner: Caller
    ) -> None:
        for kind, pk in (
            ("organization", cast.other_organization.pk),
            ("project", cast.other_project.pk),
        ):
            role = "OrgMember" if kind == "organization" else "ProjectViewer"
            foreign = {"resource_type": kind, "resource_id": str(pk), "role": role}
            status, _ = owner.call("POST", "/admin/invites", body(role_bindings=[MEMBER, foreign]))
            assert status == 404

    def test_above_100_mails_an_hour_it_is_429_with_retry_after(
        self, cast: Cast, owner: Caller
    ) -> None:
        for _ in range(100):
            record(
                EventType.INVITATION_CREATED,
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                resource=("invitation", "", ""),
            )
        status, found = owner.call("POST", "/admin/invites", body())
        assert (status, found["error"]["code"]) == (429, "RESOURCE_EXHAUSTED")
        assert 3500 < int(owner.answer["Retry-After"]) <= 3600

    def test_a_member_may_not(self, cast: Cast) -> None:
        member = caller_with(cast.organization, Role.ORG_MEMBER)
        status, found = member.call("POST", "/admin/invites", body())
        assert (status, found["error"]["code"]) == (403, "PERMISSION_DENIED")


class ListTests:
    def test_pending_and_expired_only(self, cast: Cast, owner: Caller) -> None:
        pending, expired, processed = (
            owner.call("POST", "/admin/invites", body(email=f"{name}@example.com"))[1]["id"]
            for name in ("a", "b", "c")
        )
        Invitation.objects.filter(pk=expired).update(expires_at=timezone.now())
        accept(processed)
        _, found = owner.call("GET", "/admin/invites")
        assert {each["id"]: each["status"] for each in found["data"]} == {
            pending: "pending",
            expired: "expired",
        }
        status, gone = owner.call("GET", f"/admin/invites/{processed}")
        assert (status, gone["status"]) == (200, "processed")
        assert gone["processed_at"] is not None

    def test_limit_is_1_to_100(self, owner: Caller) -> None:
        for limit in (0, 101):
            status, found = owner.call("GET", f"/admin/invites?limit={limit}")
            assert (status, found["error"]["code"]) == (400, "OUT_OF_RANGE")

    @pytest.mark.parametrize("count", [1, 20])
    def test_more_of_them_take_no_more_queries(
        self,
        cast: Cast,
        owner: Caller,
        count: int,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for number in range(count):
            invite(cast, f"{number}@example.com")
        owner.call("GET", "/admin/invites")
        with django_assert_num_queries(3):
            owner.call("GET", "/admin/invites")


class DeleteAndResendTests:
    def test_deleted_it_is_gone(self, owner: Caller) -> None:
        _, made = owner.call("POST", "/admin/invites", body())
        path = f"/admin/invites/{made['id']}"
        assert owner.call("DELETE", path) == (202, None)
        for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/resend")):
            assert owner.call(method, path + rest)[0] == 404

    def test_accepted_it_stays(self, owner: Caller) -> None:
        _, made = owner.call("POST", "/admin/invites", body())
        accept(made["id"])
        for method, rest in (("DELETE", ""), ("POST", "/resend")):
            status, found = owner.call(method, f"/admin/invites/{made['id']}{rest}")
            assert (status, found["error"]["code"]) == (409, "ALREADY_EXISTS")

    def test_resent_it_is_pending_again(self, owner: Caller) -> None:
        _, made = owner.call("POST", "/admin/invites", body())
        Invitation.objects.filter(pk=made["id"]).update(expires_at=timezone.now())
        status, again = owner.call("POST", f"/admin/invites/{made['id']}/resend")
        assert (status, again["id"], again["status"]) == (200, made["id"], "pending")
        assert again["expires_at"] > made["expires_at"]
        assert OutgoingMail.objects.count() == 2

    def test_another_organization_finds_nothing(self, cast: Cast, owner: Caller) -> None:
        made = invite(cast)
        stranger = caller_with(cast.other_organization, Role.ORG_OWNER)
        texts = set()
        for pk in (made.pk, uuid.uuid4()):
            for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/resend")):
                status, found = stranger.call(method, f"/admin/invites/{pk}{rest}")
                assert status == 404
                texts.add(found["error"]["message"].replace(str(pk), "?"))
        assert len(texts) == 1
        assert owner.call("GET", f"/admin/invites/{made.pk}")[0] == 200

"""Organizations, entitlements, baselines and ownership transfers over the Admin API."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orgs.models import Organization, OwnershipTransfer, SecurityBaseline
from orgs.permissions import Role
from orgs.plans import Entitlement, Plan
from orgs.services.organizations import set_plan
from tests.cast import Cast
from tests.factories import SYSTEM, make_organization, make_service_account
from tests.pages import Browser
from tests.projects.test_api import Caller, caller_with

FIELDS = {"id", "name", "plan", "payment_status", "created_at", "support_tier"}


@pytest.fixture
def owner(cast: Cast) -> Caller:
    """A service account that owns the cast's organization."""
    return caller_with(cast.organization, Role.ORG_OWNER)


def at(cast: Cast, rest: str = "") -> str:
    """A path of the cast's organization."""
    return f"/admin/organizations/{cast.organization.pk}{rest}"


class Person:
    """Requests of a person who has just signed in."""

    def __init__(self, email: str, organization: Organization) -> None:
        self.browser = Browser(raise_request_exception=False)
        self.browser.sign_in(email)
        self.organization = organization

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body; None where there is none."""
        answer = self.browser.generic(
            method,
            path,
            b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers={
                "accept": "application/json",
                "tamarack-organization": str(self.organization.pk),
            },
        )
        return answer.status_code, json.loads(answer.content) if answer.content else None


class ListTests:
    def test_a_service_account_sees_its_own_with_what_clients_read(
        self, cast: Cast, owner: Caller
    ) -> None:
        status, found = owner.call("GET", "/admin/organizations")
        assert status == 200
        (only,) = found["data"]
        assert only.keys() >= FIELDS
        assert (only["id"], only["name"], only["plan"], only["payment_status"]) == (
            str(cast.organization.pk),
            "Acme",
            "Enterprise",
            "Active",
        )
        assert datetime.fromisoformat(only["created_at"]).tzinfo == UTC

    def test_a_person_sees_all_of_theirs_and_the_list_comes_whole(self, cast: Cast) -> None:
        for number in range(101):
            make_organization(cast.alice, f"More {number:03}")
        person = Person("alice@example.com", cast.organization)
        status, found = person.call("GET", "/admin/organizations")
        assert status == 200
        assert [each["name"] for each in found["data"]][:2] == ["Acme", "More 000"]
        assert (len(found["data"]), "pagination" in found) == (102, False)

    @pytest.mark.parametrize("count", [1, 20])
    def test_more_of_them_take_no_more_queries(
        self, cast: Cast, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for _ in range(count):
            make_organization(cast.alice)
        person = Person("alice@example.com", cast.organization)
        with django_assert_num_queries(4):
            person.call("GET", "/admin/organizations")

    def test_an_unknown_parameter_is_named(self, owner: Caller) -> None:
        status, found = owner.call("GET", "/admin/organizations?plan=Free")
        assert (status, found["error"]["code"]) == (400, "INVALID_ARGUMENT")
        assert "plan" in found["error"]["message"]


class CreateTests:
    def test_an_owner_makes_another(self, cast: Cast) -> None:
        person = Person("alice@example.com", cast.organization)
        status, made = person.call("POST", "/admin/organizations", {"name": "Second"})
        assert status == 201
        assert Organization.objects.get(pk=made["id"]).members.get() == cast.alice

    def test_a_member_makes_none(self, cast: Cast) -> None:
        person = Person("bob@example.com", cast.organization)
        status, found = person.call("POST", "/admin/organizations", {"name": "Second"})
        assert (status, found["error"]["code"]) == (403, "PERMISSION_DENIED")

    def test_a_machine_makes_none(self, owner: Caller) -> None:
        status, found = owner.call("POST", "/admin/organizations", {"name": "Second"})
        assert status == 403
        assert "Only people" in found["error"]["message"]


class GetAndPatchTests:
    def test_reading_gives_an_etag_that_renaming_wants(self, cast: Cast, owner: Caller) -> None:
        assert owner.call("GET", at(cast))[1]["name"] == "Acme"
        assert owner.answer["ETag"] == '"1"'
        status, found = owner.call("PATCH", at(cast), {"name": "Ajax"}, If_Match='"1"')
        assert (status, found["name"], owner.answer["ETag"]) == (200, "Ajax", '"2"')
        status, found = owner.call("PATCH", at(cast), {"name": "Again"}, If_Match='"1"')
        assert (status, found["error"]["code"]) == (412, "FAILED_PRECONDITION")
        assert Organization.objects.get(pk=cast.organization.pk).name == "Ajax"

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "  "},
            {"name": "x" * 513},
            {"name": "a\0b"},
            {"name": "\ud800"},
            {"name": 5},
            {"name": None},
            {"name": ["x"]},
            {"name": "x", "plan": "Dedicated"},
            [],
            "x",
        ],
    )
    def test_bad_bodies_are_400(self, cast: Cast, owner: Caller, body: object) -> None:
        status, found = owner.call("PATCH", at(cast), body)
        assert (status, found["error"]["code"]) == (400, "INVALID_ARGUMENT")

    def test_absent_and_foreign_ones_look_the_same(self, cast: Cast, owner: Caller) -> None:
        texts = set()
        for pk in (cast.other_organization.pk, uuid.uuid4()):
            for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
                status, found = owner.call(method, f"/admin/organizations/{pk}", body)
                assert status == 404
                texts.add(found["error"]["message"].replace(str(pk), "?"))
        assert len(texts) == 1


class DeleteTests:
    def test_it_is_202_without_body_and_then_the_token_is_worth_nothing(self, cast: Cast) -> None:
        doomed = make_organization(cast.alice, "Doomed")
        owner = caller_with(doomed, Role.ORG_OWNER)
        assert owner.call("DELETE", f"/admin/organizations/{doomed.pk}") == (202, None)
        assert owner.call("GET", "/admin/organizations")[0] == 401
        assert not Organization.objects.filter(pk=doomed.pk).exists()

    def test_projects_are_412(self, cast: Cast, owner: Caller) -> None:
        status, found = owner.call("DELETE", at(cast))
        assert (status, found["error"]["code"]) == (412, "FAILED_PRECONDITION")
        assert "1 project" in found["error"]["message"]

    def test_a_version_that_is_not_the_one_seen_is_412(self, cast: Cast) -> None:
        doomed = make_organization(cast.alice, "Doomed")
        owner = caller_with(doomed, Role.ORG_OWNER)
        path = f"/admin/organizations/{doomed.pk}"
        assert owner.call("DELETE", path, If_Match='"7"')[0] == 412
        assert owner.call("DELETE", path, If_Match='"1"')[0] == 202


class EntitlementsTests:
    def test_it_tells_what_is_on_and_why(self, cast: Cast, owner: Caller) -> None:
        set_plan(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            plan=Plan.STANDARD,
            overrides={Entitlement.SERVICE_ACCOUNTS: True, Entitlement.MAX_MEMBERS: 10},
        )
        status, found = owner.call("GET", at(cast, "/entitlements"))
        assert (status, found["plan"]) == (200, "Standard")
        by_name = {each.pop("name"): each for each in found["data"]}
        assert set(by_name) == set(Entitlement)
        assert by_name["max_members"] == {
            "kind": "limit",
            "enabled": True,
            "limit": 10,
            "used": 2,
            "source": "operator",
            "reason": "The operator of this installation allows at most 10 members, open"
            " invitations included.",
        }
        assert (by_name["sso"]["enabled"], by_name["sso"]["source"]) == (True, "plan")
        assert by_name["scim"]["enabled"] is False
        assert "part of the Enterprise plan" in by_name["scim"]["reason"]
        assert by_name["max_service_accounts"]["enabled"] is False
        assert by_name["service_accounts"]["source"] == "operator"


class LeaveTests:
    def test_a_member_leaves_and_is_out(self, cast: Cast) -> None:
        person = Person("bob@example.com", cast.organization)
        assert person.call("POST", at(cast, "/leave")) == (202, None)
        assert person.call("GET", at(cast))[0] == 404
        assert person.call("POST", at(cast, "/leave"))[0] == 404

    def test_the_only_owner_is_409(self, cast: Cast) -> None:
        person = Person("alice@example.com", cast.organization)
        status, found = person.call("POST", at(cast, "/leave"))
        assert (status, found["error"]["code"]) == (409, "ABORTED")

    def test_a_session_that_is_not_fresh_is_403_with_the_way_out(self, cast: Cast) -> None:
        person = Person("bob@example.com", cast.organization)
        session = person.browser.session
        for proof in session["account_authentication_methods"]:
            proof["at"] -= 3600
        session.save()
        answer = person.browser.post(at(cast, "/leave"), content_type="application/json")
        assert answer.status_code == 403
        assert "confirm your password" in answer.json()["error"]["message"]


class TransferTests:
    def test_both_sides(self, cast: Cast) -> None:
        alice = Person("alice@example.com", cast.organization)
        bob = Person("bob@example.com", cast.organization)
        body = {"user_id": str(cast.bob.pk)}
        status, made = alice.call("POST", at(cast, "/transfer"), body)
        assert (status, made["status"], made["offered_to"]) == (201, "pending", str(cast.bob.pk))
        one = f"/admin/ownership-transfers/{made['id']}"
        assert bob.call("GET", one) == (200, made)
        assert bob.call("GET", "/admin/ownership-transfers")[1]["data"] == [made]
        status, found = alice.call("POST", at(cast, "/transfer"), body)
        assert (status, found["error"]["code"]) == (409, "ALREADY_EXISTS")
        assert made["id"] in found["error"]["message"]
        status, found = bob.call("POST", f"{one}/accept")
        assert (status, found["status"]) == (200, "accepted")
        assert bob.call("PATCH", at(cast), {"name": "Bob's"})[0] == 200
        assert alice.call("PATCH", at(cast), {"name": "Alice's"})[0] == 403
        assert alice.call("POST", f"{one}/cancel")[0] == 403

    def test_declining_and_canceling(self, cast: Cast) -> None:
        alice = Person("alice@example.com", cast.organization)
        bob = Person("bob@example.com", cast.organization)
        for person, act, status in ((bob, "decline", "declined"), (alice, "cancel", "canceled")):
            _, made = alice.call("POST", at(cast, "/transfer"), {"user_id": str(cast.bob.pk)})
            one = f"/admin/ownership-transfers/{made['id']}"
            assert person.call("POST", f"{one}/{act}")[1]["status"] == status
            assert person.call("POST", f"{one}/{act}")[0] == 412

    @pytest.mark.parametrize("count", [1, 20])
    def test_more_offers_take_no_more_queries(
        self,
        cast: Cast,
        owner: Caller,
        count: int,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        now = timezone.now()
        for _ in range(count):
            OwnershipTransfer.objects.create(
                organization=cast.organization,
                offered_by=cast.alice,
                offered_to=cast.bob,
                expires_at=now,
                outcome="declined",
                ended_at=now,
            )
        owner.call("GET", "/admin/ownership-transfers")
        with django_assert_num_queries(3):
            assert len(owner.call("GET", "/admin/ownership-transfers")[1]["data"]) == count

    def test_a_machine_neither_offers_nor_accepts(self, cast: Cast, owner: Caller) -> None:
        status, _ = owner.call("POST", at(cast, "/transfer"), {"user_id": str(cast.bob.pk)})
        assert status == 403
        assert not OwnershipTransfer.objects.exists()


class SecurityBaselineTests:
    def test_nothing_is_demanded_at_first(self, cast: Cast, owner: Caller) -> None:
        status, found = owner.call("GET", at(cast, "/security-baseline"))
        assert (status, owner.answer["ETag"]) == (200, '"0"')
        assert found == {
            "mfa_required": False,
            "session_hours": None,
            "max_key_age_days": None,
            "ip_ranges": [],
            "version": 0,
            "updated_at": None,
        }

    def test_a_change_shows_the_canonical_form_and_the_next_version(
        self, cast: Cast, owner: Caller
    ) -> None:
        path = at(cast, "/security-baseline")
        body = {"ip_ranges": ["127.0.0.9/8", "127.0.0.0/8"], "session_hours": 8}
        status, found = owner.call("PATCH", path, body, If_Match='"0"')
        assert (status, found["ip_ranges"], found["version"]) == (200, ["127.0.0.0/8"], 1)
        assert (found["locked_out_count"], found["dry_run"]) == (0, False)
        assert owner.call("GET", path)[1]["session_hours"] == 8
        assert owner.call("PATCH", path, {"session_hours": 4}, If_Match='"0"')[0] == 412
        status, found = owner.call("PATCH", path, {"session_hours": None}, If_Match='"1"')
        assert (found["session_hours"], found["ip_ranges"]) == (None, ["127.0.0.0/8"])

    def test_a_dry_run_lists_who_would_be_locked_out_and_writes_nothing(
        self, cast: Cast, owner: Caller
    ) -> None:
        path = at(cast, "/security-baseline?dry_run=true")
        status, found = owner.call("PATCH", path, {"mfa_required": True})
        assert (status, found["dry_run"], found["locked_out_count"]) == (200, True, 2)
        assert found["locked_out"][0] == {
            "kind": "user",
            "id": str(cast.alice.pk),
            "label": "alice@example.com",
            "reason": "has no second factor yet",
        }
        assert not SecurityBaseline.objects.exists()

    def test_locking_oneself_out_is_412_unless_forced(self, cast: Cast, owner: Caller) -> None:
        path = at(cast, "/security-baseline")
        body: dict[str, object] = {"ip_ranges": ["198.51.100.0/24"]}
        status, found = owner.call("PATCH", path, body)
        assert (status, found["error"]["code"]) == (412, "FAILED_PRECONDITION")
        assert "force" in found["error"]["message"]
        assert owner.call("PATCH", path, {**body, "force": True})[0] == 200
        status, found = owner.call("GET", path)
        assert status == 403
        assert "127.0.0.1" in found["error"]["message"]

    @pytest.mark.parametrize(
        "body",
        [
            {"ip_ranges": "127.0.0.0/8"},
            {"ip_ranges": [5]},
            {"ip_ranges": [None]},
            {"ip_ranges": ["nonsense"]},
            {"ip_ranges": ["10.0.0.0/8\0"]},
            {"ip_ranges": ["x" * 65]},
            {"ip_ranges": ["10.0.0.0/8"] * 101},
            {"ip_ranges": None},
            {"mfa_required": "yes"},
            {"mfa_required": None},
            {"session_hours": 0},
            {"session_hours": 25},
            {"session_hours": 1.5},
            {"session_hours": True},
            {"session_hours": 2**64},
            {"max_key_age_days": -1},
            {"force": 1},
            {"nonsense": True},
        ],
    )
    def test_bad_values_are_400_and_named(
        self, cast: Cast, owner: Caller, body: dict[str, object]
    ) -> None:
        status, found = owner.call("PATCH", at(cast, "/security-baseline"), body)
        assert status == 400
        if body != {"ip_ranges": ["10.0.0.0/8\0"]}:
            text = found["error"]["message"]
            assert next(iter(body)) in text or "range" in text
        assert not SecurityBaseline.objects.exists()

    def test_every_member_may_read_and_only_owners_change(self, cast: Cast) -> None:
        member = caller_with(cast.organization, Role.ORG_MEMBER)
        assert member.call("GET", at(cast, "/security-baseline"))[0] == 200
        status, _ = member.call("PATCH", at(cast, "/security-baseline"), {"session_hours": 1})
        assert status == 403


def test_a_service_account_of_another_organization_finds_nothing(cast: Cast) -> None:
    _, token = make_service_account(cast.other_organization)
    stranger = Caller(token)
    for rest in ("", "/entitlements", "/security-baseline"):
        assert stranger.call("GET", at(cast, rest))[0] == 404

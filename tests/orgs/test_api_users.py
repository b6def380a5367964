"""People of an organization over the Admin API."""

from __future__ import annotations

import uuid

import pytest
from django.utils.http import urlencode
from pytest_django import DjangoAssertNumQueries

from orgs.models import Membership, PrincipalType, ResourceType, RoleBinding, User
from orgs.permissions import Role
from orgs.services.invitations import InvitedRole, create_invitation
from tests.cast import Cast
from tests.factories import SYSTEM, make_member
from tests.projects.test_api import Caller, caller_with


@pytest.fixture
def owner(cast: Cast) -> Caller:
    """A service account that owns the cast's organization."""
    return caller_with(cast.organization, Role.ORG_OWNER)


class ListTests:
    def test_members_of_this_organization_only(self, cast: Cast, owner: Caller) -> None:
        User.objects.filter(pk=cast.bob.pk).update(name="Bob")
        status, found = owner.call("GET", "/admin/users")
        assert status == 200
        assert found == {
            "data": [
                {"id": str(cast.alice.pk), "email": "alice@example.com"},
                {"id": str(cast.bob.pk), "email": "bob@example.com", "name": "Bob"},
            ],
            "pagination": None,
        }

    @pytest.mark.parametrize("email", ["bob@example.com", "BOB@Example.com"])
    def test_the_email_filter_ignores_case(self, cast: Cast, owner: Caller, email: str) -> None:
        _, found = owner.call("GET", f"/admin/users?email={email}")
        assert [each["id"] for each in found["data"]] == [str(cast.bob.pk)]

    @pytest.mark.parametrize("email", ["charlie@example.org", "nobody@example.com"])
    def test_an_address_of_no_member_gives_an_empty_list(self, owner: Caller, email: str) -> None:
        assert owner.call("GET", f"/admin/users?email={email}")[1]["data"] == []

    @pytest.mark.parametrize("email", ["", "bob", "bob@", "b b@example.com", "b\0@x.de", "x" * 999])
    def test_a_malformed_address_is_400(self, owner: Caller, email: str) -> None:
        status, found = owner.call("GET", f"/admin/users?{urlencode({'email': email})}")
        assert (status, found["error"]["code"]) == (400, "INVALID_ARGUMENT")

    def test_pages_cover_everybody_once(self, cast: Cast, owner: Caller) -> None:
        for _ in range(5):
            make_member(cast.organization)
        seen: list[str] = []
        token = ""
        while True:
            _, found = owner.call("GET", f"/admin/users?limit=3{token}")
            seen += [each["id"] for each in found["data"]]
            if found["pagination"] is None:
                break
            token = f"&paginationToken={found['pagination']['next']}"
        assert sorted(seen) == sorted(
            str(pk)
            for pk in Membership.objects.filter(organization=cast.organization).values_list(
                "user_id", flat=True
            )
        )
        assert len(seen) == 7

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("limit=0", "OUT_OF_RANGE"),
            ("limit=101", "OUT_OF_RANGE"),
            ("paginationToken=nonsense", "INVALID_ARGUMENT"),
            ("name=Bob", "INVALID_ARGUMENT"),
            ("email=a@b.de&email=c@d.de", "INVALID_ARGUMENT"),
        ],
    )
    def test_bad_queries_are_400(self, owner: Caller, query: str, code: str) -> None:
        status, found = owner.call("GET", f"/admin/users?{query}")
        assert (status, found["error"]["code"]) == (400, code)

    @pytest.mark.parametrize("count", [1, 30])
    def test_more_people_take_no_more_queries(
        self,
        cast: Cast,
        owner: Caller,
        count: int,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for _ in range(count):
            make_member(cast.organization)
        owner.call("GET", "/admin/users")
        with django_assert_num_queries(3):
            owner.call("GET", "/admin/users")


class GetTests:
    def test_a_member(self, cast: Cast, owner: Caller) -> None:
        assert owner.call("GET", f"/admin/users/{cast.bob.pk}") == (
            200,
            {"id": str(cast.bob.pk), "email": "bob@example.com"},
        )

    def test_somebody_invited_who_has_not_accepted_is_404(self, cast: Cast, owner: Caller) -> None:
        invitation = create_invitation(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            email="charlie@example.org",
            roles=[InvitedRole("OrgMember", ResourceType.ORGANIZATION)],
        )
        for pk in (cast.charlie.pk, invitation.pk, uuid.uuid4()):
            assert owner.call("GET", f"/admin/users/{pk}")[0] == 404


class DeleteTests:
    def test_it_takes_the_roles_at_once_and_keeps_the_account(
        self, cast: Cast, owner: Caller
    ) -> None:
        path = f"/admin/users/{cast.bob.pk}"
        assert owner.call("DELETE", path) == (202, None)
        assert owner.call("GET", path)[0] == 404
        assert owner.call("DELETE", path)[0] == 404
        assert not RoleBinding.objects.filter(
            principal_type=PrincipalType.USER, principal_id=cast.bob.pk
        ).exists()
        assert User.objects.filter(pk=cast.bob.pk, is_active=True).exists()

    def test_the_only_owner_is_409(self, cast: Cast, owner: Caller) -> None:
        # A service account that owns it does not count: nobody could sign in.
        status, found = owner.call("DELETE", f"/admin/users/{cast.alice.pk}")
        assert (status, found["error"]["code"]) == (409, "ABORTED")

    def test_a_member_is_refused(self, cast: Cast) -> None:
        member = caller_with(cast.organization, Role.ORG_MEMBER)
        status, found = member.call("DELETE", f"/admin/users/{cast.bob.pk}")
        assert (status, found["error"]["code"]) == (403, "PERMISSION_DENIED")

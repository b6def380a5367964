"""People by SCIM: who comes in, as what, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.utils import timezone

from audit.models import AuditEvent
from orgs.errors import PermissionDenied
from orgs.models import (
    Membership,
    Organization,
    OutgoingMail,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import Role
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import grant_role
from orgs.services.invitations import InvitedRole, accept_invitation, create_invitation
from orgs.services.members import remove_member
from sso.models import Connection, Domain, Identity, ScimUser
from tests.cast import Cast
from tests.factories import SYSTEM, make_user
from tests.pages import Browser
from tests.sso.scim.support import DOMAIN, ENTERPRISE, USER, Directory, make_directory

pytestmark = pytest.mark.django_db
EMAIL = f"dana@{DOMAIN}"


@pytest.fixture
def directory(cast: Cast) -> Directory:
    return make_directory(cast.organization)


def roles_of(user: User, organization: Organization) -> set[tuple[str, str]]:
    rows = RoleBinding.objects.filter(
        organization=organization, principal_type=PrincipalType.USER, principal_id=user.pk
    )
    return {(row.role, str(row.resource_id)) for row in rows}


def signed_in() -> tuple[Browser, User]:
    """Somebody who has the address already, in their browser."""
    user = make_user(EMAIL)
    browser = Browser()
    assert browser.sign_in(EMAIL).status_code == 302
    return browser, user


def detail(answer: Any) -> str:
    return str(answer.json()["detail"])


class CreateTests:
    def test_makes_a_person_with_a_place_and_the_default_role(
        self, cast: Cast, directory: Directory
    ) -> None:
        made = directory.create_user(name={"givenName": "Dana", "familyName": "Scully"})
        user = User.objects.get(email=EMAIL)
        assert user.name == "Dana Scully"
        assert not user.has_usable_password()
        assert EmailAddress.objects.get(user=user).verified
        assert roles_of(user, cast.organization) == {
            (Role.ORG_MEMBER.value, str(cast.organization.pk))
        }
        assert made["active"] is True
        assert made["id"] != str(user.pk)
        assert not OutgoingMail.objects.exists() and not mail.outbox
        types = set(AuditEvent.objects.values_list("type", flat=True))
        assert {"user.created", "member.added", "scim_user.created"} <= types
        event = AuditEvent.objects.get(type="scim_user.created")
        assert event.actor_kind == "scim"
        assert event.organization_id == cast.organization.pk

    def test_gives_the_connections_default_roles(self, cast: Cast, directory: Directory) -> None:
        Connection.objects.update(
            default_role=Role.ORG_MANAGER,
            default_project_roles=[{"role": "ProjectViewer", "project_id": str(cast.project.pk)}],
        )
        directory.create_user()
        assert roles_of(User.objects.get(email=EMAIL), cast.organization) == {
            ("OrgManager", str(cast.organization.pk)),
            ("ProjectViewer", str(cast.project.pk)),
        }

    def test_gives_exactly_the_roles_that_it_names(self, cast: Cast, directory: Directory) -> None:
        project = cast.project.pk
        made = directory.create_user(
            roles=[
                {"value": "pinecone:OrgManager"},
                {"value": f"pinecone:project:{project}:ProjectEditor"},
                {"value": f"pinecone:project:{cast.other_project.pk}:ProjectEditor"},
                {"value": "something else"},
            ]
        )
        user = User.objects.get(email=EMAIL)
        assert roles_of(user, cast.organization) == {
            ("OrgManager", str(cast.organization.pk)),
            ("ProjectEditor", str(project)),
        }
        assert len(made["roles"]) == 4
        assert not RoleBinding.objects.filter(
            principal_id=user.pk, organization=cast.other_organization
        ).exists()

    @pytest.mark.parametrize(
        "user_name",
        ["dana@elsewhere.example", f"dana@sub.{DOMAIN}", "dana", "@", f"@{DOMAIN}", "a b@c"],
    )
    def test_takes_people_of_the_organizations_own_domains_only(
        self, directory: Directory, user_name: str
    ) -> None:
        before = User.objects.count()
        answer = directory.send("POST", "/Users", {"schemas": [USER], "userName": user_name})
        assert answer.status_code == 400
        assert answer.json()["scimType"] == "invalidValue"
        assert User.objects.count() == before

    def test_a_domain_that_nobody_proved_is_not_its_own(self, directory: Directory) -> None:
        Domain.objects.update(verified_at=None)
        answer = directory.send("POST", "/Users", {"schemas": [USER], "userName": EMAIL})
        assert answer.status_code == 400
        assert "proven to own" in detail(answer)

    def test_the_account_is_out_of_reach_once_the_domain_is(self, directory: Directory) -> None:
        made = directory.create_user(EMAIL, name={"formatted": "Dana"})
        user = User.objects.get(email=EMAIL)
        browser = Browser(user)
        key = browser.session.session_key or ""
        UserSession.objects.create(user=user, session_key=key, ip="203.0.113.7", user_agent="-")
        Domain.objects.update(verified_at=None)
        body = {"schemas": [USER], "userName": EMAIL, "name": {"formatted": "Mallory"}}
        assert directory.send("PUT", f"/Users/{made['id']}", body).status_code == 200
        user.refresh_from_db()
        assert user.name == "Dana"
        assert directory.send("DELETE", f"/Users/{made['id']}").status_code == 204
        assert Session.objects.filter(session_key=key).exists()
        assert not Membership.objects.filter(user=user).exists()

    def test_takes_the_primary_address_where_the_user_name_is_none(
        self, directory: Directory
    ) -> None:
        directory.create_user(
            "dscully",
            emails=[{"value": "dana@home.example"}, {"value": EMAIL.title(), "primary": True}],
        )
        assert ScimUser.objects.get().user.email == EMAIL

    def test_links_the_person_who_has_the_address_and_tells_them(
        self, cast: Cast, directory: Directory
    ) -> None:
        user = make_user(EMAIL)
        directory.create_user()
        assert ScimUser.objects.get().user == user
        assert user.has_usable_password()
        assert OutgoingMail.objects.get().to == EMAIL
        assert not AuditEvent.objects.filter(
            type="user.created", resource_id=str(user.pk), actor_kind="scim"
        ).exists()

    def test_leaves_the_roles_of_who_is_a_member_already(self, cast: Cast) -> None:
        directory = make_directory(cast.organization, domains=("example.com",))
        directory.create_user("alice@example.com")
        assert roles_of(cast.alice, cast.organization) == {("OrgOwner", str(cast.organization.pk))}
        assert not OutgoingMail.objects.exists()

    def test_does_not_link_an_account_that_nobody_confirmed(self, directory: Directory) -> None:
        user = make_user(EMAIL)
        EmailAddress.objects.filter(user=user).update(verified=False)
        answer = directory.send("POST", "/Users", {"schemas": [USER], "userName": EMAIL})
        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
        assert not Membership.objects.filter(user=user).exists()

    def test_a_second_one_is_a_conflict(self, directory: Directory) -> None:
        directory.create_user(externalId="7")
        for body in (
            {"userName": EMAIL.upper()},
            {"userName": f"fox@{DOMAIN}", "externalId": "7"},
            {"userName": "dscully", "emails": [{"value": EMAIL}]},
        ):
            answer = directory.send("POST", "/Users", {"schemas": [USER], **body})
            assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
        assert not User.objects.filter(email=f"fox@{DOMAIN}").exists()

    def test_what_another_organization_keeps_is_no_conflict(
        self, cast: Cast, directory: Directory
    ) -> None:
        """Told by nothing: the same userName and externalId as a directory next door."""
        other = make_directory(cast.other_organization, domains=("umbrella.example",))
        other.create_user("dscully", externalId="7", emails=[{"value": "d@umbrella.example"}])
        directory.create_user("dscully", externalId="7", emails=[{"value": EMAIL}])

    def test_two_directories_of_one_organization_do_not_share_a_person(
        self, cast: Cast, directory: Directory
    ) -> None:
        second = make_directory(cast.organization, domains=())
        directory.create_user()
        answer = second.send("POST", "/Users", {"schemas": [USER], "userName": EMAIL})
        assert answer.status_code == 409

    def test_inactive_is_suspended_from_the_start(self, cast: Cast, directory: Directory) -> None:
        directory.create_user(active=False)
        assert Membership.objects.get(user__email=EMAIL).suspended_at is not None

    def test_a_full_plan_is_forbidden_and_makes_nobody(
        self, cast: Cast, directory: Directory
    ) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(overrides={"max_members": 2})
        answer = directory.send("POST", "/Users", {"schemas": [USER], "userName": EMAIL})
        assert answer.status_code == 403
        assert not User.objects.filter(email=EMAIL).exists()

    def test_keeps_no_password(self, directory: Directory) -> None:
        directory.create_user(password="correct horse battery staple")
        row = ScimUser.objects.get()
        assert "correct horse" not in repr(row.attributes)
        assert not row.user.has_usable_password()

    def test_keeps_at_most_so_much_about_one_person(self, directory: Directory) -> None:
        answer = directory.send(
            "POST", "/Users", {"schemas": [USER], "userName": EMAIL, "title": "x" * 70_000}
        )
        assert answer.status_code == 400


class UpdateTests:
    def test_put_keeps_what_it_says_and_drops_the_rest(self, directory: Directory) -> None:
        made = directory.create_user(title="Agent", displayName="Dana")
        body = {
            "schemas": [USER, ENTERPRISE],
            "userName": EMAIL,
            "displayName": "Dana Scully",
            ENTERPRISE: {"department": "X"},
        }
        answer = directory.send("PUT", f"/Users/{made['id']}", body)
        assert answer.status_code == 200
        found = directory.get(f"/Users/{made['id']}").json()
        assert found["displayName"] == "Dana Scully"
        assert found[ENTERPRISE] == {"department": "X"}
        assert "title" not in found
        assert User.objects.get(email=EMAIL).name == "Dana Scully"

    def test_roles_become_exactly_those_and_none_means_the_default_ones(
        self, cast: Cast, directory: Directory
    ) -> None:
        made = directory.create_user(roles=[{"value": "pinecone:OrgManager"}])
        user = User.objects.get(email=EMAIL)
        path = f"/Users/{made['id']}"
        pk = str(cast.organization.pk)
        directory.patch(
            path, {"op": "replace", "path": "roles", "value": [{"value": "pinecone:OrgOwner"}]}
        )
        assert roles_of(user, cast.organization) == {("OrgOwner", pk)}
        directory.patch(path, {"op": "remove", "path": "roles"})
        assert roles_of(user, cast.organization) == {("OrgMember", pk)}

    def test_without_roles_what_owners_gave_stays(self, cast: Cast, directory: Directory) -> None:
        made = directory.create_user()
        user = User.objects.get(email=EMAIL)
        grant_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, user.pk),
            role="OrgManager",
            resource=(ResourceType.ORGANIZATION, None),
        )
        before = roles_of(user, cast.organization)
        directory.patch(
            f"/Users/{made['id']}", {"op": "replace", "path": "title", "value": "Agent"}
        )
        assert roles_of(user, cast.organization) == before

    def test_another_user_name_moves_the_address_and_the_session_goes_on(
        self, directory: Directory
    ) -> None:
        browser, user = signed_in()
        made = directory.create_user()
        new = f"dana.scully@{DOMAIN}"
        answer = directory.patch(
            f"/Users/{made['id']}", {"op": "replace", "path": "userName", "value": new}
        )
        assert answer.status_code == 200
        user.refresh_from_db()
        assert user.email == new
        assert list(EmailAddress.objects.filter(user=user).values_list("email", "verified")) == [
            (new, True)
        ]
        assert browser.get("/accounts/email/").status_code == 200
        assert AuditEvent.objects.filter(type="email.changed").exists()

    def test_an_address_does_not_move_out_of_the_own_domains(self, directory: Directory) -> None:
        made = directory.create_user()
        answer = directory.patch(
            f"/Users/{made['id']}",
            {"op": "replace", "path": "userName", "value": "dana@elsewhere.example"},
        )
        assert answer.status_code == 400
        assert directory.get(f"/Users/{made['id']}").json()["userName"] == EMAIL
        assert User.objects.filter(email=EMAIL).exists()

    def test_an_account_that_left_the_own_domains_is_not_taken_over(
        self, directory: Directory
    ) -> None:
        made = directory.create_user()
        User.objects.filter(email=EMAIL).update(email="dana@home.example")
        answer = directory.patch(
            f"/Users/{made['id']}",
            {"op": "replace", "path": "userName", "value": f"dana.scully@{DOMAIN}"},
        )
        assert answer.status_code == 409
        assert User.objects.filter(email="dana@home.example").exists()
        # What lets nobody in always works.
        answer = directory.patch(
            f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False}
        )
        assert answer.status_code == 200

    def test_an_address_that_is_taken_is_a_conflict(self, directory: Directory) -> None:
        make_user(f"fox@{DOMAIN}")
        made = directory.create_user()
        answer = directory.patch(
            f"/Users/{made['id']}",
            {"op": "replace", "path": "userName", "value": f"fox@{DOMAIN}"},
        )
        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
        assert User.objects.filter(email=EMAIL).exists()

    def test_other_directories_people_are_not_there(self, cast: Cast, directory: Directory) -> None:
        made = directory.create_user()
        other = make_directory(cast.other_organization, domains=("umbrella.example",))
        path = f"/Users/{made['id']}"
        operation = {"op": "replace", "path": "active", "value": False}
        assert other.get(path).status_code == 404
        assert other.patch(path, operation).status_code == 404
        put = other.send("PUT", path, {"schemas": [USER], "userName": EMAIL})
        assert put.status_code == 404
        assert other.send("DELETE", path).status_code == 404
        assert other.get("/Users").json()["totalResults"] == 0
        assert ScimUser.objects.get().active

    def test_who_left_by_themselves_comes_in_again(self, cast: Cast, directory: Directory) -> None:
        made = directory.create_user()
        user = User.objects.get(email=EMAIL)
        remove_member(actor=SYSTEM, organization_id=cast.organization.pk, user_id=user.pk)
        path = f"/Users/{made['id']}"
        assert (
            directory.patch(path, {"op": "replace", "path": "active", "value": False}).status_code
            == 200
        )
        assert not Membership.objects.filter(user=user).exists()
        directory.patch(path, {"op": "replace", "path": "active", "value": True})
        assert roles_of(user, cast.organization) == {("OrgMember", str(cast.organization.pk))}


class ActiveTests:
    def test_inactive_ends_sessions_and_bars_at_once(
        self, cast: Cast, directory: Directory
    ) -> None:
        browser, user = signed_in()
        made = directory.create_user()
        organization = f"/organizations/{cast.organization.pk}/"
        assert browser.get(organization).status_code == 200
        assert UserSession.objects.filter(user=user).exists()
        path = f"/Users/{made['id']}"
        answer = directory.patch(path, {"op": "replace", "path": "active", "value": False})
        assert answer.json()["active"] is False
        assert not UserSession.objects.filter(user=user).exists()
        assert browser.get(organization).status_code == 302
        assert Browser(user).get(organization).status_code == 403
        assert directory.get(path).json()["active"] is False
        assert directory.get("/Users", filter="active eq false").json()["totalResults"] == 1

    def test_active_again_lets_them_back_in(self, cast: Cast, directory: Directory) -> None:
        made = directory.create_user(active=False)
        user = User.objects.get(email=EMAIL)
        answer = directory.patch(
            f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": True}
        )
        assert answer.status_code == 200
        assert Browser(user).get(f"/organizations/{cast.organization.pk}/").status_code == 200

    def test_who_does_not_say_so_reinstates_nobody(self, directory: Directory) -> None:
        made = directory.create_user(active=False)
        body = {"schemas": [USER], "userName": EMAIL, "displayName": "Dana"}
        answer = directory.send("PUT", f"/Users/{made['id']}", body)
        assert answer.json()["active"] is False
        directory.patch(f"/Users/{made['id']}", {"op": "remove", "path": "active"})
        assert Membership.objects.get(user__email=EMAIL).suspended_at is not None

    def test_an_invitation_does_not_undo_it(self, cast: Cast, directory: Directory) -> None:
        invitation = create_invitation(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            email=EMAIL,
            roles=[InvitedRole("OrgMember", ResourceType.ORGANIZATION)],
        )
        directory.create_user(active=False)
        user = User.objects.get(email=EMAIL)
        with pytest.raises(PermissionDenied, match="suspended"):
            accept_invitation(
                actor=actor_for(user, authenticated_at=timezone.now()),
                invitation_id=invitation.pk,
                nonce=invitation.nonce,
            )
        assert Membership.objects.get(user=user).suspended_at is not None

    def test_the_last_owner_is_not_suspended_or_removed(self, cast: Cast) -> None:
        directory = make_directory(cast.organization, domains=("example.com",))
        made = directory.create_user("alice@example.com")
        path = f"/Users/{made['id']}"
        answer = directory.patch(path, {"op": "replace", "path": "active", "value": False})
        assert answer.status_code == 409
        assert "owner" in detail(answer)
        assert directory.send("DELETE", path).status_code == 409
        assert directory.get(path).json()["active"] is True
        assert Membership.objects.get(user=cast.alice).suspended_at is None


class DeleteTests:
    def test_takes_the_person_out_and_leaves_the_account(
        self, cast: Cast, directory: Directory
    ) -> None:
        browser, user = signed_in()
        made = directory.create_user()
        Identity.objects.create(
            connection=directory.connection, user=user, uid="u", opens_sessions=True
        )
        assert UserSession.objects.filter(user=user).exists()
        answer = directory.send("DELETE", f"/Users/{made['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert User.objects.filter(pk=user.pk, is_active=True).exists()
        assert not Membership.objects.filter(user=user).exists()
        assert roles_of(user, cast.organization) == set()
        assert not Identity.objects.exists()
        assert not UserSession.objects.filter(user=user).exists()
        assert browser.get("/accounts/email/").status_code == 302
        assert directory.send("DELETE", f"/Users/{made['id']}").status_code == 404
        types = set(AuditEvent.objects.values_list("type", flat=True))
        assert {"scim_user.deleted", "member.removed", "sso_identity.unlinked"} <= types

    def test_who_comes_again_is_the_same_person(self, directory: Directory) -> None:
        made = directory.create_user()
        user = User.objects.get(email=EMAIL)
        directory.send("DELETE", f"/Users/{made['id']}")
        assert directory.create_user()["id"] != made["id"]
        assert ScimUser.objects.get().user == user


class ListTests:
    def test_takes_as_many_queries_for_many_as_for_one(
        self, directory: Directory, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(6):
            directory.create_user(f"p{number}@{DOMAIN}")
        directory.create_group(members=tuple(str(row.pk) for row in ScimUser.objects.all()))
        with django_assert_max_num_queries(9):
            found = directory.get("/Users").json()
        assert found["totalResults"] == 6
        assert all(each["groups"][0]["display"] == "Engineers" for each in found["Resources"])
        with django_assert_max_num_queries(9):
            [group] = directory.get("/Groups").json()["Resources"]
        assert len(group["members"]) == 6

    def test_pages_and_counts(self, directory: Directory) -> None:
        for number in range(5):
            directory.create_user(f"p{number}@{DOMAIN}")
        found = directory.get("/Users", startIndex="4", count="3").json()
        assert [each["userName"] for each in found["Resources"]] == [f"p3@{DOMAIN}", f"p4@{DOMAIN}"]
        assert (found["totalResults"], found["startIndex"], found["itemsPerPage"]) == (5, 4, 2)
        empty = directory.get("/Users", count="0").json()
        assert (empty["totalResults"], empty.get("Resources", [])) == (5, [])

    def test_the_root_lists_people_then_groups(self, directory: Directory) -> None:
        made = directory.create_user()
        group = directory.create_group()
        found = directory.get("/").json()
        assert [each["id"] for each in found["Resources"]] == [made["id"], group["id"]]
        second = directory.get("/", startIndex="2", count="1").json()
        assert [each["id"] for each in second["Resources"]] == [group["id"]]
        assert second["totalResults"] == 2

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            (f'userName eq "P0@{DOMAIN}"', {"p0"}),
            ('userName sw "p"', {"p0", "p1", "p2"}),
            ('externalId eq "E1"', {"p1"}),
            ('externalId eq "e1"', set()),
            ("active eq false", {"p2"}),
            ('active eq true and userName ew "example"', {"p0", "p1"}),
            ('id eq "nonsense"', set()),
            ('name.familyName eq "two"', {"p2"}),
            ('emails[type eq "work"].value eq "mail1@acme.example"', {"p1"}),
            ("not (active eq true)", {"p2"}),
            ("title pr", {"p0"}),
            (f'title pr or userName eq "p1@{DOMAIN}"', {"p0", "p1"}),
            ('userName co "%"', set()),
            ('groups.display eq "Engineers"', {"p0"}),
            (f'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "p0@{DOMAIN}"', {"p0"}),
        ],
    )
    def test_filters(self, directory: Directory, text: str, names: set[str]) -> None:
        first = directory.create_user(f"p0@{DOMAIN}", title="Agent")
        directory.create_user(
            f"p1@{DOMAIN}", externalId="E1", emails=[{"value": f"mail1@{DOMAIN}", "type": "work"}]
        )
        directory.create_user(f"p2@{DOMAIN}", active=False, name={"familyName": "Two"})
        directory.create_group(members=(first["id"],))
        answer = directory.get("/Users", filter=text)
        assert answer.status_code == 200, answer.content
        found = {each["userName"].partition("@")[0] for each in answer.json()["Resources"]}
        assert found == names

    def test_a_filter_that_has_to_look_at_too_many_is_refused(
        self, directory: Directory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sso.scim.storage.MAX_SCANNED", 1)
        directory.create_user()
        directory.create_user(f"fox@{DOMAIN}")
        answer = directory.get("/Users", filter="title pr")
        assert (answer.status_code, answer.json()["scimType"]) == (400, "tooMany")
        assert directory.get("/Users", filter='userName sw "d"').status_code == 200

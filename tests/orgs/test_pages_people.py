"""The pages of people: invitations, roles with a look ahead, teams."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orgs.models import (
    Group,
    Invitation,
    Membership,
    OutgoingMail,
    OwnershipTransfer,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from orgs.services.groups import add_group_member, create_group
from orgs.services.invitations import InvitedRole, create_invitation
from tests.cast import Cast
from tests.factories import SYSTEM, make_member
from tests.pages import Browser


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


def root(cast: Cast) -> str:
    return f"/organizations/{cast.organization.pk}"


def binding_of(user: User) -> RoleBinding:
    return RoleBinding.objects.get(principal_type=PrincipalType.USER, principal_id=user.pk)


def roles_of(user: User) -> list[str]:
    rows = RoleBinding.objects.filter(principal_id=user.pk)
    return sorted(row.role_name for row in rows)


def make_team(cast: Cast, name: str = "Search platform") -> Group:
    return create_group(actor=SYSTEM, organization_id=cast.organization.pk, name=name)


class MembersTests:
    def test_shows_people_with_roles_and_finds_them(self, alice: Browser, cast: Cast) -> None:
        User.objects.filter(pk=cast.bob.pk).update(name="Bob <b>")
        text = alice.get(f"{root(cast)}/members/").content.decode()
        for part in ("alice@example.com", "OrgOwner", "Bob &lt;b&gt;", "Second factor"):
            assert part in text
        found = alice.get(f"{root(cast)}/members/", {"q": "bob"}).content.decode()
        assert cast.bob.email in found
        assert str(cast.alice.pk) not in found
        nobody = alice.get(f"{root(cast)}/members/", {"q": "\0<x>%_"}).content.decode()
        assert "Nobody has “&lt;x&gt;%_”" in nobody

    def test_plain_members_see_no_factors_and_no_buttons(self, cast: Cast) -> None:
        text = Browser(cast.bob).get(f"{root(cast)}/members/").content.decode()
        assert "alice@example.com" in text
        for part in ("Second factor", "Invite people", "Last sign-in"):
            assert part not in text

    def test_a_constant_number_of_queries(self, alice: Browser, cast: Cast) -> None:
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                alice.get(f"{root(cast)}/members/")
            return len(queries)

        count()
        before = count()
        for _ in range(12):
            make_member(cast.organization)
        assert count() == before


class InviteTests:
    def invite(self, browser: Browser, cast: Cast, **form: Any) -> Any:
        return browser.post(f"{root(cast)}/members/invite/", {"role": "OrgMember", **form})

    def test_each_address_gets_a_link_and_a_role(self, alice: Browser, cast: Cast) -> None:
        emails = "Ada@Example.com, eve@example.com\nada@example.com"
        answer = self.invite(
            alice,
            cast,
            emails=emails,
            project=str(cast.project.pk),
            project_role="ProjectEditor",
        )
        assert answer.status_code == 302
        assert sorted(OutgoingMail.objects.values_list("to", flat=True)) == [
            "ada@example.com",
            "eve@example.com",
        ]
        first = Invitation.objects.first()
        assert first is not None
        given = RoleBinding.objects.filter(principal_id=first.pk)
        assert sorted(row.role for row in given) == ["OrgMember", "ProjectEditor"]
        text = alice.get(answer["Location"]).content.decode()
        assert "Invited: ada@example.com, eve@example.com." in text
        assert "2 open" in text

    def test_what_worked_stays_done_and_the_rest_comes_back(
        self, alice: Browser, cast: Cast
    ) -> None:
        answer = self.invite(
            alice, cast, emails="ada@example.com\nbob@example.com\nno-address", role="OrgManager"
        )
        assert answer.status_code == 422
        text = answer.content.decode()
        assert Invitation.objects.get().email == "ada@example.com"
        area = text.partition("<textarea")[2].partition("</textarea>")[0]
        assert area.splitlines()[-2:] == ["bob@example.com", "no-address"]
        assert "bob@example.com: " in text
        assert '<option value="OrgManager" selected>' in text

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"emails": ""}, "required"),
            ({"emails": "a@b.example", "role": "OrgKing"}, "Select a valid choice"),
            ({"emails": "a@b.example", "project_role": "ProjectEditor"}, "choose both"),
            ({"emails": "a@b.example", "project": str(uuid.uuid4())}, "Select a valid choice"),
            ({"emails": "\n".join(f"p{n}@b.example" for n in range(51))}, "51 addresses"),
            ({"emails": "x" * 8001}, "at most 8000"),
        ],
    )
    def test_what_can_not_be_invites_nobody(
        self, alice: Browser, cast: Cast, form: dict[str, str], said: str
    ) -> None:
        answer = self.invite(alice, cast, **form)
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert not Invitation.objects.exists()

    def test_sending_again_kills_the_first_link(self, alice: Browser, cast: Cast) -> None:
        self.invite(alice, cast, emails="ada@example.com")
        before = Invitation.objects.get()
        path = f"{root(cast)}/invitations/{before.pk}"
        assert alice.post(f"{path}/resend/").status_code == 302
        after = Invitation.objects.get()
        assert after.nonce != before.nonce
        assert Browser(cast.bob).post(f"{path}/resend/").status_code == 403
        assert Browser(cast.charlie).post(f"{path}/resend/").status_code == 404
        assert Invitation.objects.get().nonce == after.nonce

    def test_taking_one_back(self, alice: Browser, cast: Cast) -> None:
        self.invite(alice, cast, emails="ada@example.com")
        path = f"{root(cast)}/invitations/{Invitation.objects.get().pk}/take-back/"
        assert b"OrgMember" in alice.get(path).content
        alice.post(path)
        assert not Invitation.objects.exists()
        assert alice.post(path).status_code == 404

    def test_an_invitation_of_another_organization_is_out_of_reach(
        self, alice: Browser, cast: Cast
    ) -> None:
        theirs = create_invitation(
            actor=SYSTEM,
            organization_id=cast.other_organization.pk,
            email="eve@example.com",
            roles=[InvitedRole("OrgMember", ResourceType.ORGANIZATION)],
        )
        for part in ("resend", "take-back"):
            path = f"{root(cast)}/invitations/{theirs.pk}/{part}/"
            assert alice.post(path).status_code == 404
        assert Invitation.objects.filter(pk=theirs.pk).exists()


class PersonTests:
    def page(self, cast: Cast, user: User, part: str = "") -> str:
        return f"{root(cast)}/members/{user.pk}/{part}"

    def test_every_role_says_why(self, alice: Browser, cast: Cast) -> None:
        team = make_team(cast)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, team.pk),
            role=Role.PROJECT_VIEWER,
            resource_id=cast.project.pk,
            reason="Ticket 17",
        )
        add_group_member(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            group_id=team.pk,
            user_id=cast.bob.pk,
        )
        text = alice.get(self.page(cast, cast.bob)).content.decode()
        for part in ("OrgMember", "ProjectViewer", "Search platform", "Ticket 17", "Search"):
            assert part in text

    def test_removing_asks_for_the_address(self, alice: Browser, cast: Cast) -> None:
        path = self.page(cast, cast.bob, "remove/")
        assert alice.post(path, {"confirm": "bob"}).status_code == 422
        assert Membership.objects.filter(user=cast.bob).exists()
        assert alice.post(path, {"confirm": "bob@example.com"}).status_code == 302
        assert not Membership.objects.filter(user=cast.bob).exists()
        assert Browser(cast.bob).get(f"{root(cast)}/members/").status_code == 404

    def test_leaving(self, cast: Cast) -> None:
        browser = Browser(cast.bob)
        answer = browser.post(self.page(cast, cast.bob, "remove/"), {"confirm": cast.bob.email})
        assert answer["Location"] == "/"
        assert not Membership.objects.filter(user=cast.bob).exists()

    def test_the_last_owner_stays(self, alice: Browser, cast: Cast) -> None:
        form = {"confirm": cast.alice.email}
        answer = alice.post(self.page(cast, cast.alice, "remove/"), form)
        assert answer.status_code == 422
        assert Membership.objects.filter(user=cast.alice).exists()

    def test_handing_over_and_taking_back(self, alice: Browser, cast: Cast) -> None:
        path = self.page(cast, cast.bob, "offer/")
        assert alice.post(path, {"confirm": cast.bob.email}).status_code == 302
        offer = OwnershipTransfer.objects.get()
        page = alice.get(f"{root(cast)}/members/").content.decode()
        assert "offers to hand the organization over to bob@example.com" in page
        again = alice.post(path, {"confirm": cast.bob.email})
        assert again.status_code == 422
        cancel = f"{root(cast)}/offers/{offer.pk}/cancel/"
        assert Browser(cast.charlie).post(cancel).status_code == 404
        alice.post(cancel)
        offer.refresh_from_db()
        assert offer.status == OwnershipTransfer.Status.CANCELED

    def test_a_change_needs_a_fresh_proof(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        browser.prove(cast.alice, seconds_ago=7200)
        answer = browser.post(self.page(cast, cast.bob, "remove/"), {"confirm": cast.bob.email})
        assert answer["Location"].startswith("/accounts/reauthenticate/")
        assert Membership.objects.filter(user=cast.bob).exists()


class GrantTests:
    def path(self, cast: Cast, user: User) -> str:
        return f"{root(cast)}/roles/grants/user/{user.pk}/"

    def test_a_look_ahead_changes_nothing(self, alice: Browser, cast: Cast) -> None:
        form = {"resource": str(cast.project.pk), "role": "ProjectViewer", "preview": "1"}
        answer = alice.post(self.path(cast, cast.bob), form)
        assert answer.status_code == 200
        text = answer.content.decode()
        assert "bob@example.com on Search" in text
        assert "read records" in text
        assert "write and delete records" not in text
        assert roles_of(cast.bob) == ["OrgMember"]

    def test_giving_a_role_with_an_end_and_a_reason(self, alice: Browser, cast: Cast) -> None:
        form = {
            "resource": str(cast.project.pk),
            "role": "ProjectViewer",
            "days": "7",
            "reason": "On call",
        }
        answer = alice.post(self.path(cast, cast.bob), form)
        assert answer["Location"] == f"{root(cast)}/members/{cast.bob.pk}/"
        row = RoleBinding.objects.get(role="ProjectViewer", principal_id=cast.bob.pk)
        assert (row.reason, row.expires_at is not None) == ("On call", True)
        twice = alice.post(self.path(cast, cast.bob), form)
        assert twice.status_code == 422
        assert "id_role_error" in twice.content.decode()

    def test_a_role_where_it_can_not_be_held(self, alice: Browser, cast: Cast) -> None:
        form = {"resource": "organization", "role": "ProjectViewer"}
        answer = alice.post(self.path(cast, cast.bob), form)
        assert answer.status_code == 422
        assert roles_of(cast.bob) == ["OrgMember"]

    def test_a_project_owner_gives_roles_there_alone(self, cast: Cast) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.PROJECT_OWNER,
            resource_id=cast.project.pk,
        )
        ada = make_member(cast.organization)
        browser = Browser(cast.bob)
        text = browser.get(self.path(cast, ada)).content.decode()
        assert "The organization</option>" not in text
        refused = browser.post(
            self.path(cast, ada), {"resource": "organization", "role": "OrgOwner"}
        )
        assert refused.status_code == 422
        form = {"resource": str(cast.project.pk), "role": "ProjectViewer"}
        assert browser.post(self.path(cast, ada), form).status_code == 302
        assert roles_of(ada) == ["OrgMember", "ProjectViewer"]

    @pytest.mark.parametrize("kind", ["api_key", "invite", "nobody"])
    def test_there_is_no_page_for_others(self, alice: Browser, cast: Cast, kind: str) -> None:
        path = f"{root(cast)}/roles/grants/{kind}/{cast.bob.pk}/"
        assert alice.get(path).status_code == 404


class ChangeTests:
    def path(self, cast: Cast, user: User, verb: str = "change") -> str:
        return f"{root(cast)}/roles/grants/{binding_of(user).pk}/{verb}/"

    def test_look_ahead_then_change(self, alice: Browser, cast: Cast) -> None:
        path = self.path(cast, cast.bob)
        text = alice.post(path, {"role": "OrgManager", "preview": "1"}).content.decode()
        assert "create projects" in text
        assert roles_of(cast.bob) == ["OrgMember"]
        assert alice.post(path, {"role": "OrgManager"}).status_code == 302
        assert roles_of(cast.bob) == ["OrgManager"]
        assert alice.get(path).status_code == 404  # the role is another one now

    def test_the_same_role_is_refused_and_stays(self, alice: Browser, cast: Cast) -> None:
        assert alice.post(self.path(cast, cast.bob), {"role": "OrgMember"}).status_code == 422
        assert roles_of(cast.bob) == ["OrgMember"]

    def test_the_last_owner_keeps_the_role(self, alice: Browser, cast: Cast) -> None:
        path = self.path(cast, cast.alice)
        for form in ({"role": "OrgMember", "preview": "1"}, {"role": "OrgMember"}):
            assert alice.post(path, form).status_code == 422
        assert roles_of(cast.alice) == ["OrgOwner"]

    def test_taking_the_last_role_tells_that_they_leave(self, alice: Browser, cast: Cast) -> None:
        path = self.path(cast, cast.bob, "revoke")
        text = alice.get(path).content.decode()
        assert "see the organization" in text
        assert roles_of(cast.bob) == ["OrgMember"]
        assert alice.post(path)["Location"] == f"{root(cast)}/members/"
        assert not Membership.objects.filter(user=cast.bob).exists()

    def test_taking_the_last_owners_is_refused_beforehand(self, alice: Browser, cast: Cast) -> None:
        path = self.path(cast, cast.alice, "revoke")
        assert b"callout-error" in alice.get(path).content
        assert alice.post(path).status_code == 422
        assert roles_of(cast.alice) == ["OrgOwner"]


class TeamTests:
    def page(self, cast: Cast, team: Group, part: str = "") -> str:
        return f"{root(cast)}/teams/{team.pk}/{part}"

    def test_from_nothing_to_a_team_with_a_role(self, alice: Browser, cast: Cast) -> None:
        assert b"No team yet" in alice.get(f"{root(cast)}/teams/").content
        form = {"name": "On <call>", "description": "Nights"}
        made = alice.post(f"{root(cast)}/teams/create/", form)
        team = Group.objects.get()
        assert made["Location"] == self.page(cast, team)
        alice.post(self.page(cast, team), {"email": "BOB@example.com"})
        grant = f"{root(cast)}/roles/grants/group/{team.pk}/"
        role = {"resource": str(cast.project.pk), "role": "ProjectViewer"}
        ahead = alice.post(grant, {**role, "preview": "1"}).content.decode()
        assert "bob@example.com on Search" in ahead
        assert alice.post(grant, role)["Location"] == self.page(cast, team)
        text = alice.get(self.page(cast, team)).content.decode()
        for part in ("On &lt;call&gt;", "bob@example.com", "ProjectViewer"):
            assert part in text
        assert Browser(cast.bob).get(f"/projects/{cast.project.pk}/").status_code == 200

    @pytest.mark.parametrize(
        ("email", "said"),
        [
            ("", "required"),
            ("bob", "valid email"),
            ("charlie@example.org", "is no member of Acme"),
            ("bob@example.com", "already"),
        ],
    )
    def test_who_can_not_be_added(self, alice: Browser, cast: Cast, email: str, said: str) -> None:
        team = make_team(cast)
        alice.post(self.page(cast, team), {"email": "bob@example.com"})
        answer = alice.post(self.page(cast, team), {"email": email})
        assert answer.status_code == 422
        error = answer.content.decode().partition("id_email_error")[2].partition("</p>")[0]
        assert said in error

    def test_two_of_one_name(self, alice: Browser, cast: Cast) -> None:
        make_team(cast)
        for path in ("create/", f"{make_team(cast, 'Other').pk}/edit/"):
            answer = alice.post(f"{root(cast)}/teams/{path}", {"name": "search PLATFORM"})
            assert answer.status_code == 422
            assert "id_name_error" in answer.content.decode()

    def test_taking_out_and_deleting(self, alice: Browser, cast: Cast) -> None:
        team = make_team(cast)
        alice.post(self.page(cast, team), {"email": "bob@example.com"})
        out = self.page(cast, team, f"members/{cast.bob.pk}/take-out/")
        assert Browser(cast.bob).post(out).status_code == 403
        assert Browser(cast.charlie).post(out).status_code == 404
        alice.post(out)
        assert not team.memberships.exists()
        delete = self.page(cast, team, "delete/")
        assert alice.post(delete, {"confirm": "search"}).status_code == 422
        assert alice.post(delete, {"confirm": "Search platform"}).status_code == 302
        assert not Group.objects.exists()

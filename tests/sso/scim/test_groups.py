"""Groups by SCIM: they are the organization's own, kept by the directory."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from audit.models import AuditEvent
from orgs.errors import Aborted
from orgs.models import Group, PrincipalType, ResourceType, RoleBinding, User
from orgs.permissions import Permission, permissions_of
from orgs.services.bindings import grant_role
from orgs.services.groups import (
    add_group_member,
    create_group,
    delete_group,
    remove_group_member,
    update_group,
)
from sso.models import ScimGroup, ScimUser
from sso.services.scim_tokens import set_scim
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.sso.scim.support import DOMAIN, GROUP, Directory, make_directory

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(cast: Cast) -> Directory:
    return make_directory(cast.organization)


@pytest.fixture
def dana(directory: Directory) -> str:
    """The SCIM id of a person."""
    return str(directory.create_user()["id"])


def emails_in(group: Group) -> set[str]:
    return set(group.memberships.values_list("user__email", flat=True))


class CreateTests:
    def test_makes_a_group_of_the_organization(
        self, cast: Cast, directory: Directory, dana: str
    ) -> None:
        made = directory.create_group(members=(dana,))
        group = Group.objects.get(organization=cast.organization)
        assert group.name == "Engineers"
        assert emails_in(group) == {f"dana@{DOMAIN}"}
        [member] = made["members"]
        assert member["value"] == dana
        assert member["$ref"].endswith(f"/Users/{dana}")
        [of_user] = directory.get(f"/Users/{dana}").json()["groups"]
        assert (of_user["value"], of_user["display"]) == (made["id"], "Engineers")
        types = set(AuditEvent.objects.values_list("type", flat=True))
        assert {"scim_group.created", "group.created", "group_member.added"} <= types

    def test_gives_its_people_the_roles_that_owners_gave_it(
        self, cast: Cast, directory: Directory, dana: str
    ) -> None:
        made = directory.create_group(members=(dana,))
        group = Group.objects.get(organization=cast.organization)
        grant_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, group.pk),
            role="ProjectEditor",
            resource=(ResourceType.PROJECT, cast.project.pk),
        )
        user = User.objects.get(email=f"dana@{DOMAIN}")

        def may() -> bool:
            held = permissions_of(
                cast.actor(user),
                organization_id=cast.organization.pk,
                project_id=cast.project.pk,
            )
            return Permission.INDEX_CREATE in held

        assert may()
        directory.patch(f"/Groups/{made['id']}", {"op": "remove", "path": "members"})
        assert not may()

    @pytest.mark.parametrize("member", ["nonsense", "", "00000000-0000-0000-0000-000000000000"])
    def test_members_have_to_exist(self, directory: Directory, member: str) -> None:
        answer = directory.send(
            "POST",
            "/Groups",
            {"schemas": [GROUP], "displayName": "Engineers", "members": [{"value": member}]},
        )
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
        assert not Group.objects.exists()

    def test_people_of_another_directory_are_no_members(
        self, cast: Cast, directory: Directory, dana: str
    ) -> None:
        other = make_directory(cast.other_organization, domains=("umbrella.example",))
        answer = other.send(
            "POST",
            "/Groups",
            {"schemas": [GROUP], "displayName": "Engineers", "members": [{"value": dana}]},
        )
        assert answer.status_code == 400

    def test_a_name_of_a_group_made_by_hand_is_a_conflict_with_a_way_out(
        self, cast: Cast, directory: Directory
    ) -> None:
        create_group(actor=SYSTEM, organization_id=cast.organization.pk, name="engineers")
        answer = directory.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "Engineers"})
        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
        assert "Rename" in answer.json()["detail"]
        assert directory.get("/Groups").json()["totalResults"] == 0

    @pytest.mark.parametrize(
        "fields", [{"displayName": "x" * 81}, {"displayName": "a\nb"}, {"externalId": "x" * 256}]
    )
    def test_text_that_does_not_fit_is_refused(
        self, directory: Directory, fields: dict[str, str]
    ) -> None:
        answer = directory.send(
            "POST", "/Groups", {"schemas": [GROUP], "displayName": "Engineers", **fields}
        )
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
        assert not Group.objects.exists()

    def test_an_external_id_that_is_taken_is_a_conflict(self, directory: Directory) -> None:
        for name, status in (("One", 201), ("Two", 409)):
            answer = directory.send(
                "POST", "/Groups", {"schemas": [GROUP], "displayName": name, "externalId": "7"}
            )
            assert answer.status_code == status
        assert Group.objects.count() == 1


class ChangeTests:
    def test_put_replaces_name_and_members(
        self, cast: Cast, directory: Directory, dana: str
    ) -> None:
        fox = directory.create_user(f"fox@{DOMAIN}")["id"]
        made = directory.create_group(members=(dana,))
        body = {"schemas": [GROUP], "displayName": "Agents", "members": [{"value": fox}]}
        answer = directory.send("PUT", f"/Groups/{made['id']}", body)
        assert answer.status_code == 200
        group = Group.objects.get()
        assert (group.name, emails_in(group)) == ("Agents", {f"fox@{DOMAIN}"})

    def test_a_name_that_is_taken_is_a_conflict(self, directory: Directory) -> None:
        directory.create_group("One")
        made = directory.create_group("Two")
        answer = directory.patch(
            f"/Groups/{made['id']}", {"op": "replace", "path": "displayName", "value": "ONE"}
        )
        assert answer.status_code == 409

    def test_nothing_changed_is_no_event(self, directory: Directory, dana: str) -> None:
        made = directory.create_group(members=(dana,))
        before = AuditEvent.objects.count()
        operation = {"op": "add", "path": "members", "value": [{"value": dana}]}
        assert directory.patch(f"/Groups/{made['id']}", operation).status_code == 200
        assert AuditEvent.objects.count() == before

    def test_people_whom_the_directory_does_not_know_stay(
        self, cast: Cast, directory: Directory, dana: str
    ) -> None:
        made = directory.create_group(members=(dana,))
        add_group_member(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            group_id=Group.objects.get().pk,
            user_id=cast.bob.pk,
        )
        answer = directory.patch(f"/Groups/{made['id']}", {"op": "remove", "path": "members"})
        assert "members" not in answer.json()
        assert emails_in(Group.objects.get()) == {"bob@example.com"}

    def test_only_so_many_change_at_a_time(
        self, directory: Directory, dana: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sso.services.scim_groups.MAX_CHANGES", 1)
        fox = directory.create_user(f"fox@{DOMAIN}")["id"]
        made = directory.create_group()
        operation = {"op": "add", "path": "members", "value": [{"value": dana}, {"value": fox}]}
        assert directory.patch(f"/Groups/{made['id']}", operation).status_code == 400

    def test_many_come_in_within_few_queries(
        self, directory: Directory, django_assert_max_num_queries: Any
    ) -> None:
        """But for one audit event each, which is written with its place in the chain."""
        ids = [directory.create_user(f"p{number}@{DOMAIN}")["id"] for number in range(10)]
        made = directory.create_group()
        operation = {"op": "add", "path": "members", "value": [{"value": pk} for pk in ids]}
        with django_assert_max_num_queries(110):
            assert directory.patch(f"/Groups/{made['id']}", operation).status_code == 200
        assert ScimGroup.objects.get().group.memberships.count() == 10

    def test_the_last_owner_stays_where_the_group_makes_them_owner(self, cast: Cast) -> None:
        directory = make_directory(cast.organization, domains=("example.com",))
        alice = directory.create_user("alice@example.com")
        made = directory.create_group("Owners", members=(alice["id"],))
        group = Group.objects.get()
        grant_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, group.pk),
            role="OrgOwner",
            resource=(ResourceType.ORGANIZATION, None),
        )
        RoleBinding.objects.filter(
            principal_type=PrincipalType.USER, principal_id=cast.alice.pk, role="OrgOwner"
        ).delete()
        path = f"/Groups/{made['id']}"
        assert directory.patch(path, {"op": "remove", "path": "members"}).status_code == 409
        assert directory.send("DELETE", path).status_code == 409
        assert emails_in(group) == {"alice@example.com"}


class DeleteTests:
    def test_takes_the_group_and_its_roles_and_leaves_its_people(
        self, cast: Cast, directory: Directory, dana: str
    ) -> None:
        made = directory.create_group(members=(dana,))
        answer = directory.send("DELETE", f"/Groups/{made['id']}")
        assert answer.status_code == 204
        assert not Group.objects.exists() and not ScimGroup.objects.exists()
        assert directory.get(f"/Users/{dana}").json().get("groups") is None
        assert AuditEvent.objects.filter(type="scim_group.deleted").exists()

    def test_who_is_removed_is_in_no_group_any_more(self, directory: Directory, dana: str) -> None:
        made = directory.create_group(members=(dana,))
        directory.send("DELETE", f"/Users/{dana}")
        assert "members" not in directory.get(f"/Groups/{made['id']}").json()


class SightTests:
    def test_groups_made_by_hand_and_those_of_others_are_not_there(
        self, cast: Cast, directory: Directory
    ) -> None:
        create_group(actor=SYSTEM, organization_id=cast.organization.pk, name="By hand")
        other = make_directory(cast.other_organization, domains=("umbrella.example",))
        theirs = other.create_group("Theirs")
        assert directory.get("/Groups").json()["totalResults"] == 0
        path = f"/Groups/{theirs['id']}"
        assert directory.get(path).status_code == 404
        assert directory.send("DELETE", path).status_code == 404
        operation = {"op": "replace", "path": "displayName", "value": "Ours"}
        assert directory.patch(path, operation).status_code == 404

    def test_owners_change_them_once_the_directory_is_off(
        self, cast: Cast, directory: Directory
    ) -> None:
        directory.create_group()
        change: dict[str, Any] = {
            "actor": cast.actor(cast.alice),
            "organization_id": cast.organization.pk,
            "group_id": Group.objects.get().pk,
            "name": "Agents",
        }
        who = {key: value for key, value in change.items() if key != "name"}
        person: dict[str, Any] = {"user_id": cast.bob.pk}
        for act in (
            lambda: update_group(**change),
            lambda: delete_group(**who),
            lambda: add_group_member(**who, **person),
            lambda: remove_group_member(**who, **person),
        ):
            with pytest.raises(Aborted, match="SCIM"):
                act()
        set_scim(actor=SYSTEM, connection_id=directory.connection.pk, enabled=False)
        assert update_group(**change).name == "Agents"

    def test_members_are_left_out_where_nobody_asks_for_them(
        self, directory: Directory, dana: str
    ) -> None:
        directory.create_group(members=(dana,))
        [group] = directory.get("/Groups", excludedAttributes="members").json()["Resources"]
        assert "members" not in group

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ('displayName eq "ENGINEERS"', 1),
            ('displayName co "gin"', 1),
            ('displayName eq "Others"', 0),
            ('members.value eq "{dana}"', 1),
            ('members[value eq "{dana}"]', 1),
            ('id eq "{group}"', 1),
            ('userName eq "x"', 400),
        ],
    )
    def test_filters(self, directory: Directory, dana: str, text: str, count: int) -> None:
        group = directory.create_group(members=(dana,))["id"]
        answer = directory.get("/Groups", filter=text.format(dana=dana, group=group))
        if count == 400:
            assert answer.status_code == 400
        else:
            assert answer.json()["totalResults"] == count


def test_unknown_ids_are_not_found(directory: Directory) -> None:
    for path in ("/Groups/nonsense", f"/Groups/{uuid4()}", "/Users/nonsense", f"/Users/{uuid4()}"):
        assert directory.get(path).status_code == 404
        assert directory.send("DELETE", path).status_code == 404
        assert not ScimUser.objects.exists()

"""Groups: a place in one is worth what the group holds."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from orgs.models import (
    CustomRole,
    Group,
    GroupMembership,
    Membership,
    PrincipalType,
    RoleBinding,
    User,
)
from orgs.permissions import Permission, Role, permissions_of
from orgs.services.bindings import bind_role
from orgs.services.groups import (
    add_group_member,
    create_group,
    delete_group,
    remove_group_member,
    update_group,
)
from tests.cast import Cast
from tests.factories import SYSTEM, make_member
from tests.pages import Browser

GROUPS = "/admin/groups"


def make(cast: Cast, who: User | None = None, name: str = "Leads") -> Group:
    """A group, by Alice unless told otherwise."""
    return create_group(
        actor=cast.actor(who or cast.alice), organization_id=cast.organization.pk, name=name
    )


def give(cast: Cast, group: Group, role: Role, *, on_project: bool = False) -> None:
    """A role for the group."""
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.GROUP, group.pk),
        role=role,
        resource_id=cast.project.pk if on_project else cast.organization.pk,
    )


def add(cast: Cast, who: User, group: Group, user: User) -> GroupMembership:
    """Somebody adds somebody."""
    return add_group_member(
        actor=cast.actor(who),
        organization_id=cast.organization.pk,
        group_id=group.pk,
        user_id=user.pk,
    )


def take(cast: Cast, who: User, group: Group, user: User) -> None:
    """Somebody takes somebody out."""
    remove_group_member(
        actor=cast.actor(who),
        organization_id=cast.organization.pk,
        group_id=group.pk,
        user_id=user.pk,
    )


def drop(cast: Cast, who: User, group: Group) -> None:
    """Somebody deletes it."""
    delete_group(actor=cast.actor(who), organization_id=cast.organization.pk, group_id=group.pk)


def rights(cast: Cast, user: User) -> frozenset[Permission]:
    """What somebody may do on the project."""
    return permissions_of(
        cast.actor(user), organization_id=cast.organization.pk, project_id=cast.project.pk
    )


def manager_of_groups(cast: Cast) -> User:
    """Somebody who may change groups and hold little else: Bob."""
    role = CustomRole.objects.create(
        organization=cast.organization,
        name="Group manager",
        resource_type="organization",
        permissions=["group:manage", "member:read", "organization:read"],
    )
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=role,
        resource_id=cast.organization.pk,
    )
    return cast.bob


class MembersTests:
    def test_in_the_group_a_person_holds_its_roles_outside_no_more(self, cast: Cast) -> None:
        group = make(cast)
        give(cast, group, Role.DATA_PLANE_VIEWER, on_project=True)
        assert Permission.DATA_READ not in rights(cast, cast.bob)
        add(cast, cast.alice, group, cast.bob)
        assert Permission.DATA_READ in rights(cast, cast.bob)
        take(cast, cast.alice, group, cast.bob)
        assert Permission.DATA_READ not in rights(cast, cast.bob)
        added, removed = AuditEvent.objects.filter(type__startswith="group_member.").order_by(
            "time"
        )
        assert (added.type, removed.type) == ("group_member.added", "group_member.removed")
        assert added.detail == {"user_id": str(cast.bob.pk), "email": "bob@example.com"}

    def test_nobody_adds_to_a_group_that_can_do_more_than_they_403(self, cast: Cast) -> None:
        bob, group = manager_of_groups(cast), make(cast)
        dora = make_member(cast.organization)
        add(cast, bob, group, dora)
        give(cast, group, Role.DATA_PLANE_VIEWER, on_project=True)
        for user in (bob, make_member(cast.organization)):
            with pytest.raises(PermissionDenied, match="you lack data:read"):
                add(cast, bob, group, user)

    def test_a_role_of_the_group_that_has_not_begun_counts_as_well_403(self, cast: Cast) -> None:
        bob, group = manager_of_groups(cast), make(cast)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, group.pk),
            role=Role.ORG_OWNER,
            resource_id=cast.organization.pk,
            period=(timezone.now() + timedelta(days=1), None),
        )
        with pytest.raises(PermissionDenied, match="Nobody can give more"):
            add(cast, bob, group, bob)

    def test_who_is_not_in_the_organization_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound, match=f"no user {cast.charlie.pk}"):
            add(cast, cast.alice, make(cast), cast.charlie)

    def test_who_is_in_it_already_409(self, cast: Cast) -> None:
        group = make(cast)
        add(cast, cast.alice, group, cast.bob)
        with pytest.raises(AlreadyExists):
            add(cast, cast.alice, group, cast.bob)

    def test_who_is_not_in_it_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound):
            take(cast, cast.alice, make(cast), cast.bob)

    def test_a_member_changes_no_groups_403(self, cast: Cast) -> None:
        group = make(cast)
        with pytest.raises(PermissionDenied, match="group:manage"):
            add(cast, cast.bob, group, cast.bob)

    def test_the_last_reachable_owner_stays_in_the_group_409(self, cast: Cast) -> None:
        group = make(cast)
        give(cast, group, Role.ORG_OWNER)
        add(cast, cast.alice, group, cast.bob)
        RoleBinding.objects.filter(principal_id=cast.alice.pk, role="OrgOwner").delete()
        with pytest.raises(Aborted, match="at least one owner"):
            take(cast, cast.bob, group, cast.bob)
        with pytest.raises(Aborted, match="at least one owner"):
            drop(cast, cast.bob, group)
        assert GroupMembership.objects.filter(user=cast.bob).exists()


class GroupTests:
    def test_a_deleted_group_takes_its_roles_with_it_and_leaves_its_people(
        self, cast: Cast
    ) -> None:
        group = make(cast)
        give(cast, group, Role.DATA_PLANE_VIEWER, on_project=True)
        add(cast, cast.alice, group, cast.bob)
        drop(cast, cast.alice, group)
        assert not RoleBinding.objects.filter(principal_id=group.pk).exists()
        assert Membership.objects.filter(user=cast.bob).exists()
        types = set(AuditEvent.objects.values_list("type", flat=True))
        assert {"group.deleted", "role_binding.deleted"} <= types
        with pytest.raises(NotFound):
            drop(cast, cast.alice, group)

    @pytest.mark.parametrize("name", ["leads", "LEADS ", "Leads"])
    def test_a_name_that_is_taken_in_whatever_case_409(self, cast: Cast, name: str) -> None:
        make(cast)
        with pytest.raises(AlreadyExists):
            make(cast, name=name)
        other = make(cast, name="Other")
        with pytest.raises(AlreadyExists):
            update_group(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                group_id=other.pk,
                name=name,
            )

    @pytest.mark.parametrize("name", ["", "x" * 81, "a\0b"])
    def test_a_name_that_breaks_its_rule_400(self, cast: Cast, name: str) -> None:
        with pytest.raises(InvalidArgument):
            make(cast, name=name)

    def test_a_member_makes_none_403_a_stranger_404(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            make(cast, cast.bob)
        with pytest.raises(NotFound):
            make(cast, cast.charlie)

    def test_another_organization_s_group_404(self, cast: Cast) -> None:
        group = make(cast)
        with pytest.raises(NotFound, match=f"no group {group.pk}"):
            delete_group(
                actor=cast.actor(cast.charlie),
                organization_id=cast.other_organization.pk,
                group_id=group.pk,
            )


class ApiTests:
    @pytest.fixture
    def alice(self, cast: Cast) -> Browser:
        """Alice, who just proved who she is."""
        browser = Browser()
        browser.sign_in("alice@example.com")
        return browser

    def send(self, browser: Browser, path: str, body: dict[str, Any], method: str = "post") -> Any:
        """One request with a JSON body."""
        return getattr(browser, method)(path, body, content_type="application/json")

    def test_made_filled_changed_emptied_and_deleted(self, cast: Cast, alice: Browser) -> None:
        made = self.send(alice, GROUPS, {"name": "Leads"})
        assert (made.status_code, made["ETag"], made.json()["member_count"]) == (201, '"1"', 0)
        path = f"{GROUPS}/{made.json()['id']}"
        added = self.send(alice, f"{path}/members", {"user_id": str(cast.bob.pk)})
        assert (added.status_code, added.json()["email"]) == (201, "bob@example.com")
        assert len(alice.get(f"{path}/members").json()["data"]) == 1
        changed = self.send(alice, path, {"description": "who decides"}, "patch")
        assert (changed["ETag"], changed.json()["member_count"]) == ('"2"', 1)
        assert alice.get(path).json() == changed.json()
        assert alice.get(GROUPS).json()["data"] == [changed.json()]
        assert alice.delete(f"{path}/members/{cast.bob.pk}").status_code == 202
        assert alice.delete(f"{path}/members/{cast.bob.pk}").status_code == 404
        stale = alice.delete(path, headers={"if-match": '"1"'})
        assert stale.status_code == 412
        assert alice.delete(path).status_code == 202
        assert alice.get(path).status_code == 404
        assert alice.get(f"{path}/members").status_code == 404

    def test_a_dry_run_tells_what_a_place_is_worth(self, cast: Cast, alice: Browser) -> None:
        group = make(cast)
        give(cast, group, Role.DATA_PLANE_VIEWER, on_project=True)
        path = f"{GROUPS}/{group.pk}/members"
        body = {"user_id": str(cast.bob.pk)}
        (flip,) = self.send(alice, f"{path}?dry_run=true", body).json()["flips"]
        assert (flip["resource_id"], flip["gained"]) == (str(cast.project.pk), ["data:read"])
        assert not group.memberships.exists()
        self.send(alice, path, body)
        (flip,) = alice.delete(f"{path}/{cast.bob.pk}?dry_run=true").json()["flips"]
        assert flip["lost"] == ["data:read"]
        assert group.memberships.exists()

    @pytest.mark.parametrize(
        "body", [{}, {"name": 5}, {"name": None}, {"name": "a", "x": 1}, {"name": "a\0"}]
    )
    def test_nonsense_400(self, alice: Browser, body: dict[str, Any]) -> None:
        assert self.send(alice, GROUPS, body).status_code == 400

    @pytest.mark.parametrize("user_id", ["me", None, 5])
    def test_nobody_s_id_400(self, cast: Cast, alice: Browser, user_id: object) -> None:
        path = f"{GROUPS}/{make(cast).pk}/members"
        assert self.send(alice, path, {"user_id": user_id}).status_code == 400
        assert self.send(alice, path, {"user_id": str(uuid.uuid4())}).status_code == 404

    @pytest.mark.parametrize("count", [2, 12])
    def test_more_rows_take_no_more_queries(
        self,
        cast: Cast,
        alice: Browser,
        count: int,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        group = make(cast)
        for number in range(count):
            make(cast, name=f"g{number}")
            GroupMembership.objects.create(group=group, user=make_member(cast.organization))
        alice.get(GROUPS)
        with django_assert_num_queries(4):
            alice.get(GROUPS)
        with django_assert_num_queries(5):
            alice.get(f"{GROUPS}/{group.pk}/members")

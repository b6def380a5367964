"""Giving roles and taking them away: every rule of it."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ReauthenticationRequired,
    Refused,
)
from orgs.models import (
    CustomRole,
    Group,
    GroupMembership,
    Invitation,
    Membership,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.permissions import (
    ACCESS_ROLES,
    BINDABLE,
    GRANTABLE,
    Permission,
    Role,
    authorize,
    permissions_of,
)
from orgs.plans import Plan
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import grant_role, revoke_role
from orgs.services.preview import preview
from orgs.tasks import remove_expired_roles
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_key, make_member, make_project, make_service_account
from tests.indexes.conftest import make_index
from tests.pages import Browser

ORG, PROJECT, INDEX = ResourceType.ORGANIZATION, ResourceType.PROJECT, ResourceType.INDEX


def grant(
    cast: Cast,
    who: Actor | User,
    role: Role | str = Role.ORG_MANAGER,
    *,
    to: tuple[PrincipalType, uuid.UUID] | None = None,
    on: tuple[ResourceType, uuid.UUID | None] = (ORG, None),
    **more: Any,
) -> RoleBinding:
    """Somebody gives a role in the cast's organization, to Bob unless told otherwise."""
    return grant_role(
        actor=cast.actor(who) if isinstance(who, User) else who,
        organization_id=cast.organization.pk,
        principal=to or (PrincipalType.USER, cast.bob.pk),
        role=str(role),
        resource=on,
        **more,
    )


def revoke(cast: Cast, who: Actor | User, row: RoleBinding) -> None:
    """Somebody takes a role away."""
    actor = cast.actor(who) if isinstance(who, User) else who
    revoke_role(actor=actor, organization_id=cast.organization.pk, binding_id=row.pk)


def held(user: User) -> list[str]:
    """The person's direct roles."""
    rows = RoleBinding.objects.filter(principal_id=user.pk).select_related("custom_role")
    return sorted(row.role_name for row in rows)


def make_invitation(cast: Cast, *, processed: bool = False) -> Invitation:
    """A pending invitation with a role, or an accepted one without."""
    now = timezone.now()
    invitation = Invitation.objects.create(
        organization=cast.organization,
        email="dora@example.com",
        invited_by="tests",
        expires_at=now + timedelta(days=7),
        processed_at=now if processed else None,
    )
    if not processed:
        grant(cast, SYSTEM, Role.ORG_MEMBER, to=(PrincipalType.INVITE, invitation.pk))
    return invitation


class GrantTests:
    def test_an_owner_gives_an_organization_role_that_counts_at_once(self, cast: Cast) -> None:
        row = grant(cast, cast.alice, reason="Leads search")
        assert (row.role, row.granted_by, row.reason) == (
            "OrgManager",
            "alice@example.com",
            "Leads search",
        )
        authorize(
            cast.actor(cast.bob),
            Permission.PROJECT_CREATE,
            organization_id=cast.organization.pk,
        )
        event = AuditEvent.objects.get(type="role_binding.created", resource_id=str(row.pk))
        assert (event.permission, event.actor_label) == ("member:update", "alice@example.com")
        assert event.detail["reason"] == "Leads search"

    def test_a_project_owner_adds_members_to_their_project_only(self, cast: Cast) -> None:
        grant(cast, cast.alice, Role.PROJECT_OWNER, on=(PROJECT, cast.project.pk))
        dora = make_member(cast.organization)
        to = (PrincipalType.USER, dora.pk)
        grant(cast, cast.bob, Role.PROJECT_VIEWER, to=to, on=(PROJECT, cast.project.pk))
        with pytest.raises(PermissionDenied, match="member:update"):
            grant(cast, cast.bob, Role.ORG_MANAGER, to=to)
        elsewhere = make_project(cast.organization)
        with pytest.raises(NotFound, match=f"no project {elsewhere.pk}"):
            grant(cast, cast.bob, Role.PROJECT_VIEWER, to=to, on=(PROJECT, elsewhere.pk))

    def test_a_project_owner_adds_nobody_from_outside_the_organization_404(
        self, cast: Cast
    ) -> None:
        grant(cast, cast.alice, Role.PROJECT_OWNER, on=(PROJECT, cast.project.pk))
        with pytest.raises(NotFound, match=f"no user {cast.charlie.pk}"):
            grant(
                cast,
                cast.bob,
                Role.PROJECT_VIEWER,
                to=(PrincipalType.USER, cast.charlie.pk),
                on=(PROJECT, cast.project.pk),
            )

    def test_a_project_owner_adds_no_invited_people_403(self, cast: Cast) -> None:
        grant(cast, cast.alice, Role.PROJECT_OWNER, on=(PROJECT, cast.project.pk))
        to = (PrincipalType.INVITE, make_invitation(cast).pk)
        with pytest.raises(PermissionDenied, match="member:invite"):
            grant(cast, cast.bob, Role.PROJECT_VIEWER, to=to, on=(PROJECT, cast.project.pk))
        grant(cast, cast.alice, Role.PROJECT_VIEWER, to=to, on=(PROJECT, cast.project.pk))

    @pytest.mark.parametrize("role", sorted(set(Role) - {Role.ORG_OWNER}))
    def test_no_other_organization_role_gives_roles_403(self, cast: Cast, role: Role) -> None:
        on_organization = role in BINDABLE["organization"]
        if role != Role.ORG_MEMBER:
            grant(
                cast,
                SYSTEM,
                role,
                on=(ORG, None) if on_organization else (PROJECT, cast.project.pk),
            )
        dora = make_member(cast.organization)
        with pytest.raises(PermissionDenied):
            grant(cast, cast.bob, Role.ORG_MEMBER, to=(PrincipalType.USER, dora.pk))

    def test_giving_organization_roles_needs_a_fresh_proof_of_who_asks_403(
        self, cast: Cast
    ) -> None:
        stale = actor_for(cast.alice, authenticated_at=timezone.now() - timedelta(hours=12))
        with pytest.raises(ReauthenticationRequired):
            grant(cast, stale)

    @pytest.mark.parametrize("kind", [ORG, PROJECT, INDEX])
    @pytest.mark.parametrize("role", list(Role))
    def test_a_role_is_held_where_it_can_be_else_400(
        self, cast: Cast, kind: ResourceType, role: Role
    ) -> None:
        pk = {ORG: None, PROJECT: cast.project.pk, INDEX: make_index(cast.project).pk}[kind]
        dora = make_member(cast.organization)
        RoleBinding.objects.filter(principal_id=dora.pk).delete()
        to = (PrincipalType.USER, dora.pk)
        if role in BINDABLE[kind]:
            row = grant(cast, cast.alice, role, to=to, on=(kind, pk))
            assert (row.resource_type, row.project_id is None) == (kind, kind == ORG)
        else:
            with pytest.raises(InvalidArgument, match="can't be held on resource_type"):
                grant(cast, cast.alice, role, to=to, on=(kind, pk))

    def test_a_role_that_does_not_exist_400(self, cast: Cast) -> None:
        for role in ("Owner", "", "a\0b", str(uuid.uuid4()), "x" * 5000):
            with pytest.raises(InvalidArgument, match="There is no role"):
                grant(cast, cast.alice, role)

    def test_a_resource_of_another_organization_404(self, cast: Cast) -> None:
        foreign = make_index(cast.other_project)
        for on in (
            (ORG, cast.other_organization.pk),
            (PROJECT, cast.other_project.pk),
            (INDEX, foreign.pk),
            (PROJECT, uuid.uuid4()),
        ):
            with pytest.raises(NotFound, match=f"There is no {on[0].value} {on[1]}, or none"):
                grant(cast, cast.alice, Role.PROJECT_VIEWER, on=on)

    def test_a_principal_of_another_organization_404(self, cast: Cast) -> None:
        account, _ = make_service_account(cast.other_organization)
        group = Group.objects.create(organization=cast.other_organization, name="Leads")
        key, _ = make_key(cast.other_project)
        for to in (
            (PrincipalType.USER, cast.charlie.pk),
            (PrincipalType.USER, uuid.uuid4()),
            (PrincipalType.SERVICE_ACCOUNT, account.pk),
            (PrincipalType.GROUP, group.pk),
            (PrincipalType.API_KEY, key.pk),
            (PrincipalType.INVITE, uuid.uuid4()),
        ):
            with pytest.raises(NotFound, match=f"There is no {to[0].value} {to[1]}, or none"):
                grant(cast, cast.alice, Role.PROJECT_VIEWER, to=to, on=(PROJECT, cast.project.pk))

    def test_the_project_s_id_is_needed_400(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="resource_id is missing"):
            grant(cast, cast.alice, Role.PROJECT_VIEWER, on=(PROJECT, None))

    def test_an_identical_role_binding_409_names_it(self, cast: Cast) -> None:
        row = grant(cast, cast.alice)
        with pytest.raises(AlreadyExists, match=str(row.pk)):
            grant(cast, cast.alice)
        assert held(cast.bob) == ["OrgManager", "OrgMember"]

    def test_an_expired_identical_one_makes_room(self, cast: Cast) -> None:
        old = grant(cast, cast.alice, period=(None, timezone.now() + timedelta(hours=1)))
        RoleBinding.objects.filter(pk=old.pk).update(expires_at=timezone.now())
        new = grant(cast, cast.alice)
        assert not RoleBinding.objects.filter(pk=old.pk).exists()
        assert new.expires_at is None

    def test_a_role_for_an_accepted_invitation_409(self, cast: Cast) -> None:
        to = (PrincipalType.INVITE, make_invitation(cast, processed=True).pk)
        with pytest.raises(AlreadyExists, match="accepted already"):
            grant(cast, cast.alice, Role.ORG_MEMBER, to=to)

    def test_nobody_gives_more_than_they_hold_403(self, cast: Cast) -> None:
        lead = CustomRole.objects.create(
            organization=cast.organization,
            name="Lead",
            resource_type=ORG,
            permissions=["member:read", "member:update", "organization:read"],
        )
        grant(cast, cast.alice, lead.name)
        dora = make_member(cast.organization)
        to = (PrincipalType.USER, dora.pk)
        with pytest.raises(PermissionDenied, match="you lack billing:read, billing:update"):
            grant(cast, cast.bob, Role.ORG_BILLING_ADMIN, to=to)
        grant(cast, cast.bob, lead.name, to=to)
        assert held(dora) == ["Lead", "OrgMember"]

    def test_a_period_has_to_make_sense_400(self, cast: Cast) -> None:
        now = timezone.now()
        with pytest.raises(InvalidArgument, match="is past"):
            grant(cast, cast.alice, period=(None, now))
        later = now + timedelta(days=2)
        with pytest.raises(InvalidArgument, match="earlier than expires_at"):
            grant(cast, cast.alice, period=(later, later))

    def test_a_role_counts_from_its_begin_to_its_end(self, cast: Cast) -> None:
        now = timezone.now()
        row = grant(cast, cast.alice, period=(now + timedelta(days=1), now + timedelta(days=2)))
        assert "OrgManager" not in [each.role for each in cast.actor(cast.bob).bindings]
        RoleBinding.objects.filter(pk=row.pk).update(not_before=now)
        assert "OrgManager" in [each.role for each in cast.actor(cast.bob).bindings]
        RoleBinding.objects.filter(pk=row.pk).update(expires_at=timezone.now())
        assert "OrgManager" not in [each.role for each in cast.actor(cast.bob).bindings]

    @pytest.mark.parametrize("reason", ["x" * 501, "a\0b", "a\nb", "\ud800"])
    def test_a_reason_that_breaks_its_rule_400(self, cast: Cast, reason: str) -> None:
        with pytest.raises(InvalidArgument, match="reason"):
            grant(cast, cast.alice, reason=reason)

    def test_an_organization_s_own_role_is_held_where_it_was_made_for_400(self, cast: Cast) -> None:
        role = CustomRole.objects.create(
            organization=cast.organization,
            name="Reader",
            resource_type=INDEX,
            permissions=["data:read"],
        )
        index = make_index(cast.project)
        row = grant(cast, cast.alice, str(role.pk), on=(INDEX, index.pk))
        assert row.role_name == "Reader"
        with pytest.raises(InvalidArgument, match="made for resource_type index"):
            grant(cast, cast.alice, "reader", on=(PROJECT, cast.project.pk))

    def test_another_organization_s_own_role_is_none_here_400(self, cast: Cast) -> None:
        role = CustomRole.objects.create(
            organization=cast.other_organization,
            name="Reader",
            resource_type=ORG,
            permissions=["member:read"],
        )
        for named in ("Reader", str(role.pk)):
            with pytest.raises(InvalidArgument, match="There is no role"):
                grant(cast, cast.alice, named)

    def test_a_role_on_an_index_counts_on_that_one_only(self, cast: Cast) -> None:
        one, two = make_index(cast.project), make_index(cast.project, "two")
        grant(cast, cast.alice, Role.DATA_PLANE_VIEWER, on=(INDEX, one.pk))
        where: dict[str, Any] = {
            "organization_id": cast.organization.pk,
            "project_id": cast.project.pk,
        }
        actor = cast.actor(cast.bob)
        authorize(actor, Permission.DATA_READ, index_id=one.pk, **where)
        for index_id in (two.pk, None):
            with pytest.raises(PermissionDenied):
                authorize(actor, Permission.DATA_READ, index_id=index_id, **where)


class ApiKeyRoleTests:
    def test_a_key_holds_access_roles_on_its_own_project_only_400(self, cast: Cast) -> None:
        key, _ = make_key(cast.project, [Role.DATA_PLANE_VIEWER])
        to = (PrincipalType.API_KEY, key.pk)
        for role in sorted(BINDABLE["project"] - ACCESS_ROLES):
            with pytest.raises(InvalidArgument, match="An API key holds"):
                grant(cast, cast.alice, role, to=to, on=(PROJECT, cast.project.pk))
        with pytest.raises(InvalidArgument, match="An API key holds"):
            grant(cast, cast.alice, Role.ORG_MEMBER, to=to)
        with pytest.raises(InvalidArgument, match="An API key holds"):
            on = (INDEX, make_index(cast.project).pk)
            grant(cast, cast.alice, Role.PROJECT_VIEWER, to=to, on=on)
        elsewhere = (PROJECT, make_project(cast.organization).pk)
        with pytest.raises(InvalidArgument, match="belongs to the project"):
            grant(cast, cast.alice, Role.PROJECT_VIEWER, to=to, on=elsewhere)
        grant(cast, cast.alice, Role.PROJECT_VIEWER, to=to, on=(PROJECT, cast.project.pk))

    def test_a_project_owner_does_not_learn_of_keys_of_other_projects_404(self, cast: Cast) -> None:
        grant(cast, cast.alice, Role.PROJECT_OWNER, on=(PROJECT, cast.project.pk))
        key, _ = make_key(make_project(cast.organization))
        with pytest.raises(NotFound, match=f"no api_key {key.pk}"):
            grant(
                cast,
                cast.bob,
                Role.PROJECT_VIEWER,
                to=(PrincipalType.API_KEY, key.pk),
                on=(PROJECT, cast.project.pk),
            )

    def test_a_plan_without_key_roles_leaves_the_default_role_403(self, cast: Cast) -> None:
        cast.organization.plan = Plan.FREE
        cast.organization.save()
        key, _ = make_key(cast.project)
        RoleBinding.objects.filter(principal_id=key.pk).delete()
        to, on = (PrincipalType.API_KEY, key.pk), (PROJECT, cast.project.pk)
        with pytest.raises(PermissionDenied, match="plan"):
            grant(cast, cast.alice, Role.DATA_PLANE_VIEWER, to=to, on=on)
        grant(cast, cast.alice, Role.PROJECT_EDITOR, to=to, on=on)

    def test_bindings_and_the_key_s_roles_are_one_thing(self, cast: Cast) -> None:
        key, _ = make_key(cast.project, [Role.DATA_PLANE_VIEWER])
        (row,) = RoleBinding.objects.filter(principal_id=key.pk)
        grant(
            cast,
            cast.alice,
            Role.CONTROL_PLANE_VIEWER,
            to=(PrincipalType.API_KEY, key.pk),
            on=(PROJECT, cast.project.pk),
        )
        revoke(cast, cast.alice, row)
        (left,) = RoleBinding.objects.filter(principal_id=key.pk)
        assert left.role == "ControlPlaneViewer"


class RevokeTests:
    def test_it_counts_at_once_and_is_written_down(self, cast: Cast) -> None:
        row = grant(cast, cast.alice)
        revoke(cast, cast.alice, row)
        assert held(cast.bob) == ["OrgMember"]
        event = AuditEvent.objects.get(type="role_binding.deleted", resource_id=str(row.pk))
        assert event.permission == "member:update"

    def test_repeating_it_404(self, cast: Cast) -> None:
        row = grant(cast, cast.alice)
        revoke(cast, cast.alice, row)
        with pytest.raises(NotFound, match=f"There is no role binding {row.pk}, or none"):
            revoke(cast, cast.alice, row)

    def test_an_absent_and_an_invisible_one_are_404_in_the_same_words(self, cast: Cast) -> None:
        on_project = grant(cast, cast.alice, Role.PROJECT_OWNER, on=(PROJECT, cast.project.pk))
        foreign = RoleBinding.objects.get(principal_id=cast.charlie.pk, role="OrgOwner")
        dora = make_member(cast.organization)
        for actor, row in ((cast.actor(cast.alice), foreign), (cast.actor(dora), on_project)):
            with pytest.raises(NotFound) as refused:
                revoke(cast, actor, row)
            assert refused.value.message == (
                f"There is no role binding {row.pk}, or none that you may see."
            )

    def test_a_member_sees_organization_roles_but_takes_none_away_403(self, cast: Cast) -> None:
        row = RoleBinding.objects.get(principal_id=cast.alice.pk, role="OrgOwner")
        with pytest.raises(PermissionDenied, match="member:update"):
            revoke(cast, cast.bob, row)

    def test_the_last_owner_s_409(self, cast: Cast) -> None:
        row = RoleBinding.objects.get(principal_id=cast.alice.pk, role="OrgOwner")
        with pytest.raises(Aborted, match="at least one owner"):
            revoke(cast, cast.alice, row)
        assert held(cast.alice) == ["OrgOwner"]

    def test_the_last_organization_role_while_others_remain_409(self, cast: Cast) -> None:
        row = RoleBinding.objects.get(principal_id=cast.bob.pk)
        grant(cast, cast.alice, Role.PROJECT_VIEWER, on=(PROJECT, cast.project.pk))
        with pytest.raises(Aborted, match="last role on the organization"):
            revoke(cast, cast.alice, row)

    def test_the_last_organization_role_while_in_a_group_409(self, cast: Cast) -> None:
        row = RoleBinding.objects.get(principal_id=cast.bob.pk)
        group = Group.objects.create(organization=cast.organization, name="Leads")
        GroupMembership.objects.create(group=group, user=cast.bob)
        with pytest.raises(Aborted, match="in groups"):
            revoke(cast, cast.alice, row)

    def test_the_last_organization_role_of_an_invitation_409(self, cast: Cast) -> None:
        invitation = make_invitation(cast)
        row = RoleBinding.objects.get(principal_id=invitation.pk)
        with pytest.raises(Aborted, match="Delete the invitation"):
            revoke(cast, cast.alice, row)

    def test_with_their_only_role_a_person_leaves_the_organization(self, cast: Cast) -> None:
        revoke(cast, cast.alice, RoleBinding.objects.get(principal_id=cast.bob.pk))
        assert not Membership.objects.filter(user=cast.bob).exists()
        assert User.objects.filter(pk=cast.bob.pk, is_active=True).exists()
        assert AuditEvent.objects.filter(
            type="member.removed", resource_id=str(cast.bob.pk)
        ).exists()

    def test_the_new_role_first_then_the_old_one_changes_a_role(self, cast: Cast) -> None:
        old = RoleBinding.objects.get(principal_id=cast.bob.pk)
        grant(cast, cast.alice)
        revoke(cast, cast.alice, old)
        assert held(cast.bob) == ["OrgManager"]
        assert Membership.objects.filter(user=cast.bob).exists()


class ExpiryTests:
    def over(self, row: RoleBinding) -> None:
        """The role's time is over."""
        RoleBinding.objects.filter(pk=row.pk).update(expires_at=timezone.now())

    def test_expired_roles_are_removed_and_written_down_once(self, cast: Cast) -> None:
        row = grant(cast, cast.alice)
        self.over(row)
        for _ in range(2):
            remove_expired_roles()
        assert held(cast.bob) == ["OrgMember"]
        event = AuditEvent.objects.get(type="role_binding.deleted", resource_id=str(row.pk))
        assert (event.actor_kind, event.detail["reason"]) == ("system", "Expired")

    def test_with_the_last_organization_role_a_person_goes_with_all_the_others(
        self, cast: Cast
    ) -> None:
        grant(cast, cast.alice, Role.PROJECT_VIEWER, on=(PROJECT, cast.project.pk))
        self.over(RoleBinding.objects.get(principal_id=cast.bob.pk, role="OrgMember"))
        remove_expired_roles()
        assert held(cast.bob) == []
        assert not Membership.objects.filter(user=cast.bob).exists()

    def test_what_is_not_over_stays(self, cast: Cast) -> None:
        grant(cast, cast.alice, period=(None, timezone.now() + timedelta(hours=1)))
        before = RoleBinding.objects.count()
        remove_expired_roles()
        assert RoleBinding.objects.count() == before


class ListTests:
    PATH = "/admin/role-bindings"

    def seen(self, browser: Browser, query: str = "") -> list[dict[str, Any]]:
        """What the list holds."""
        answer = browser.get(f"{self.PATH}{query}")
        assert answer.status_code == 200, answer.content
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def test_filters_add_up(self, cast: Cast) -> None:
        grant(cast, cast.alice, Role.PROJECT_VIEWER, on=(PROJECT, cast.project.pk))
        browser = Browser(cast.alice)
        of_bob = f"?principal_type=user&principal_id={cast.bob.pk}"
        assert [row["role"] for row in self.seen(browser, of_bob)] == ["OrgMember", "ProjectViewer"]
        on_project = f"{of_bob}&resource_type=project&resource_id={cast.project.pk}"
        assert [row["role"] for row in self.seen(browser, on_project)] == ["ProjectViewer"]
        assert self.seen(browser, f"{on_project}&role=OrgMember") == []
        assert len(self.seen(browser, "?principal_type=api_key")) == 1

    @pytest.mark.parametrize("name", ["principal", "resource"])
    def test_an_id_needs_its_type_400(self, cast: Cast, name: str) -> None:
        answer = Browser(cast.alice).get(f"{self.PATH}?{name}_id={uuid.uuid4()}")
        assert answer.status_code == 400
        assert f"{name}_type" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("query", ["principal_type=robot", "resource_id=7", "color=blue"])
    def test_other_nonsense_400(self, cast: Cast, query: str) -> None:
        assert Browser(cast.alice).get(f"{self.PATH}?{query}").status_code == 400

    def test_a_member_sees_organization_roles_and_their_own(self, cast: Cast) -> None:
        grant(cast, cast.alice, Role.DATA_PLANE_VIEWER, on=(PROJECT, cast.project.pk))
        seen = self.seen(Browser(cast.bob))
        assert [row["role"] for row in seen] == ["OrgOwner", "OrgMember", "DataPlaneViewer"]

    def test_who_sees_a_project_sees_its_roles(self, cast: Cast) -> None:
        grant(cast, cast.alice, Role.PROJECT_MEMBER, on=(PROJECT, cast.project.pk))
        seen = self.seen(Browser(cast.bob), "?resource_type=project")
        assert {row["principal_type"] for row in seen} == {"user", "api_key"}

    def test_another_organization_s_are_not_there(self, cast: Cast) -> None:
        ids = {row["id"] for row in self.seen(Browser(cast.charlie))}
        ours = RoleBinding.objects.filter(organization=cast.organization)
        assert ids
        assert not ids & {str(row.pk) for row in ours}

    def test_what_is_over_is_not_there(self, cast: Cast) -> None:
        row = grant(cast, cast.alice)
        RoleBinding.objects.filter(pk=row.pk).update(expires_at=timezone.now())
        assert str(row.pk) not in {each["id"] for each in self.seen(Browser(cast.alice))}
        assert Browser(cast.alice).get(f"{self.PATH}/{row.pk}").status_code == 404

    @pytest.mark.parametrize("count", [2, 12])
    def test_more_rows_take_no_more_queries(
        self, cast: Cast, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        role = CustomRole.objects.create(
            organization=cast.organization, name="Own", resource_type=ORG, permissions=["x"]
        )
        for _ in range(count):
            to = (PrincipalType.USER, make_member(cast.organization).pk)
            grant(cast, SYSTEM, role.name, to=to)
        browser = Browser(cast.alice)
        browser.get(self.PATH)
        with django_assert_num_queries(4):
            browser.get(self.PATH)


class ApiTests:
    PATH = "/admin/role-bindings"

    def send(self, browser: Browser, cast: Cast, query: str = "", **more: Any) -> Any:
        """Ask for a role of Bob's."""
        body = {
            "principal_type": "user",
            "principal_id": str(cast.bob.pk),
            "resource_type": "organization",
            "role": "OrgManager",
            **more,
        }
        return browser.post(self.PATH + query, body, content_type="application/json")

    def test_made_read_and_removed(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        made = self.send(browser, cast)
        assert made.status_code == 200
        body = made.json()
        assert (body["role"], body["resource_id"]) == ("OrgManager", str(cast.organization.pk))
        path = f"{self.PATH}/{body['id']}"
        assert browser.get(path).json() == body
        assert browser.delete(path).status_code == 202
        assert browser.delete(path).status_code == 404
        assert browser.get(path).status_code == 404

    def test_an_invisible_one_and_an_absent_one_get_the_same_answer(self, cast: Cast) -> None:
        row = grant(cast, cast.alice, Role.PROJECT_OWNER, on=(PROJECT, cast.project.pk))
        dora = Browser(make_member(cast.organization))
        absent = uuid.uuid4()
        for method in (dora.get, dora.delete):
            hidden = method(f"{self.PATH}/{row.pk}")
            missing = method(f"{self.PATH}/{absent}")
            assert (hidden.status_code, missing.status_code) == (404, 404)
            assert hidden.content == missing.content.replace(
                str(absent).encode(), str(row.pk).encode()
            )

    @pytest.mark.parametrize(
        "more",
        [
            {"role": 5},
            {"role": ""},
            {"role": None},
            {"principal_id": "me"},
            {"principal_type": "robot"},
            {"resource_type": ["organization"]},
            {"expires_at": "tomorrow"},
            {"expires_at": "2020-01-01T00:00:00Z"},
            {"expires_at": "9999-12-31T23:59:59-14:00"},
            {"not_before": "0001-01-01T00:00:00+14:00"},
            {"reason": "x" * 501},
            {"reason": "a\0b"},
            {"granted_by": "me"},
        ],
    )
    def test_nonsense_400(self, cast: Cast, more: dict[str, Any]) -> None:
        answer = self.send(Browser(cast.alice), cast, **more)
        assert answer.status_code == 400, answer.content
        assert answer.json()["error"]["code"] == "INVALID_ARGUMENT"

    def test_a_dry_run_tells_what_flips_and_writes_nothing(self, cast: Cast) -> None:
        rows, events = RoleBinding.objects.count(), AuditEvent.objects.count()
        answer = self.send(Browser(cast.alice), cast, "?dry_run=true")
        assert answer.json() == {
            "dry_run": True,
            "flips": [
                {
                    "principal_type": "user",
                    "principal_id": str(cast.bob.pk),
                    "resource_type": "organization",
                    "resource_id": str(cast.organization.pk),
                    "project_id": None,
                    "gained": ["project:create"],
                    "lost": [],
                }
            ],
        }
        bob = RoleBinding.objects.get(principal_id=cast.bob.pk)
        answer = Browser(cast.alice).delete(f"{self.PATH}/{bob.pk}?dry_run=true")
        assert answer.json()["flips"][0]["lost"] == ["member:read", "organization:read"]
        assert (RoleBinding.objects.count(), AuditEvent.objects.count()) == (rows, events)
        assert Membership.objects.filter(user=cast.bob).exists()

    def test_a_dry_run_refuses_what_the_change_would_be_refused(self, cast: Cast) -> None:
        assert self.send(Browser(cast.bob), cast, "?dry_run=true").status_code == 403
        alice = RoleBinding.objects.get(principal_id=cast.alice.pk, role="OrgOwner")
        answer = Browser(cast.alice).delete(f"{self.PATH}/{alice.pk}?dry_run=true")
        assert answer.status_code == 409


class PreviewTests:
    """What a dry run foretells is what happens, on every resource there is."""

    def world(self, cast: Cast) -> list[tuple[uuid.UUID | None, uuid.UUID | None]]:
        """The organization, two projects, two indexes in each: as (project, index)."""
        scopes: list[tuple[uuid.UUID | None, uuid.UUID | None]] = [(None, None)]
        for project in (cast.project, make_project(cast.organization)):
            scopes.append((project.pk, None))
            for name in ("one", "two"):
                scopes.append((project.pk, make_index(project, name).pk))
        return scopes

    def rights(
        self, cast: Cast, scopes: list[tuple[uuid.UUID | None, uuid.UUID | None]]
    ) -> dict[tuple[uuid.UUID | None, uuid.UUID | None], set[str]]:
        """What Bob may do, resource by resource."""
        actor = actor_for(User.objects.get(pk=cast.bob.pk))
        return {
            (project, index): {
                each.value
                for each in permissions_of(
                    actor,
                    organization_id=cast.organization.pk,
                    project_id=project,
                    index_id=index,
                )
                & GRANTABLE["index" if index else "project" if project else "organization"]
            }
            for project, index in scopes
        }

    @pytest.mark.parametrize("before", ["", "ProjectViewer", "DataPlaneEditor on index", "group"])
    @pytest.mark.parametrize(
        "change", ["OrgOwner", "OrgManager", "ProjectEditor", "ProjectViewer on index", "join"]
    )
    def test_everything_that_flips_is_foretold_and_nothing_else(
        self, cast: Cast, before: str, change: str
    ) -> None:
        scopes = self.world(cast)
        index = next(each for each in scopes if each[1])[1]
        assert index is not None
        group = Group.objects.create(organization=cast.organization, name="Leads")
        of_group = (PrincipalType.GROUP, group.pk)
        grant(cast, SYSTEM, Role.CONTROL_PLANE_EDITOR, to=of_group, on=(INDEX, index))
        grant(cast, SYSTEM, Role.DATA_PLANE_VIEWER, to=of_group, on=(PROJECT, cast.project.pk))
        if before == "group":
            GroupMembership.objects.create(group=group, user=cast.bob)
        elif before:
            role, _, on_index = before.partition(" on ")
            on = (INDEX, index) if on_index else (PROJECT, cast.project.pk)
            grant(cast, SYSTEM, role, on=on)

        def act() -> None:
            if change == "join":
                if before == "group":
                    GroupMembership.objects.filter(user=cast.bob).delete()
                else:
                    GroupMembership.objects.create(group=group, user=cast.bob)
                return
            role, _, on_index = change.partition(" on ")
            on = (ORG, None) if role.startswith("Org") else (PROJECT, cast.project.pk)
            on = (INDEX, index) if on_index else on
            grant(cast, SYSTEM, role, on=on)

        was = self.rights(cast, scopes)
        found = preview(
            act,
            organization_id=cast.organization.pk,
            affected=lambda: frozenset({(PrincipalType.USER, cast.bob.pk)}),
        )
        assert self.rights(cast, scopes) == was
        act()
        now = self.rights(cast, scopes)
        told = {(each.resource_type.value, each.resource_id): each for each in found}
        for project, index_id in scopes:
            chain = [
                ("index", index_id),
                ("project", project),
                ("organization", cast.organization.pk),
            ]
            flip = next((told[each] for each in chain if each in told), None)
            kind = "index" if index_id else "project" if project else "organization"
            gained = {*(flip.gained if flip else ())} & {p.value for p in GRANTABLE[kind]}
            lost = {*(flip.lost if flip else ())} & {p.value for p in GRANTABLE[kind]}
            scope = (project, index_id)
            assert (gained, lost) == (now[scope] - was[scope], was[scope] - now[scope])


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def at_once(self, *calls: Any) -> list[str]:
        """How each ended that began at the same moment in a thread of its own."""
        gate = threading.Barrier(len(calls))

        def run(call: Any) -> str:
            gate.wait(timeout=30)
            try:
                call()
            except Refused as refused:
                return refused.code.value
            finally:
                connection.close()
            return "done"

        with ThreadPoolExecutor(len(calls)) as pool:
            return sorted(pool.map(run, calls))

    def test_two_owners_who_remove_each_other_leave_one(self) -> None:
        cast = make_cast()
        second = grant(cast, SYSTEM, Role.ORG_OWNER)
        first = RoleBinding.objects.get(principal_id=cast.alice.pk, role="OrgOwner")
        alice, bob = cast.actor(cast.alice), cast.actor(cast.bob)
        ends = self.at_once(lambda: revoke(cast, alice, second), lambda: revoke(cast, bob, first))
        assert ends == ["ABORTED", "done"]
        owners = RoleBinding.objects.filter(organization=cast.organization, role="OrgOwner")
        assert owners.count() == 1

    def test_of_two_identical_roles_given_at_once_one_is_409(self) -> None:
        cast = make_cast()
        actor = cast.actor(cast.alice)
        ends = self.at_once(*[lambda: grant(cast, actor)] * 3)
        assert ends == ["ALREADY_EXISTS", "ALREADY_EXISTS", "done"]
        assert held(cast.bob) == ["OrgManager", "OrgMember"]

    def test_of_two_who_take_the_same_role_away_one_gets_404(self) -> None:
        cast = make_cast()
        row = grant(cast, SYSTEM)
        actor = cast.actor(cast.alice)
        ends = self.at_once(*[lambda: revoke(cast, actor, row)] * 3)
        assert ends == ["NOT_FOUND", "NOT_FOUND", "done"]
        assert AuditEvent.objects.filter(type="role_binding.deleted").count() == 1

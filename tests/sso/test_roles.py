"""Roles out of what an identity provider says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.errors import Aborted, InvalidArgument, NotFound, PermissionDenied
from orgs.models import CustomRole, Organization, PrincipalType, ResourceType, RoleBinding, User
from orgs.permissions import Role
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import bind_role, grant_role
from projects.models import Project
from sso.actors import idp_actor
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection, Identity, ScimUser
from sso.services.roles import (
    RoleSpec,
    apply_exact,
    check_default_roles,
    check_mappings,
    check_roles_mode,
    parse_pinecone_role,
    preview,
    sync_roles,
)
from tests.cast import Cast
from tests.factories import SYSTEM, make_member, make_organization, make_project, make_user
from tests.orgs.racing import at_once
from tests.sso.support import make_connection

Mode = Connection.RolesMode
pytestmark = pytest.mark.django_db


def said(
    connection: Connection, *, groups: Iterable[str] = (), roles: Iterable[str] = ()
) -> VerifiedAssertion:
    """What the identity provider says of somebody."""
    return VerifiedAssertion(
        connection_id=connection.pk,
        assertion_id="_1",
        not_on_or_after=timezone.now(),
        issuer=connection.idp_entity_id,
        uid="somebody",
        email="somebody@example.com",
        groups=tuple(groups),
        roles=tuple(roles),
    )


def sync(
    connection: Connection,
    user: User,
    *,
    groups: Iterable[str] = (),
    roles: Iterable[str] = (),
    is_first: bool = False,
) -> tuple[str, ...]:
    """A sign-in."""
    return sync_roles(
        actor=idp_actor(connection),
        connection=connection,
        user=user,
        assertion=said(connection, groups=groups, roles=roles),
        is_first=is_first,
    )


def held(user: User) -> set[str]:
    """The roles of the person's own, those on a project with its name."""
    names = {project.pk: project.name for project in Project.objects.all()}
    rows = RoleBinding.objects.filter(principal_id=user.pk).select_related("custom_role")
    return {
        f"{row.role_name} {names[row.project_id]}" if row.project_id else row.role_name
        for row in rows
    }


def give(user: User, organization: Organization, role: Role | CustomRole, **more: Any) -> None:
    """A role by hand, on the organization or on `resource_id`."""
    bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.USER, user.pk),
        role=role,
        **{"resource_id": organization.pk, **more},
    )


def without_roles(user: User) -> User:
    """Somebody who has just got their place."""
    RoleBinding.objects.filter(principal_id=user.pk).delete()
    return user


def mapping(value: str, role: str, project: Project | None = None) -> dict[str, str | None]:
    return {"value": value, "role": role, "project_id": str(project.pk) if project else None}


PROJECT_ID = "3b9f7a52-6a0c-4f0e-9c53-1c6a8d6f2a10"


class PineconeFormTests:
    def test_organization_role(self) -> None:
        assert parse_pinecone_role("pinecone:OrgOwner") == RoleSpec("OrgOwner")

    def test_project_role(self) -> None:
        found = parse_pinecone_role(f"pinecone:project:{PROJECT_ID}:ProjectEditor")
        assert found is not None
        assert (found.role, str(found.project_id)) == ("ProjectEditor", PROJECT_ID)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "OrgOwner",
            "pinecone",
            "pinecone:",
            "pinecone:orgowner",
            "PINECONE:OrgOwner",
            "pinecone:OrgOwner ",
            "pinecone:ProjectOwner",
            "pinecone:OrgOwner:OrgOwner",
            f"pinecone:project:{PROJECT_ID}:OrgOwner",
            f"pinecone:project:{PROJECT_ID}",
            "pinecone:project:search:ProjectEditor",
            "pinecone:project::ProjectEditor",
            f"other:project:{PROJECT_ID}:ProjectEditor",
        ],
    )
    def test_everything_else_is_no_role(self, value: str) -> None:
        assert parse_pinecone_role(value) is None


class DefaultModeTests:
    def test_who_is_new_gets_the_default_roles(self, cast: Cast) -> None:
        connection = make_connection(
            cast.organization,
            default_role="OrgManager",
            default_project_roles=[{"role": "ProjectViewer", "project_id": str(cast.project.pk)}],
        )
        bob = without_roles(cast.bob)
        assert sync(connection, bob, is_first=True) == ()
        assert held(bob) == {"OrgManager", "ProjectViewer Search"}

    def test_mappings_do_not_count(self, cast: Cast) -> None:
        connection = make_connection(
            cast.organization, role_mappings=[mapping("admins", "OrgOwner")]
        )
        bob = without_roles(cast.bob)
        sync(connection, bob, groups=["admins"], roles=["pinecone:OrgOwner"], is_first=True)
        assert held(bob) == {"OrgMember"}

    def test_later_sign_ins_change_nothing(self, cast: Cast) -> None:
        connection = make_connection(cast.organization, default_role="OrgManager")
        give(cast.bob, cast.organization, Role.ORG_BILLING_ADMIN)
        sync(connection, cast.bob)
        assert held(cast.bob) == {"OrgMember", "OrgBillingAdmin"}

    def test_a_member_before_single_sign_on_keeps_to_their_role(self, cast: Cast) -> None:
        connection = make_connection(cast.organization, default_role="OrgManager")
        sync(connection, cast.bob, is_first=True)
        assert held(cast.bob) == {"OrgMember"}

    def test_a_project_that_is_gone_is_skipped_with_a_note(self, cast: Cast) -> None:
        gone = str(uuid4())
        connection = make_connection(
            cast.organization,
            default_project_roles=[{"role": "ProjectViewer", "project_id": gone}],
        )
        bob = without_roles(cast.bob)
        notes = sync(connection, bob, is_first=True)
        assert held(bob) == {"OrgMember"}
        assert [gone in note for note in notes] == [True]

    def test_another_organizations_project_counts_as_gone(self, cast: Cast) -> None:
        foreign = str(cast.other_project.pk)
        connection = make_connection(
            cast.organization,
            default_project_roles=[{"role": "ProjectOwner", "project_id": foreign}],
        )
        bob = without_roles(cast.bob)
        sync(connection, bob, is_first=True)
        assert held(bob) == {"OrgMember"}


class AddModeTests:
    def connection(self, cast: Cast) -> Connection:
        return make_connection(
            cast.organization,
            roles_mode=Mode.ADD,
            role_mappings=[
                mapping("engineers", "ProjectEditor", cast.project),
                mapping("leads", "OrgManager"),
                mapping("lead-role", "OrgBillingAdmin"),
            ],
        )

    def test_new_people_get_default_and_mapped_roles(self, cast: Cast) -> None:
        bob = without_roles(cast.bob)
        sync(self.connection(cast), bob, groups=["engineers", "others"], is_first=True)
        assert held(bob) == {"OrgMember", "ProjectEditor Search"}

    def test_missing_roles_are_added_and_none_taken(self, cast: Cast) -> None:
        connection = self.connection(cast)
        give(cast.bob, cast.organization, Role.PROJECT_VIEWER, resource_id=cast.project.pk)
        sync(connection, cast.bob, groups=["leads"], roles=["lead-role", "pinecone:OrgOwner"])
        sync(connection, cast.bob)
        assert held(cast.bob) == {
            *("OrgMember", "ProjectViewer Search"),
            *("OrgManager", "OrgBillingAdmin", "OrgOwner"),
        }

    def test_groups_are_compared_exactly(self, cast: Cast) -> None:
        sync(self.connection(cast), cast.bob, groups=["Leads", "leads ", "lead"])
        assert held(cast.bob) == {"OrgMember"}

    def test_pinecones_form_counts_among_roles_only(self, cast: Cast) -> None:
        sync(self.connection(cast), cast.bob, groups=["pinecone:OrgOwner"])
        assert held(cast.bob) == {"OrgMember"}

    def test_a_role_that_somebody_gave_for_a_time_stays_so(self, cast: Cast) -> None:
        connection = self.connection(cast)
        hour = timezone.now() + timedelta(hours=1)
        give(cast.bob, cast.organization, Role.ORG_MANAGER, period=(None, hour))
        notes = sync(connection, cast.bob, groups=["leads"])
        assert RoleBinding.objects.get(role="OrgManager").expires_at == hour
        assert [note for note in notes if "for a time" in note]

    def test_a_role_whose_time_is_over_is_given_anew(self, cast: Cast) -> None:
        connection = self.connection(cast)
        past = timezone.now() - timedelta(hours=1)
        give(cast.bob, cast.organization, Role.ORG_MANAGER, period=(None, past))
        sync(connection, cast.bob, groups=["leads"])
        assert RoleBinding.objects.get(role="OrgManager").expires_at is None

    def test_without_the_entitlement_only_default_roles_are_given(self, cast: Cast) -> None:
        cast.organization.overrides = {"saml_roles": False}
        cast.organization.save()
        connection = self.connection(cast)
        bob = without_roles(cast.bob)
        notes = sync(connection, bob, groups=["leads"], is_first=True)
        assert held(bob) == {"OrgMember"}
        assert "plan" in notes[0]


class ExactModeTests:
    def connection(self, cast: Cast) -> Connection:
        return make_connection(
            cast.organization,
            roles_mode=Mode.EXACT,
            default_role="OrgManager",
            role_mappings=[
                mapping("engineers", "ProjectEditor", cast.project),
                mapping("owners", "OrgOwner"),
                mapping("managers", "OrgManager"),
            ],
        )

    def test_roles_become_exactly_the_mapped_ones(self, cast: Cast) -> None:
        hour = timezone.now() + timedelta(hours=1)
        give(cast.bob, cast.organization, Role.ORG_BILLING_ADMIN, period=(None, hour))
        give(cast.bob, cast.organization, Role.PROJECT_OWNER, resource_id=cast.project.pk)
        sync(self.connection(cast), cast.bob, groups=["managers", "engineers"])
        assert held(cast.bob) == {"OrgManager", "ProjectEditor Search"}

    def test_values_in_pinecones_form(self, cast: Cast) -> None:
        sync(
            self.connection(cast),
            cast.bob,
            roles=[
                f"pinecone:project:{cast.project.pk}:DataPlaneViewer",
                "pinecone:OrgMember",
                "pinecone:Nonsense",
                f"pinecone:project:{cast.other_project.pk}:ProjectOwner",
            ],
        )
        assert held(cast.bob) == {"OrgMember", "DataPlaneViewer Search"}

    def test_who_has_a_project_only_keeps_a_place_in_the_organization(self, cast: Cast) -> None:
        bob = without_roles(cast.bob)
        sync(self.connection(cast), bob, groups=["engineers"], is_first=True)
        assert held(bob) == {"OrgMember", "ProjectEditor Search"}

    def test_a_role_for_a_time_becomes_one_for_good(self, cast: Cast) -> None:
        hour = timezone.now() + timedelta(hours=1)
        give(cast.bob, cast.organization, Role.ORG_MANAGER, period=(None, hour))
        sync(self.connection(cast), cast.bob, groups=["managers"])
        assert RoleBinding.objects.get(role="OrgManager").expires_at is None

    @pytest.mark.parametrize("values", [(), ("nonsense",), (f"pinecone:project:{PROJECT_ID}:x",)])
    def test_without_any_role_nobody_comes_in(self, cast: Cast, values: tuple[str, ...]) -> None:
        connection = self.connection(cast)
        with pytest.raises(SignInRefused) as caught:
            sync(connection, cast.bob, roles=values, is_first=True)
        assert caught.value.code == Code.NO_ROLES
        assert held(cast.bob) == {"OrgMember"}

    def test_the_same_again_writes_nothing(self, cast: Cast) -> None:
        connection = self.connection(cast)
        sync(connection, cast.bob, groups=["engineers"])
        before = set(RoleBinding.objects.values_list("pk", flat=True))
        sync(connection, cast.bob, groups=["engineers"])
        assert set(RoleBinding.objects.values_list("pk", flat=True)) == before

    def test_the_last_owner_keeps_the_role(self, cast: Cast) -> None:
        notes = sync(self.connection(cast), cast.alice, groups=["managers"])
        assert held(cast.alice) == {"OrgOwner", "OrgManager"}
        assert [note for note in notes if "last owner" in note]

    def test_an_owner_beside_another_loses_the_role(self, cast: Cast) -> None:
        give(cast.bob, cast.organization, Role.ORG_OWNER)
        assert sync(self.connection(cast), cast.bob, groups=["managers"]) == ()
        assert held(cast.bob) == {"OrgManager"}

    def test_other_organizations_are_left_alone(self, cast: Cast) -> None:
        other = make_organization(cast.bob, "Bob's own")
        sync(self.connection(cast), cast.bob, groups=["managers"])
        assert RoleBinding.objects.get(organization=other, principal_id=cast.bob.pk).role == (
            "OrgOwner"
        )

    def test_without_the_entitlement_roles_stay(self, cast: Cast) -> None:
        cast.organization.overrides = {"saml_roles": False}
        cast.organization.save()
        sync(self.connection(cast), cast.bob)
        assert held(cast.bob) == {"OrgMember"}

    def test_by_hand_nothing_changes_as_long_as_the_plan_includes_it(self, cast: Cast) -> None:
        connection = self.connection(cast)
        Identity.objects.create(
            connection=connection, user=cast.bob, uid="bob", opens_sessions=True
        )

        def grant() -> None:
            grant_role(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                principal=(PrincipalType.USER, cast.bob.pk),
                role="OrgManager",
                resource=(ResourceType.ORGANIZATION, None),
            )

        with pytest.raises(Aborted, match=connection.name):
            grant()
        cast.organization.overrides = {"saml_roles": False}
        cast.organization.save()
        grant()
        assert held(cast.bob) == {"OrgMember", "OrgManager"}

    def test_what_was_done_is_in_the_audit_trail(self, cast: Cast) -> None:
        connection = self.connection(cast)
        sync(connection, cast.bob, groups=["managers"])
        events = AuditEvent.objects.filter(
            actor_kind="sso", actor_id=str(connection.pk), organization_id=cast.organization.pk
        )
        assert sorted(events.values_list("type", flat=True)) == [
            EventType.ROLE_BINDING_CREATED,
            EventType.ROLE_BINDING_DELETED,
        ]

    def test_more_roles_than_anybody_means_are_refused(self, cast: Cast) -> None:
        values = [f"pinecone:project:{uuid4()}:ProjectEditor" for _ in range(201)]
        connection = self.connection(cast)
        with pytest.raises(SignInRefused) as caught:
            sync(connection, cast.bob, roles=values)
        assert caught.value.code == Code.INVALID_RESPONSE

    def test_who_is_no_member_gets_nothing(self, cast: Cast) -> None:
        connection = self.connection(cast)
        with pytest.raises(NotFound):
            sync(connection, cast.charlie, groups=["managers"])
        assert held(cast.charlie) == {"OrgOwner"}

    def test_another_organizations_identity_provider_gives_nothing(self, cast: Cast) -> None:
        connection = self.connection(cast)
        foreign = make_connection(cast.other_organization)
        with pytest.raises(NotFound):
            sync_roles(
                actor=idp_actor(foreign),
                connection=connection,
                user=cast.bob,
                assertion=said(connection, groups=["owners"]),
                is_first=False,
            )
        assert held(cast.bob) == {"OrgMember"}


class ScimTests:
    def test_a_person_of_the_directory_is_left_to_it(self, cast: Cast) -> None:
        connection = make_connection(
            cast.organization, roles_mode=Mode.EXACT, role_mappings=[mapping("a", "OrgManager")]
        )
        ScimUser.objects.create(connection=connection, user=cast.bob, user_name=cast.bob.email)
        sync(connection, cast.bob, groups=["a"])
        assert held(cast.bob) == {"OrgManager"}  # The directory is switched off.
        connection.scim_enabled = True
        connection.save()
        assert sync(connection, cast.bob, roles=["pinecone:OrgOwner"]) == ()
        assert sync(connection, cast.bob) == ()
        assert held(cast.bob) == {"OrgManager"}

    def test_a_directory_sets_exactly_what_it_says(self, cast: Cast) -> None:
        connection = make_connection(cast.organization)
        actor = idp_actor(connection)
        specs = {RoleSpec("ProjectEditor", cast.project.pk), RoleSpec("OrgManager")}
        apply_exact(actor=actor, connection=connection, user=cast.bob, specs=specs)
        assert held(cast.bob) == {"OrgManager", "ProjectEditor Search"}
        apply_exact(actor=actor, connection=connection, user=cast.bob, specs=())
        assert held(cast.bob) == {"OrgMember"}


class PreviewTests:
    def test_says_in_words_what_a_sign_in_would_give(self, cast: Cast) -> None:
        connection = make_connection(
            cast.organization,
            roles_mode=Mode.ADD,
            role_mappings=[mapping("engineers", "ProjectEditor", cast.project)],
        )
        found = preview(connection, said(connection, groups=["engineers"]))
        assert found.roles == (
            "OrgMember on the organization",
            "ProjectEditor on the project Search",
        )
        assert (found.notes, found.refusal) == ((), "")

    def test_says_that_nobody_would_come_in(self, cast: Cast) -> None:
        connection = make_connection(cast.organization, roles_mode=Mode.EXACT)
        found = preview(connection, said(connection))
        assert found.roles == ()
        assert "no role" in found.refusal


class SettingUpTests:
    def custom(self, organization: Organization, **fields: Any) -> CustomRole:
        return CustomRole.objects.create(
            organization=organization,
            **{
                "name": "Reader",
                "resource_type": "project",
                "permissions": ["project:read"],
                **fields,
            },
        )

    def test_a_role_of_the_organizations_own_outlives_its_name(self, cast: Cast) -> None:
        role = self.custom(cast.organization)
        rows = check_mappings(
            cast.actor(cast.alice),
            cast.organization.pk,
            [{"value": "readers", "role": "reader", "project_id": str(cast.project.pk)}],
        )
        assert rows == [
            {"value": "readers", "role": str(role.pk), "project_id": str(cast.project.pk)}
        ]
        role.name = "Looker"
        role.save()
        connection = make_connection(cast.organization, roles_mode=Mode.EXACT, role_mappings=rows)
        sync(connection, cast.bob, groups=["readers"])
        assert held(cast.bob) == {"OrgMember", "Looker Search"}

    @pytest.mark.parametrize(
        ("rows", "named"),
        [
            ("admins", "role_mappings"),
            (["admins"], "role_mappings"),
            ([{"value": "a", "role": "OrgMember"}] * 501, "501"),
            ([{"value": "a", "role": "OrgMember"}] * 2, "second time"),
            ([{"value": "a", "role": "OrgMember", "project": None}], "project"),
            ([{"role": "OrgMember"}], "value"),
            ([{"value": "", "role": "OrgMember"}], "value"),
            ([{"value": " a", "role": "OrgMember"}], "value"),
            ([{"value": "a\0", "role": "OrgMember"}], "value"),
            ([{"value": "a" * 257, "role": "OrgMember"}], "value"),
            ([{"value": 5, "role": "OrgMember"}], "value"),
            ([{"value": "a"}], "role"),
            ([{"value": "a", "role": ["OrgMember"]}], "role"),
            ([{"value": "a", "role": "Boss"}], "Boss"),
            ([{"value": "a", "role": "ProjectEditor"}], "ProjectEditor"),
            ([{"value": "a", "role": "ProjectEditor", "project_id": "search"}], "project_id"),
            ([{"value": "a", "role": "ProjectEditor", "project_id": 5}], "project_id"),
            ([{"value": "a", "role": "ProjectEditor", "project_id": PROJECT_ID}], PROJECT_ID),
        ],
        ids=lambda value: value if isinstance(value, str) and value != PROJECT_ID else None,
    )
    def test_a_mapping_that_could_not_work_is_refused(
        self, cast: Cast, rows: object, named: str
    ) -> None:
        with pytest.raises(InvalidArgument, match=named):
            check_mappings(cast.actor(cast.alice), cast.organization.pk, rows)

    def test_a_role_made_for_indexes_is_refused(self, cast: Cast) -> None:
        self.custom(cast.organization, resource_type="index", permissions=["data:read"])
        rows = [{"value": "a", "role": "Reader", "project_id": str(cast.project.pk)}]
        with pytest.raises(InvalidArgument, match="held there"):
            check_mappings(cast.actor(cast.alice), cast.organization.pk, rows)

    def test_another_organizations_project_is_refused(self, cast: Cast) -> None:
        rows = [mapping("a", "ProjectViewer", cast.other_project)]
        with pytest.raises(InvalidArgument):
            check_mappings(cast.actor(cast.alice), cast.organization.pk, rows)

    def configurer(self, cast: Cast) -> Actor:
        """Who may configure single sign-on and look at people, and nothing else."""
        role = self.custom(
            cast.organization,
            name="Configurer",
            resource_type="organization",
            permissions=["sso:manage", "organization:read", "member:read"],
        )
        give(cast.bob, cast.organization, role)
        return actor_for(cast.bob, authenticated_at=timezone.now())

    def test_nobody_hands_out_more_than_they_hold(self, cast: Cast) -> None:
        actor, pk = self.configurer(cast), cast.organization.pk
        assert check_mappings(actor, pk, [mapping("a", "OrgMember")])
        with pytest.raises(PermissionDenied):
            check_mappings(actor, pk, [mapping("a", "OrgOwner")])
        with pytest.raises(PermissionDenied):
            check_default_roles(actor, pk, "OrgManager", [])
        with pytest.raises(PermissionDenied):
            check_roles_mode(actor, cast.organization, Mode.ADD)

    @pytest.mark.parametrize("role", ["OrgOwner", "ProjectOwner", "", None, ["OrgMember"]])
    def test_default_roles_are_organization_roles_below_owner(
        self, cast: Cast, role: object
    ) -> None:
        with pytest.raises(InvalidArgument, match="default_role"):
            check_default_roles(cast.actor(cast.alice), cast.organization.pk, role, [])

    def test_a_default_project_role_needs_its_project(self, cast: Cast) -> None:
        rows = [{"role": "ProjectViewer"}]
        with pytest.raises(InvalidArgument, match="project_id"):
            check_default_roles(cast.actor(cast.alice), cast.organization.pk, "OrgMember", rows)

    def test_roles_of_the_identity_provider_need_the_plan(self, cast: Cast) -> None:
        cast.organization.overrides = {"saml_roles": False}
        actor = cast.actor(cast.alice)
        assert check_roles_mode(actor, cast.organization, "default") == "default"
        with pytest.raises(PermissionDenied, match="roles from the identity provider"):
            check_roles_mode(actor, cast.organization, "exact")


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_two_sign_ins_at_once_give_each_role_once(self) -> None:
        organization = make_organization()
        user, project = make_member(organization), make_project(organization)
        connection = make_connection(
            organization,
            roles_mode=Mode.EXACT,
            role_mappings=[mapping("a", "ProjectEditor", project), mapping("a", "OrgManager")],
        )
        ends = at_once(*[lambda: sync(connection, user, groups=["a"])] * 4)
        assert ends == {"done": 4}
        assert sorted(
            RoleBinding.objects.filter(principal_id=user.pk).values_list("role", flat=True)
        ) == ["OrgManager", "ProjectEditor"]

    def test_two_owners_who_lose_the_role_at_once_leave_one(self) -> None:
        owner = make_user()
        organization = make_organization(owner)
        second = make_member(organization)
        give(second, organization, Role.ORG_OWNER)
        connection = make_connection(
            organization, roles_mode=Mode.EXACT, role_mappings=[mapping("a", "OrgManager")]
        )
        ends = at_once(
            lambda: sync(connection, owner, groups=["a"]),
            lambda: sync(connection, second, groups=["a"]),
        )
        assert ends == {"done": 2}
        owners = RoleBinding.objects.filter(organization=organization, role="OrgOwner")
        assert owners.count() == 1

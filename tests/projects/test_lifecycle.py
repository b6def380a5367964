"""Changing, archiving, restoring and deleting projects."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from indexes.models import Index
from indexes.rules import IndexSpec
from indexes.selectors import list_indexes
from indexes.services import create_index, delete_index
from keys.models import ApiKey
from keys.selectors.api_keys import verify_key
from orgs.actors import Actor
from orgs.errors import (
    FailedPrecondition,
    Forbidden,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PaymentRequired,
    PermissionDenied,
    ReauthenticationRequired,
)
from orgs.models import Organization, PrincipalType, RoleBinding
from orgs.permissions import Role
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import bind_role
from projects.contents import all_contents, register_contents
from projects.models import Project, ProjectKey
from projects.selectors import get_project
from projects.services import (
    Changes,
    archive_project,
    create_project,
    delete_project,
    restore_project,
    update_project,
)
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project
from tests.indexes.conftest import make_index
from tests.indexes.test_services import at_once
from tests.projects.test_services import let_in


def change(project: Project, actor: Actor = SYSTEM, **fields: Any) -> Project:
    """The project after the change."""
    changes = Changes(**fields)
    return update_project(actor=actor, project_id=project.pk, changes=changes)


def events(project: Project, prefix: str = "project.") -> list[str]:
    """The audit trail of the project, oldest first."""
    found = AuditEvent.objects.filter(resource_id=str(project.pk), type__startswith=prefix)
    return list(found.order_by("time", "id").values_list("type", flat=True))


def key_actor(project: Project, role: Role = Role.PROJECT_EDITOR) -> Actor:
    """An API key of the project."""
    key = verify_key(make_key(project, [role])[1])
    assert key is not None
    return key.actor()


class UpdateProjectTests:
    def test_what_is_given_changes_and_the_rest_stays(self, cast: Cast) -> None:
        changed = change(cast.project, cast.actor(cast.alice), name=" Renamed ", max_indexes=3)
        cast.project.refresh_from_db()
        assert (changed.name, changed.max_indexes, changed.max_api_keys) == ("Renamed", 3, 1000)
        assert (cast.project.name, cast.project.version) == ("Renamed", 2)
        event = AuditEvent.objects.get(type="project.updated")
        assert event.changes == {
            "name": {"before": "Search", "after": "Renamed"},
            "max_indexes": {"before": 200, "after": 3},
        }
        assert event.permission == "project:update"

    def test_no_change_is_no_event_and_no_version(self, cast: Cast) -> None:
        assert change(cast.project, name="Search", max_pods=0, max_indexes=200).version == 1
        assert events(cast.project) == ["project.created"]

    def test_a_project_member_may_not(self, cast: Cast) -> None:
        let_in(cast, Role.PROJECT_MEMBER, cast.project.pk)
        with pytest.raises(PermissionDenied, match="project:update"):
            change(cast.project, cast.actor(cast.bob), name="Mine")

    def test_a_foreign_project_and_an_absent_one_are_the_same(self, cast: Cast) -> None:
        for project_id in (cast.other_project.pk, uuid.uuid4()):
            with pytest.raises(NotFound, match=f"There is no project {project_id}, or none"):
                update_project(
                    actor=cast.actor(cast.alice), project_id=project_id, changes=Changes(name="a")
                )

    @pytest.mark.parametrize("pods", [1, -1, 10**30])
    def test_pods_are_refused_with_the_reason(self, cast: Cast, pods: int) -> None:
        with pytest.raises(InvalidArgument, match="every index is serverless"):
            change(cast.project, max_pods=pods)

    @pytest.mark.parametrize("field", ["max_indexes", "max_api_keys"])
    @pytest.mark.parametrize("value", [-1, 100_001, 2**63])
    def test_a_limit_out_of_range_is_refused(self, cast: Cast, field: str, value: int) -> None:
        with pytest.raises(OutOfRange, match=f"{field} {value} is out of range: 0 to 100000"):
            change(cast.project, SYSTEM, **{field: value})

    def test_a_stale_version_is_told_under_the_lock(self, cast: Cast) -> None:
        def refuse(version: int) -> None:
            raise FailedPrecondition(f"version {version}")

        with pytest.raises(FailedPrecondition, match="version 1"):
            update_project(
                actor=SYSTEM,
                project_id=cast.project.pk,
                changes=Changes(name="Late"),
                check=refuse,
            )
        cast.project.refresh_from_db()
        assert cast.project.name == "Search"


class CustomerManagedKeysTests:
    def test_the_flag_is_one_way(self, cast: Cast) -> None:
        assert change(cast.project, force_encryption_with_cmek=True).force_encryption_with_cmek
        assert change(cast.project, force_encryption_with_cmek=True).version == 2
        with pytest.raises(FailedPrecondition, match="can't be switched off"):
            change(cast.project, force_encryption_with_cmek=False)

    def test_false_on_a_project_that_never_had_it_is_no_change(self, cast: Cast) -> None:
        assert change(cast.project, force_encryption_with_cmek=False).version == 1

    def test_the_plan_has_to_include_it(self, cast: Cast) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(plan="Standard")
        with pytest.raises(PermissionDenied, match="this organization has Standard"):
            change(cast.project, force_encryption_with_cmek=True)
        with pytest.raises(PermissionDenied, match="this organization has Standard"):
            create_project(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                name="Locked",
                force_encryption_with_cmek=True,
            )
        assert not Project.objects.filter(name="Locked").exists()

    def test_a_project_can_begin_with_it(self, cast: Cast) -> None:
        project = create_project(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            name="Locked",
            force_encryption_with_cmek=True,
        )
        project.refresh_from_db()
        assert project.force_encryption_with_cmek

    def test_after_the_plan_was_changed_it_stays(self, cast: Cast) -> None:
        change(cast.project, force_encryption_with_cmek=True)
        Organization.objects.filter(pk=cast.organization.pk).update(plan="Standard")
        assert change(cast.project, force_encryption_with_cmek=True, name="Still").name == "Still"


class ArrearsTests:
    @pytest.mark.parametrize("status", ["PastDue", "Suspended", "Deactivated"])
    def test_nothing_is_made_for_an_organization_in_arrears(self, cast: Cast, status: str) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(payment_status=status)
        with pytest.raises(PaymentRequired, match=status):
            create_project(
                actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name="a"
            )
        with pytest.raises(PaymentRequired, match=status):
            make_index(cast.project)

    @pytest.mark.parametrize("status", ["Active", "PaymentPending", "Restricted"])
    def test_any_other_status_hinders_nothing(self, cast: Cast, status: str) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(payment_status=status)
        make_index(make_project(cast.organization))


class ArchiveProjectTests:
    def test_repeating_changes_nothing(self, cast: Cast) -> None:
        actor = cast.actor(cast.alice)
        first = archive_project(actor=actor, project_id=cast.project.pk)
        again = archive_project(actor=actor, project_id=cast.project.pk)
        assert (again.archived_at, again.version) == (first.archived_at, 2)
        for _ in range(2):
            restored = restore_project(actor=actor, project_id=cast.project.pk)
            assert (restored.archived_at, restored.version) == (None, 3)
        assert events(cast.project)[1:] == ["project.archived", "project.restored"]

    def test_it_takes_what_deleting_takes(self, cast: Cast) -> None:
        let_in(cast, Role.PROJECT_MANAGER, cast.project.pk)
        with pytest.raises(PermissionDenied, match="project:delete"):
            archive_project(actor=cast.actor(cast.bob), project_id=cast.project.pk)
        with pytest.raises(PermissionDenied, match="project:update"):
            restore_project(actor=cast.actor(cast.bob), project_id=cast.project.pk)

    def test_a_person_has_to_be_fresh_to_archive_but_not_to_restore(self, cast: Cast) -> None:
        stale = actor_for(cast.alice)
        with pytest.raises(ReauthenticationRequired):
            archive_project(actor=stale, project_id=cast.project.pk)
        archive_project(actor=cast.actor(cast.alice), project_id=cast.project.pk)
        assert restore_project(actor=stale, project_id=cast.project.pk).archived_at is None

    def test_a_key_of_an_archived_project_is_told_why(self, cast: Cast) -> None:
        make_index(cast.project)
        actor = key_actor(cast.project)
        archive_project(actor=SYSTEM, project_id=cast.project.pk)
        for attempt in (
            lambda: list_indexes(actor, cast.project.pk),
            lambda: delete_index(actor=actor, project_id=cast.project.pk, name="products"),
            lambda: create_index(
                actor=actor, project_id=cast.project.pk, spec=IndexSpec("more", dimension=3)
            ),
        ):
            with pytest.raises(Forbidden, match="is archived"):
                attempt()
        restore_project(actor=SYSTEM, project_id=cast.project.pk)
        assert list_indexes(actor, cast.project.pk).count() == 1

    def test_a_key_without_the_permission_is_not_told(self, cast: Cast) -> None:
        actor = key_actor(cast.project, Role.DATA_PLANE_VIEWER)
        archive_project(actor=SYSTEM, project_id=cast.project.pk)
        with pytest.raises(PermissionDenied, match="index:read"):
            list_indexes(actor, cast.project.pk)

    def test_nobody_makes_an_index_there_but_people_still_see_and_delete(self, cast: Cast) -> None:
        make_index(cast.project)
        actor = cast.actor(cast.alice)
        archive_project(actor=actor, project_id=cast.project.pk)
        with pytest.raises(FailedPrecondition, match="is archived"):
            create_index(
                actor=actor, project_id=cast.project.pk, spec=IndexSpec("more", dimension=3)
            )
        assert [each.name for each in list_indexes(actor, cast.project.pk)] == ["products"]
        assert get_project(actor, cast.project.pk).is_archived
        delete_index(actor=actor, project_id=cast.project.pk, name="products")


class DeleteProjectTests:
    def test_keys_roles_and_encryption_keys_go_with_it(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        let_in(cast, Role.PROJECT_MANAGER, cast.project.pk)
        delete_project(actor=cast.actor(cast.alice), project_id=cast.project.pk)
        assert not Project.objects.filter(pk=cast.project.pk).exists()
        assert not ProjectKey.objects.filter(project_id=cast.project.pk).exists()
        assert not ApiKey.objects.filter(pk=key.pk).exists()
        assert not RoleBinding.objects.filter(project_id=cast.project.pk).exists()
        assert verify_key(secret) is None
        event = AuditEvent.objects.get(type="project.deleted")
        # The cast's key and this one, each with a role; and Bob's role.
        assert event.detail == {"api_keys": 2, "role_bindings": 3, "encryption_keys": 1}
        assert Project.objects.filter(pk=cast.other_project.pk).exists()
        assert verify_key(cast.other_key) is not None

    def test_repeated_it_is_not_found(self, cast: Cast) -> None:
        actor = cast.actor(cast.alice)
        delete_project(actor=actor, project_id=cast.project.pk)
        with pytest.raises(NotFound, match=f"There is no project {cast.project.pk}, or none"):
            delete_project(actor=actor, project_id=cast.project.pk)
        with pytest.raises(NotFound):
            get_project(actor, cast.project.pk)

    def test_a_stranger_is_told_the_same_of_a_project_that_is_there(self, cast: Cast) -> None:
        with pytest.raises(NotFound, match=f"There is no project {cast.project.pk}, or none"):
            delete_project(actor=cast.actor(cast.charlie), project_id=cast.project.pk)

    def test_while_indexes_remain_it_is_refused_with_their_number(self, cast: Cast) -> None:
        for name in ("one", "two"):
            make_index(cast.project, name)
        delete_index(actor=SYSTEM, project_id=cast.project.pk, name="two")
        with pytest.raises(FailedPrecondition, match="still has indexes: 2"):
            delete_project(actor=SYSTEM, project_id=cast.project.pk)
        assert cast.project.encryption_keys.exists()

    def test_what_any_room_registers_keeps_the_project(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("projects.contents._contents", {c.kind: c for c in all_contents()})
        register_contents("backups", lambda pk: 7 if pk == cast.project.pk else 0)
        with pytest.raises(FailedPrecondition, match="still has backups: 7"):
            delete_project(actor=SYSTEM, project_id=cast.project.pk)
        delete_project(actor=SYSTEM, project_id=cast.other_project.pk)

    def test_rows_of_deleted_indexes_do_not_keep_it(self, cast: Cast) -> None:
        index = make_index(cast.project)
        other = make_index(cast.other_project)
        delete_index(actor=SYSTEM, project_id=cast.project.pk, name=index.name)
        Index.objects.update(deleted_at=timezone.now())
        delete_project(actor=SYSTEM, project_id=cast.project.pk)
        assert list(Index.objects.all()) == [other]

    def test_deletion_protection_of_an_index_protects_its_project(self, cast: Cast) -> None:
        make_index(cast.project, deletion_protection=True)
        with pytest.raises(FailedPrecondition, match="still has indexes: 1"):
            delete_project(actor=SYSTEM, project_id=cast.project.pk)

    def test_a_role_on_an_index_of_it_goes_too(self, cast: Cast) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.DATA_PLANE_VIEWER,
            resource_id=uuid.uuid4(),
            index_in=cast.project.pk,
        )
        delete_project(actor=SYSTEM, project_id=cast.project.pk)
        assert not RoleBinding.objects.filter(principal_id=cast.bob.pk, project_id__isnull=False)

    def test_a_person_has_to_be_fresh(self, cast: Cast) -> None:
        with pytest.raises(ReauthenticationRequired):
            delete_project(actor=actor_for(cast.alice), project_id=cast.project.pk)

    def test_a_project_manager_may_not(self, cast: Cast) -> None:
        let_in(cast, Role.PROJECT_MANAGER, cast.project.pk)
        with pytest.raises(PermissionDenied, match="project:delete"):
            delete_project(actor=cast.actor(cast.bob), project_id=cast.project.pk)

    def test_an_archived_project_can_be_deleted(self, cast: Cast) -> None:
        archive_project(actor=SYSTEM, project_id=cast.project.pk)
        delete_project(actor=SYSTEM, project_id=cast.project.pk)


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_a_project_and_an_index_made_in_it_do_not_pass_each_other(self) -> None:
        for _ in range(3):
            project = make_project()

            def act(number: int, project: Project = project) -> None:
                if number:
                    make_index(project, f"index-{number}")
                else:
                    delete_project(actor=SYSTEM, project_id=project.pk)

            outcomes = at_once(3, act)
            made = Index.objects.filter(project_id=project.pk).count()
            alive = Project.objects.filter(pk=project.pk).exists()
            assert alive == (made > 0)
            refused = "FailedPrecondition" if alive else "NotFound"
            assert outcomes == ({"done": 2, refused: 1} if alive else {"done": 1, refused: 2})

    def test_of_many_deletions_one_is_the_deletion(self) -> None:
        project = make_project()
        outcomes = at_once(4, lambda _: delete_project(actor=SYSTEM, project_id=project.pk))
        assert outcomes == {"done": 1, "NotFound": 3}
        assert AuditEvent.objects.filter(type="project.deleted").count() == 1

    def test_changes_at_once_all_count(self) -> None:
        project = make_project()
        fields = ["max_indexes", "max_api_keys"]
        at_once(4, lambda number: change(project, SYSTEM, **{fields[number % 2]: number}))
        project.refresh_from_db()
        assert project.version == 5
        assert project.max_indexes in {0, 2}
        assert project.max_api_keys in {1, 3}

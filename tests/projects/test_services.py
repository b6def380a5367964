from __future__ import annotations

import uuid
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from kms import envelope
from kms.envelope import KeyUnavailable, WrappedKey
from kms.installation import provider
from orgs.errors import InvalidArgument, NotFound, PermissionDenied
from orgs.models import PrincipalType
from orgs.permissions import Permission, Role, permissions_of
from orgs.services.bindings import bind_role
from projects.encryption import unwrap_data_key, wrap_data_key
from projects.models import Project, ProjectKey
from projects.selectors import get_project, projects_visible_to
from projects.services import create_project
from tests.cast import Cast
from tests.factories import SYSTEM, make_project

CONTEXT = {"purpose": "data-key", "index": "1"}


def let_in(cast: Cast, role: Role, resource_id: uuid.UUID) -> None:
    """Bob gets a role."""
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=role,
        resource_id=resource_id,
    )


class CreateProjectTests:
    def test_who_makes_one_owns_it(self, cast: Cast) -> None:
        let_in(cast, Role.ORG_MANAGER, cast.organization.pk)
        project = create_project(
            actor=cast.actor(cast.bob), organization_id=cast.organization.pk, name=" Mine "
        )
        held = permissions_of(
            cast.actor(cast.bob), organization_id=cast.organization.pk, project_id=project.pk
        )
        assert project.name == "Mine"
        assert Permission.PROJECT_DELETE in held

    def test_a_plain_member_may_not(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="project:create"):
            create_project(
                actor=cast.actor(cast.bob), organization_id=cast.organization.pk, name="a"
            )

    def test_a_stranger_does_not_learn_that_the_organization_exists(self, cast: Cast) -> None:
        texts = []
        for organization_id in (cast.organization.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                create_project(
                    actor=cast.actor(cast.charlie), organization_id=organization_id, name="a"
                )
            texts.append(refused.value.message.replace(str(organization_id), "ID"))
        assert texts[0] == texts[1]

    @pytest.mark.parametrize("name", ["", "\n", "x" * 513, "a\0"])
    def test_bad_names_are_refused(self, cast: Cast, name: str) -> None:
        with pytest.raises(InvalidArgument):
            create_project(actor=SYSTEM, organization_id=cast.organization.pk, name=name)

    def test_without_its_audit_event_there_is_none(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            create_project(actor=SYSTEM, organization_id=cast.organization.pk, name="Half")
        assert not Project.objects.filter(name="Half").exists()
        assert ProjectKey.objects.count() == 2


class VisibilityTests:
    def test_everybody_sees_exactly_their_own(self, cast: Cast) -> None:
        second = make_project(cast.organization, "Second")
        assert set(projects_visible_to(cast.actor(cast.alice))) == {cast.project, second}
        assert set(projects_visible_to(cast.actor(cast.bob))) == set()
        assert set(projects_visible_to(cast.actor(cast.charlie))) == {cast.other_project}
        let_in(cast, Role.DATA_PLANE_VIEWER, second.pk)
        assert set(projects_visible_to(cast.actor(cast.bob))) == {second}

    def test_a_role_that_includes_and_one_that_names_a_project_show_it_once(
        self, cast: Cast
    ) -> None:
        project = create_project(
            actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name="Twice"
        )
        found = list(projects_visible_to(cast.actor(cast.alice)).filter(pk=project.pk))
        assert found == [project]

    def test_takes_one_query(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        actor = cast.actor(cast.alice)
        with django_assert_num_queries(1):
            list(projects_visible_to(actor))

    def test_a_foreign_project_and_an_absent_one_are_the_same(self, cast: Cast) -> None:
        for project_id in (cast.other_project.pk, uuid.uuid4()):
            with pytest.raises(NotFound, match=f"There is no project {project_id}, or none"):
                get_project(cast.actor(cast.alice), project_id)


class ProjectKeyTests:
    def test_a_data_key_opens_in_its_project_and_context_only(self, cast: Cast) -> None:
        key = envelope.new_key()
        wrapped = wrap_data_key(cast.project, key, context=CONTEXT)
        assert unwrap_data_key(cast.project, wrapped, context=CONTEXT) == key
        with pytest.raises(KeyUnavailable, match="none of the project"):
            unwrap_data_key(cast.other_project, wrapped, context=CONTEXT)
        with pytest.raises(KeyUnavailable):
            unwrap_data_key(cast.project, wrapped, context={**CONTEXT, "index": "2"})

    def test_the_row_moved_to_another_project_does_not_open(self, cast: Cast) -> None:
        mine = cast.project.encryption_keys.get()
        cast.other_project.encryption_keys.update(wrapped=mine.wrapped)
        with pytest.raises(KeyUnavailable, match="damaged or belongs to something else"):
            wrap_data_key(cast.other_project, envelope.new_key(), context=CONTEXT)

    def test_old_data_keys_open_beside_a_newer_project_key(self, cast: Cast) -> None:
        old = wrap_data_key(cast.project, b"o" * 32, context=CONTEXT)
        second = provider().wrap(
            envelope.new_key(),
            context={
                "purpose": "project-key",
                "organization": str(cast.organization.pk),
                "project": str(cast.project.pk),
                "version": "2",
            },
        )
        ProjectKey.objects.create(project=cast.project, version=2, wrapped=second.dump())
        new = wrap_data_key(cast.project, b"n" * 32, context=CONTEXT)
        assert new.wrapped_by == f"project:{cast.project.pk}:2"
        assert unwrap_data_key(cast.project, old, context=CONTEXT) == b"o" * 32
        assert unwrap_data_key(cast.project, new, context=CONTEXT) == b"n" * 32

    def test_the_same_row_as_another_version_does_not_open(self, cast: Cast) -> None:
        first = cast.project.encryption_keys.get()
        ProjectKey.objects.create(project=cast.project, version=2, wrapped=first.wrapped)
        with pytest.raises(KeyUnavailable, match="damaged or belongs to something else"):
            wrap_data_key(cast.project, b"n" * 32, context=CONTEXT)

    def test_after_its_project_key_is_gone_a_data_key_stays_shut(self, cast: Cast) -> None:
        wrapped = wrap_data_key(cast.project, envelope.new_key(), context=CONTEXT)
        cast.project.encryption_keys.all().delete()
        with pytest.raises(KeyUnavailable, match="none of the project"):
            unwrap_data_key(cast.project, wrapped, context=CONTEXT)
        with pytest.raises(KeyUnavailable, match="has no key"):
            wrap_data_key(cast.project, envelope.new_key(), context=CONTEXT)

    @pytest.mark.parametrize("name", ["", "project", "project:x:1", "local:abc:1", "x" * 500])
    def test_a_strange_name_is_refused(self, cast: Cast, name: str) -> None:
        with pytest.raises(KeyUnavailable):
            unwrap_data_key(
                cast.project, WrappedKey(name, envelope.ALGORITHM, b"x" * 60), context=CONTEXT
            )

"""Creating, changing and deleting indexes through the services."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from audit.models import AuditEvent
from indexes.models import Index, Operation
from indexes.rules import IndexSpec
from indexes.services import configure_index, create_index, delete_index
from indexes.tasks import run_operation
from keys.selectors.api_keys import verify_key
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    Forbidden,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from orgs.permissions import Role
from projects.models import Project
from tests import factories
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.indexes.conftest import make_index, operation_of


def actor_with(project: Project, *roles: Role) -> Actor:
    """An API key of the project with these roles."""
    key = verify_key(factories.make_key(project, roles)[1])
    assert key is not None
    return key.actor()


def events(index: Index) -> list[str]:
    """The audit trail of the index, oldest first."""
    found = AuditEvent.objects.filter(resource_id=str(index.pk)).order_by("time", "id")
    return list(found.values_list("type", flat=True))


class CreateIndexTests:
    def test_it_is_initializing_and_its_work_is_written_down(self, cast: Cast) -> None:
        index = make_index(cast.project)
        assert index.state == Index.State.INITIALIZING
        assert not index.is_ready
        operation = operation_of(index)
        assert (operation.kind, operation.state) == ("create", "pending")
        assert operation.generation == index.generation == 1
        assert events(index) == ["index.created"]

    def test_data_plane_keys_may_not_create(self, cast: Cast) -> None:
        actor = actor_with(cast.project, Role.DATA_PLANE_EDITOR)
        with pytest.raises(PermissionDenied, match="index:create"):
            create_index(
                actor=actor, project_id=cast.project.pk, spec=IndexSpec("products", dimension=3)
            )

    def test_another_tenants_project_does_not_exist(self, cast: Cast) -> None:
        actor = actor_with(cast.other_project, Role.PROJECT_EDITOR)
        with pytest.raises(NotFound):
            create_index(
                actor=actor, project_id=cast.project.pk, spec=IndexSpec("products", dimension=3)
            )

    def test_a_taken_name_is_refused(self, cast: Cast) -> None:
        make_index(cast.project)
        with pytest.raises(AlreadyExists, match="products"):
            make_index(cast.project)

    def test_the_same_name_in_another_project_is_another_index(self, cast: Cast) -> None:
        first, second = make_index(cast.project), make_index(cast.other_project)
        assert first.label != second.label
        assert first.gateway_port != second.gateway_port

    def test_a_deleted_name_is_free_again(self, cast: Cast) -> None:
        index = make_index(cast.project)
        Index.objects.filter(pk=index.pk).update(deleted_at=timezone.now())
        assert make_index(cast.project).pk != index.pk

    def test_a_full_quota_is_refused_and_names_the_limit(self, cast: Cast) -> None:
        Project.objects.filter(pk=cast.project.pk).update(max_indexes=1)
        make_index(cast.project)
        with pytest.raises(QuotaExceeded, match="has 1 indexes"):
            make_index(cast.project, "more")

    def test_exhausted_ports_name_the_setting_and_the_way_out(
        self, cast: Cast, settings: Settings
    ) -> None:
        settings.TAMARACK_INDEX_PORTS = range(8444, 8445)
        make_index(cast.project)
        with pytest.raises(QuotaExceeded) as refused:
            make_index(cast.project, "more")
        assert "TAMARACK_INDEX_PORTS=8444-8444" in refused.value.message
        assert "TAMARACK_ADDRESSING=host" in refused.value.message

    def test_the_port_free_for_longest_is_taken(self, cast: Cast, settings: Settings) -> None:
        settings.TAMARACK_INDEX_PORTS = range(8444, 8447)
        now = timezone.now()
        for port, hours in ((8444, 1), (8445, 3), (8446, 2)):
            index = make_index(cast.project, f"old-{port}")
            assert index.gateway_port == port
            Index.objects.filter(pk=index.pk).update(deleted_at=now - timedelta(hours=hours))
        assert make_index(cast.project).gateway_port == 8445

    def test_no_port_is_spent_where_names_tell_indexes_apart(
        self, cast: Cast, settings: Settings
    ) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        assert make_index(cast.project).gateway_port is None

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"name": "Products"}, 'name "Products"'),
            ({"name": "-a"}, "hyphen"),
            ({"name": "a" * 46}, "1 to 45"),
            ({"name": ""}, 'name ""'),
            ({"name": "a\x00b"}, "can't be used"),
            ({"dimension": 0}, "1 to 20000"),
            ({"dimension": 20_001}, "20001"),
            ({"dimension": None}, "dimension is missing"),
            ({"dimension": 10**400}, "out of range"),
            ({"metric": "manhattan"}, "cosine, dotproduct, euclidean"),
            ({"vector_type": "binary"}, "dense or sparse"),
            ({"vector_type": "sparse", "metric": "dotproduct"}, "a sparse index has none"),
            ({"vector_type": "sparse", "dimension": None}, "dotproduct only"),
            ({"cloud": "my cloud"}, 'cloud "my cloud"'),
            ({"region": ""}, 'region ""'),
            ({"tags": {"a b": "c"}}, 'Tag key "a b"'),
            ({"tags": {"a": "ü"}}, "printable ASCII"),
            ({"tags": {"a": "x" * 121}}, "0 to 120"),
            ({"tags": {f"t{i}": "x" for i in range(21)}}, "21 tags are too many"),
        ],
    )
    def test_a_bad_value_is_named_with_its_rule(
        self, cast: Cast, fields: dict[str, object], words: str
    ) -> None:
        with pytest.raises(InvalidArgument) as refused:
            make_index(cast.project, **fields)  # type: ignore[arg-type]  # bad on purpose
        assert words in refused.value.message
        assert not Index.objects.exists()

    @pytest.mark.parametrize(
        "fields",
        [
            {"name": "a"},
            {"name": "a" * 45},
            {"dimension": 20_000},
            {"vector_type": "sparse", "dimension": None, "metric": "dotproduct"},
            {"cloud": "basement", "region": "rack-7.left"},
            {"tags": {f"t{i}": "x" for i in range(20)}},
        ],
    )
    def test_values_at_the_limit_are_accepted(self, cast: Cast, fields: dict[str, object]) -> None:
        make_index(cast.project, **fields)  # type: ignore[arg-type]  # any field of the spec

    def test_a_tag_without_value_is_no_tag(self, cast: Cast) -> None:
        assert make_index(cast.project, tags={"a": "", "b": "c"}).tags == {"b": "c"}


def at_once(count: int, function: Callable[[int], object]) -> Counter[str]:
    """Call the function in as many threads at the same moment; how often each outcome came."""
    outcomes: Counter[str] = Counter()
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            function(number)
        except Exception as error:  # noqa: BLE001  every outcome is counted, surprises too
            outcomes[type(error).__name__] += 1
        else:
            outcomes["done"] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_a_quota_is_never_exceeded(self) -> None:
        project = factories.make_project()
        Project.objects.filter(pk=project.pk).update(max_indexes=3)
        outcomes = at_once(8, lambda number: make_index(project, f"index-{number}"))
        assert outcomes == {"done": 3, "QuotaExceeded": 5}
        assert Index.objects.count() == 3

    def test_a_name_is_taken_once(self) -> None:
        project = factories.make_project()
        outcomes = at_once(8, lambda _: make_index(project, "products"))
        assert outcomes == {"done": 1, "AlreadyExists": 7}

    def test_ports_are_shared_out_among_projects(self, settings: Settings) -> None:
        # Different projects lock different rows: only the unique constraint parts them.
        settings.TAMARACK_INDEX_PORTS = range(8444, 8450)
        projects = [factories.make_project() for _ in range(8)]
        outcomes = at_once(8, lambda number: make_index(projects[number]))
        assert outcomes == {"done": 6, "QuotaExceeded": 2}
        ports = list(Index.objects.values_list("gateway_port", flat=True))
        assert sorted(ports, key=lambda port: port or 0) == list(range(8444, 8450))

    def test_one_of_many_deletions_is_the_deletion(self) -> None:
        index = make_index()
        outcomes = at_once(
            6,
            lambda _: delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name),
        )
        assert outcomes == {"done": 6}
        assert index.operations.filter(kind="delete").count() == 1

    def test_tags_set_at_once_are_all_kept(self) -> None:
        index = make_index()
        at_once(
            6,
            lambda number: configure_index(
                actor=SYSTEM,
                project_id=index.project_id,
                name=index.name,
                tags={f"tag-{number}": "x"},
            ),
        )
        index.refresh_from_db()
        assert len(index.tags) == 6


class ConfigureIndexTests:
    def change(self, index: Index, **fields: object) -> Index:
        return configure_index(
            actor=SYSTEM,
            project_id=index.project_id,
            name=index.name,
            **fields,  # type: ignore[arg-type]  # test data
        )

    def test_tags_are_merged_and_an_empty_value_deletes(self, cast: Cast) -> None:
        index = make_index(cast.project, tags={"a": "1", "b": "2"})
        assert self.change(index, tags={"b": "", "c": "3"}).tags == {"a": "1", "c": "3"}

    def test_the_limit_counts_the_merged_tags(self, cast: Cast) -> None:
        index = make_index(cast.project, tags={f"t{i}": "x" for i in range(20)})
        with pytest.raises(InvalidArgument, match="21 tags"):
            self.change(index, tags={"one-more": "x"})
        assert len(self.change(index, tags={"one-more": "x", "t0": ""}).tags) == 20

    def test_what_is_not_given_stays(self, cast: Cast) -> None:
        index = make_index(cast.project, tags={"a": "1"}, deletion_protection=True)
        changed = self.change(index, tags={"b": "2"})
        assert changed.deletion_protection
        assert self.change(index, deletion_protection=False).tags == {"a": "1", "b": "2"}

    def test_a_change_is_audited_and_no_change_is_not(self, cast: Cast) -> None:
        index = make_index(cast.project, tags={"a": "1"})
        self.change(index, tags={"a": "1"}, deletion_protection=False)
        assert events(index) == ["index.created"]
        self.change(index, tags={"a": "2"}, deletion_protection=True)
        assert events(index) == ["index.created", "index.configured"]
        event = AuditEvent.objects.get(type="index.configured")
        assert event.detail["changed"] == {"tags": ["a"], "deletion_protection": True}

    def test_viewers_may_not_change(self, cast: Cast) -> None:
        index = make_index(cast.project)
        with pytest.raises(PermissionDenied):
            configure_index(
                actor=actor_with(cast.project, Role.PROJECT_VIEWER),
                project_id=cast.project.pk,
                name=index.name,
                deletion_protection=True,
            )

    def test_an_index_on_its_way_out_stays_as_it_is(self, cast: Cast) -> None:
        index = make_index(cast.project)
        delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        with pytest.raises(FailedPrecondition, match="being deleted"):
            self.change(index, tags={"a": "1"})


class DeleteIndexTests:
    def test_it_terminates_and_supersedes_the_creation(self, cast: Cast) -> None:
        index = make_index(cast.project)
        creation = operation_of(index)
        deleted = delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        creation.refresh_from_db()
        assert deleted.state == Index.State.TERMINATING
        assert creation.state == Operation.State.SUPERSEDED
        assert operation_of(index).kind == "delete"
        assert events(index) == ["index.created", "index.deletion_requested"]

    def test_a_second_deletion_changes_nothing(self, cast: Cast) -> None:
        index = make_index(cast.project)
        for _ in range(2):
            delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        assert index.operations.count() == 2
        assert events(index).count("index.deletion_requested") == 1

    def test_protection_forbids_it_until_it_is_off(self, cast: Cast) -> None:
        index = make_index(cast.project, deletion_protection=True)
        with pytest.raises(Forbidden, match="PATCH /indexes/products"):
            delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        configure_index(
            actor=SYSTEM,
            project_id=index.project_id,
            name=index.name,
            deletion_protection=False,
        )
        delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)

    @pytest.mark.parametrize("name", ["absent", "Bad Name", "a\x00b", "", "." * 300])
    def test_what_is_not_there_is_not_found(self, cast: Cast, name: str) -> None:
        with pytest.raises(NotFound):
            delete_index(actor=SYSTEM, project_id=cast.project.pk, name=name)

    def test_another_projects_index_is_not_found(self, cast: Cast) -> None:
        index = make_index(cast.other_project)
        with pytest.raises(NotFound):
            delete_index(actor=SYSTEM, project_id=cast.project.pk, name=index.name)


@pytest.mark.django_db(transaction=True)
class QueueTests:
    def test_a_queue_that_is_down_fails_no_request(
        self, without_queue: Callable[[Any], None]
    ) -> None:
        without_queue(run_operation)
        index = make_index()
        assert operation_of(index).state == Operation.State.PENDING

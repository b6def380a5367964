"""Leases, attempts and wishes: the machinery under provisioning, without any process."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from audit.models import AuditEvent
from indexes import provisioning
from indexes.models import DataKey, Deployment, Index, Operation
from indexes.services import delete_index
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.indexes.conftest import make_index, operation_of


@pytest.fixture
def index(cast: Cast, settings: Settings, tmp_path: Path) -> Index:
    """An index without a worker yet. Starting its server fails, because no supervisord is found,
    not even one that other tests of this process have left running.
    """
    settings.TAMARACK_RUN_DIR = tmp_path
    return make_index(cast.project)


def delete(index: Index) -> Operation:
    """Ask for the index's deletion."""
    delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
    index.refresh_from_db()
    return operation_of(index)


def let_time_pass(operation: Operation) -> None:
    """Make the operation due now."""
    Operation.objects.filter(pk=operation.pk).update(run_after=timezone.now())


class LeaseTests:
    def test_one_worker_holds_it(self, index: Index) -> None:
        operation = operation_of(index)
        assert provisioning._claim(operation.pk) is not None
        assert provisioning._claim(operation.pk) is None
        assert provisioning.advance(operation.pk) is None

    def test_one_that_ran_out_is_taken_over_and_counts_as_an_attempt(self, index: Index) -> None:
        operation = operation_of(index)
        first = provisioning._claim(operation.pk)
        Operation.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        second = provisioning._claim(operation.pk)
        assert first is not None
        assert second is not None
        assert second.operation.attempt == 1
        with pytest.raises(provisioning.Superseded):
            provisioning._hold(first)
        with pytest.raises(provisioning.Superseded):
            provisioning._finish(first, Operation.State.SUCCEEDED)
        provisioning._hold(second)

    def test_a_worker_that_lost_it_allocates_nothing(self, index: Index) -> None:
        operation = operation_of(index)
        first = provisioning._claim(operation.pk)
        assert first is not None
        Operation.objects.update(lease_owner="somebody else")
        with pytest.raises(provisioning.Superseded):
            provisioning.allocate(first)
        assert not Deployment.objects.exists()

    def test_a_deletion_waits_for_the_worker_that_still_creates(self, index: Index) -> None:
        creation = provisioning._claim(operation_of(index).pk)
        deletion = delete(index)
        assert creation is not None
        assert provisioning.advance(deletion.pk) is None
        with pytest.raises(provisioning.Superseded):
            provisioning._hold(creation)
        hint = provisioning._give_way(creation)
        assert hint == provisioning.Hint(deletion.pk)
        assert provisioning._claim(deletion.pk) is not None

    def test_a_creation_superseded_while_it_waits_hands_over_at_once(self, index: Index) -> None:
        creation = provisioning._claim(operation_of(index).pk)
        deletion = delete(index)
        assert creation is not None
        assert provisioning._give_back(creation, 0.2) == provisioning.Hint(deletion.pk)
        assert provisioning._claim(deletion.pk) is not None

    def test_an_operation_that_has_ended_is_not_taken_up(self, index: Index) -> None:
        creation = operation_of(index)
        delete(index)
        assert provisioning.advance(creation.pk) is None


class AttemptTests:
    def test_what_may_pass_is_tried_again_later_and_later(self, index: Index) -> None:
        operation = operation_of(index)
        delays = []
        for _ in range(4):
            let_time_pass(operation)
            hint = provisioning.advance(operation.pk)
            assert hint is not None
            delays.append(hint.seconds)
        operation.refresh_from_db()
        assert delays == [0.5, 1.0, 2.0, 4.0]
        assert operation.attempt == 4
        assert operation.step == "start"
        assert "supervisord does not answer" in operation.error
        assert operation.lease_until is None

    def test_nothing_is_done_before_its_time(self, index: Index) -> None:
        operation = operation_of(index)
        assert provisioning.advance(operation.pk) is not None
        assert provisioning.advance(operation.pk) is None

    def test_spent_attempts_end_a_creation_with_cause_and_remedy(self, index: Index) -> None:
        operation = operation_of(index)
        for _ in range(provisioning.MAX_ATTEMPTS):
            let_time_pass(operation)
            provisioning.advance(operation.pk)
        index.refresh_from_db()
        operation.refresh_from_db()
        assert operation.state == Operation.State.FAILED
        assert index.state == Index.State.INITIALIZATION_FAILED
        assert "supervisord does not answer" in index.cause
        assert "manage.py doctor" in index.remedy
        event = AuditEvent.objects.get(type="index.failed")
        assert event.outcome == "failure"
        assert event.detail["cause"] == index.cause

    def test_workers_that_die_each_time_end_a_creation_too(self, index: Index) -> None:
        operation = operation_of(index)
        for _ in range(provisioning.MAX_ATTEMPTS):
            assert provisioning._claim(operation.pk) is not None
            Operation.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        provisioning.advance(operation.pk)
        index.refresh_from_db()
        assert index.state == Index.State.INITIALIZATION_FAILED
        assert "tried 8 times; the last worker was cut" in index.cause

    def test_a_deletion_is_never_given_up(self, index: Index) -> None:
        provisioning.advance(operation_of(index).pk)
        deletion = delete(index)
        for _ in range(provisioning.MAX_ATTEMPTS + 3):
            let_time_pass(deletion)
            hint = provisioning.advance(deletion.pk)
        deletion.refresh_from_db()
        assert deletion.state == Operation.State.PENDING
        assert hint is not None
        assert hint.seconds == provisioning.LONGEST_DELAY

    def test_no_port_left_is_told_at_once(self, index: Index, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            port = stranger.getsockname()[1]
            settings.TAMARACK_UPSTREAM_PORTS = range(port, port + 1)
            provisioning.advance(operation_of(index).pk)
        index.refresh_from_db()
        assert index.state == Index.State.INITIALIZATION_FAILED
        assert f"all of {port}-{port} are taken" in index.cause
        assert "TAMARACK_UPSTREAM_PORTS" in index.remedy

    def test_a_key_that_cannot_be_wrapped_is_tried_again(
        self, index: Index, settings: Settings
    ) -> None:
        settings.TAMARACK_HOME = settings.TAMARACK_HOME / "elsewhere"
        hint = provisioning.advance(operation_of(index).pk)
        operation = operation_of(index)
        assert hint is not None
        assert operation.step == "make_key"
        assert "root.key" in operation.error
        assert not DataKey.objects.exists()


class StepTests:
    def test_each_may_run_twice(self, index: Index) -> None:
        work = provisioning._claim(operation_of(index).pk)
        assert work is not None
        for _ in range(2):
            provisioning.allocate(work)
            provisioning.make_key(work)
            provisioning.write_files(work)
        assert Deployment.objects.count() == 1
        assert DataKey.objects.count() == 1

    def test_no_key_is_made_for_an_index_on_its_way_out(self, index: Index) -> None:
        work = provisioning._claim(operation_of(index).pk)
        assert work is not None
        delete(index)
        provisioning.make_key(work)
        assert not DataKey.objects.exists()


class SweepTests:
    def test_what_is_due_is_handed_out_once_in_a_while(self, index: Index) -> None:
        operation = operation_of(index)
        assert provisioning.take_due() == []  # its own message is on its way
        long_ago = timezone.now() - timedelta(minutes=1)
        Operation.objects.update(hinted_at=long_ago)
        assert provisioning.take_due() == [operation.pk]
        assert provisioning.take_due() == []

    def test_what_somebody_works_on_is_left_alone_until_the_lease_ends(self, index: Index) -> None:
        operation = operation_of(index)
        provisioning._claim(operation.pk)
        long_ago = timezone.now() - timedelta(minutes=1)
        Operation.objects.update(hinted_at=long_ago)
        assert provisioning.take_due() == []
        Operation.objects.update(lease_until=long_ago)
        assert provisioning.take_due() == [operation.pk]

    def test_what_has_ended_or_is_not_due_is_left_alone(self, index: Index) -> None:
        long_ago = timezone.now() - timedelta(minutes=1)
        Operation.objects.update(hinted_at=long_ago, run_after=timezone.now() + timedelta(hours=1))
        assert provisioning.take_due() == []
        Operation.objects.update(run_after=long_ago, state="succeeded", finished_at=long_ago)
        assert provisioning.take_due() == []

"""Killed workers, a killed queue, both: every index gets where it was going, without help.

Everything is real: Celery, Valkey, supervisord, index servers, and `kill -9` each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from django.conf import settings

from indexes.models import DataKey, Deployment, Index, Operation
from indexes.selectors import serving_counts
from indexes.services import delete_index
from tests import factories
from tests.indexes.conftest import make_index
from tests.indexes.processes import Processes, wait_for

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.slow]
COUNT = 4


@pytest.fixture
def running(platform: Processes) -> Processes:
    """The whole chain with a queue of its own."""
    platform.queue()
    platform.worker()
    platform.beat()
    wait_for(lambda: "ready." in platform.log("worker"), "a worker that is ready")
    return platform


def make_indexes() -> list[Index]:
    """Several at once, so that a kill hits some of them in the middle."""
    project = factories.make_project()
    return [make_index(project, f"index-{number}") for number in range(COUNT)]


def somebody_works() -> bool:
    """Whether a worker holds a lease at this moment."""
    return Operation.objects.filter(state="pending").exclude(lease_owner="").exists()


def is_interrupted() -> bool:
    """Whether work was cut off: the positive control of every kill."""
    return Operation.objects.filter(state="pending").exists()


def all_ready() -> bool:
    """Whether every index is Ready."""
    return Index.objects.filter(state=Index.State.READY).count() == COUNT


def kill_worker(processes: Processes) -> None:
    """The worker with its children; a new one is started, as the supervisor would."""
    processes.kill("worker")
    assert is_interrupted()
    processes.worker()


def kill_queue(processes: Processes) -> None:
    """Valkey; it comes back with what it had on the disk."""
    processes.kill("queue")
    assert is_interrupted()
    processes.queue()


def kill_both(processes: Processes) -> None:
    """The worker and Valkey together."""
    processes.kill("worker")
    processes.kill("queue")
    assert is_interrupted()
    processes.queue()
    processes.worker()


def lose_queue(processes: Processes) -> None:
    """Valkey and everything that it had on the disk."""
    processes.kill("queue")
    shutil.rmtree(settings.TAMARACK_HOME / "valkey")
    (settings.TAMARACK_HOME / "valkey").mkdir()
    assert is_interrupted()
    processes.queue()


class CrashTests:
    @pytest.mark.parametrize("crash", [kill_worker, kill_queue, kill_both, lose_queue])
    def test_every_index_becomes_ready(
        self, running: Processes, crash: Callable[[Processes], None]
    ) -> None:
        make_indexes()
        wait_for(somebody_works, "a worker at work")
        crash(running)
        wait_for(all_ready, "every index Ready", 120)
        assert serving_counts() == (COUNT, COUNT)
        assert Deployment.objects.count() == DataKey.objects.count() == COUNT
        assert not is_interrupted()

    @pytest.mark.parametrize("crash", [kill_worker, kill_both])
    def test_every_deletion_comes_to_its_end(
        self, running: Processes, crash: Callable[[Processes], None]
    ) -> None:
        indexes = make_indexes()
        wait_for(all_ready, "every index Ready")
        for index in indexes:
            delete_index(actor=factories.SYSTEM, project_id=index.project_id, name=index.name)
        wait_for(somebody_works, "a worker at work")
        crash(running)
        wait_for(lambda: not Index.objects.filter(deleted_at=None).exists(), "all gone", 120)
        assert set(DataKey.objects.values_list("wrapped", flat=True)) == {""}
        assert not list((settings.TAMARACK_HOME / "indexes").iterdir())

    def test_a_worker_that_dies_again_and_again_loses_nothing(self, running: Processes) -> None:
        make_indexes()
        for _ in range(3):
            wait_for(somebody_works, "a worker at work")
            kill_worker(running)
        wait_for(all_ready, "every index Ready", 180)
        assert serving_counts() == (COUNT, COUNT)

    def test_a_queue_that_is_down_when_the_index_is_created_delays_it_only(
        self, running: Processes
    ) -> None:
        running.kill("queue")
        make_indexes()
        running.queue()
        wait_for(all_ready, "every index Ready", 120)


class ConfiguredQueueTests:
    def test_a_killed_worker_is_made_up_for_on_the_queue_of_this_run(
        self, platform: Processes
    ) -> None:
        if platform.has_own_queue:
            platform.queue()
        platform.worker()
        platform.beat()
        wait_for(lambda: "ready." in platform.log("worker"), "a worker that is ready")
        make_indexes()
        wait_for(somebody_works, "a worker at work")
        kill_worker(platform)
        wait_for(all_ready, "every index Ready", 120)

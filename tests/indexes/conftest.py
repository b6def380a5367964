"""Processes and shortcuts for the tests of indexes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from indexes import provisioning
from indexes.models import Deployment, Index, Operation
from indexes.rules import IndexSpec
from indexes.services import create_index
from projects.models import Project
from tests import factories
from tests.indexes.processes import Processes, processes, wait_for


@pytest.fixture(scope="session")
def session_processes(django_db_setup: None) -> Iterator[Processes]:
    """Started once: the key service alone takes longer to start than most tests take."""
    with processes() as found:
        yield found


@pytest.fixture
def platform(transactional_db: None, session_processes: Processes) -> Iterator[Processes]:
    """supervisord and the key service; the test starts what else it needs."""
    session_processes.ensure_basics()
    try:
        yield session_processes
    finally:
        session_processes.ensure_basics()
        session_processes.clear()


def make_index(project: Project | None = None, name: str = "products", **fields: object) -> Index:
    """An index as the service makes it; nobody has worked on it yet."""
    spec = IndexSpec(name=name, **{"dimension": 3, **fields})  # type: ignore[arg-type]  # test data
    project = project or factories.make_project()
    return create_index(actor=factories.SYSTEM, project_id=project.pk, spec=spec)


def operation_of(index: Index) -> Operation:
    """The newest operation on the index."""
    operation = index.operations.order_by("-generation").first()
    assert operation is not None
    return operation


@pytest.fixture(autouse=True, scope="session")
def leave_no_messages() -> Iterator[None]:
    """Where the queue outlives this run, take back the messages that nobody read."""
    yield
    if not settings.REDIS_URL:
        return
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    with redis.Redis.from_url(settings.REDIS_URL) as queue:
        for key in queue.scan_iter(f"{prefix}*"):
            queue.delete(key)


def drive(index: Index) -> Operation:
    """Do what the queue would: advance the newest operation until it has ended."""
    operation = operation_of(index)

    def has_ended() -> bool:
        provisioning.advance(operation.pk)
        operation.refresh_from_db()
        return operation.state != Operation.State.PENDING

    wait_for(has_ended, f"{operation} at its end")
    index.refresh_from_db()
    return operation


def provision(index: Index) -> Deployment:
    """Bring the index to Ready and return what serves it."""
    drive(index)
    assert index.state == Index.State.READY, index.cause
    return index.deployments.get(removed_at=None)

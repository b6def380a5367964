"""What every test may rely on: a home with a root key, and the cast on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app
from django.conf import settings

from kms.providers import LocalProvider
from tests.cast import Cast, make_cast
from tests.platform.support import Instance, new_instance


@pytest.fixture(autouse=True, scope="session")
def root_key() -> Path:
    """The key that everything else is wrapped by, in the home of this test process."""
    path: Path = settings.TAMARACK_HOME / "keys" / "root.key"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    LocalProvider(path).create()
    return path


@pytest.fixture
def cast(db: None) -> Cast:
    """Alice, Bob and Charlie with their organizations, projects and keys."""
    return make_cast()


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """A whole platform that serves; tests that share it must not stop it."""
    with new_instance() as found:
        found.start()
        yield found


@pytest.fixture
def own_instance() -> Iterator[Instance]:
    """An installation for one test alone, not started."""
    with new_instance() as found:
        yield found


@pytest.fixture
def without_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Any], None]:
    """Sends a task to a queue that does not answer, wherever the suite's own queue is."""
    nowhere = Celery("nowhere", broker=f"redis+socket://{tmp_path}/nobody.sock")
    nowhere.conf.update(current_app.conf, broker_url=nowhere.conf.broker_url)

    def send(task: Any) -> None:
        monkeypatch.setattr(task, "_get_app", lambda: nowhere)
        assert task.app is nowhere

    return send

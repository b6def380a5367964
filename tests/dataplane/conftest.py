"""Fixtures: a trust domain with a key service per module, and index servers in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataplane.index import VectorIndex
from tests.dataplane.messages import Client
from tests.dataplane.support import (
    IndexServer,
    Stack,
    local_index,
    running_stack,
    start_index_server,
)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Certificates, a key service and folders; every server started in it is stopped at the end."""
    with running_stack() as running:
        yield running


@pytest.fixture
def start(stack: Stack, tmp_path: Path) -> Iterator[Callable[..., IndexServer]]:
    """Start an index server for one test: `start(dimension=…, metric=…, vector_type=…)`."""
    started: list[IndexServer] = []

    def start_one(**more: Any) -> IndexServer:
        server = start_index_server(stack, tmp_path / f"index-{len(started)}", **more)
        started.append(server)
        return server

    yield start_one
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def shared_server(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> IndexServer:
    """A cosine index of dimension 4 that a whole module uses; tests keep to namespaces of their
    own.
    """
    return start_index_server(stack, tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def client(shared_server: IndexServer) -> Client:
    """The gateway's channel to the shared server."""
    return shared_server.client()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[VectorIndex]:
    """A euclidean index of dimension 8 in the test's own process."""
    with local_index(tmp_path) as found:
        yield found

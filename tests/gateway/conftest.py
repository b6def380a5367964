"""One gateway for all tests that leave it as they found it; the others start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.support import OTHER_PROJECT, Gateway
from tests.gateway.upstream import IndexServer


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """Port mode. Index 0 and 1 belong to PROJECT, 2 to OTHER_PROJECT; nothing is at port 3."""
    with Gateway() as running:
        running.add_index("i-zero")
        running.add_index("i-one")
        running.add_index("i-two", project=OTHER_PROJECT)
        yield running


@pytest.fixture
def index(gateway: Gateway) -> Iterator[IndexServer]:
    """Index 0 with nothing recorded."""
    server = gateway.servers[0]
    server.calls.clear()
    yield server
    server.behaviour = None


@pytest.fixture(scope="session")
def host_gateway() -> Iterator[Gateway]:
    """Host mode: `i-one.svc.localhost` and `i-two.svc.localhost` on the public port."""
    with Gateway("host") as running:
        running.add_index("i-one")
        running.add_index("i-two")
        yield running

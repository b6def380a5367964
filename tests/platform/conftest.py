"""What the tests on a running platform share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.platform.support import Instance
from tests.platform.surface import Surface, new_surface, records
from tests.platform.target import Target, fill


@pytest.fixture(scope="session")
def surface(instance: Instance) -> Iterator[Surface]:
    """An organization of its own on the shared instance, with a key of every kind."""
    with new_surface(instance, sister_quota=2) as found:
        yield found


@pytest.fixture(scope="module")
def target(surface: Surface) -> Iterator[Target]:
    """An index with records in three namespaces."""
    with surface.index("badinput", tags={"team": "search"}) as host:
        channel = surface.channel(host)
        fill(channel)
        yield Target(surface, "badinput", host, channel)


@pytest.fixture
def nothing_is_lost(target: Target) -> Iterator[None]:
    """Every record, count and setting is after the test what it was before."""

    def everything() -> tuple[Any, ...]:
        names = [found["name"] for found in target.control("GET", "/indexes").json()["indexes"]]
        return records(target.channel), target.surface.state(target.name), names

    before = everything()
    yield
    assert everything() == before

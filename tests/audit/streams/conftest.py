from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.audit.receivers import HttpReceiver, SyslogReceiver, http_receiver, syslog_receiver
from tests.audit.support import grow


@pytest.fixture
def private_allowed(settings: Any) -> None:
    """The operator lets streams lead to this machine."""
    settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True


@pytest.fixture
def log_id(db: None) -> uuid.UUID:
    """A log of 5 events."""
    found = uuid.uuid4()
    grow(found, 5)
    return found


@pytest.fixture
def hook(private_allowed: None) -> Iterator[HttpReceiver]:
    """A webhook on loopback."""
    with http_receiver() as found:
        yield found


@pytest.fixture
def collector(private_allowed: None) -> Iterator[SyslogReceiver]:
    """A syslog receiver on loopback."""
    with syslog_receiver() as found:
        yield found

"""Logs of a given length for the tests of this room."""

from __future__ import annotations

import uuid
from uuid import UUID

from audit.events import EventType
from audit.models import AuditEvent
from audit.sealing import seal_all
from audit.services import record
from orgs.actors import Actor

ACTOR = Actor(kind="user", id="7", label="ann@example.com", ip="192.0.2.1", request_id="request-1")


def make_event(log_id: UUID | None, name: str = "Search") -> AuditEvent:
    """One event of the organization's log, not sealed yet."""
    return record(
        EventType.PROJECT_UPDATED,
        actor=ACTOR,
        organization_id=log_id,
        resource=("project", uuid.uuid4(), name),
        detail={"count": 1, "reason": "“Übermäßig” 😀"},
        changes={"name": ("Old", name)},
    )


def grow(log_id: UUID, count: int) -> list[AuditEvent]:
    """That many sealed events more."""
    made = [make_event(log_id, f"Project {number}") for number in range(count)]
    seal_all()
    return made

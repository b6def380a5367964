"""Writing the audit trail. Called inside the transaction of the change: no record, no change."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from audit.events import EventType
from audit.models import AuditEvent


class Doer(Protocol):
    """What the trail keeps of an actor (`orgs.actors.Actor` is one)."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def ip(self) -> str: ...
    @property
    def request_id(self) -> str: ...


def record(
    event: EventType,
    *,
    actor: Doer,
    organization_id: UUID | None,
    resource: tuple[str, object, str],
    detail: dict[str, object] | None = None,
    outcome: AuditEvent.Outcome = AuditEvent.Outcome.SUCCESS,
) -> AuditEvent:
    """Append one event.

    Args:
        resource: kind, id and label of what it happened to.
        detail: public facts only; the caller lists them one by one, secrets never among them.
    """
    kind, identifier, label = resource
    return AuditEvent.objects.create(
        type=event.value,
        outcome=outcome,
        organization_id=organization_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label,
        resource_kind=kind,
        resource_id=str(identifier),
        resource_label=label,
        ip=actor.ip,
        request_id=actor.request_id,
        detail=detail or {},
    )

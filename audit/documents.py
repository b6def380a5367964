"""An event as the document whose hash is its leaf in the log."""

from __future__ import annotations

from datetime import UTC, datetime

from audit.canonical import Plain, plain
from audit.models import AuditEvent

VERSION = 1


def document_of(event: AuditEvent) -> dict[str, Plain]:
    """Everything that is known of the event, in a form that never changes.

    Another form needs another `version`: the hashes of old events have to stay what they are.
    """
    return {
        "version": VERSION,
        "id": str(event.pk),
        "time": timestamp(event.time),
        "type": event.type,
        "outcome": event.outcome,
        "organization_id": str(event.organization_id) if event.organization_id else None,
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "label": event.actor_label},
        "resource": {
            "kind": event.resource_kind,
            "id": event.resource_id,
            "label": event.resource_label,
        },
        "ip": event.ip,
        "request_id": event.request_id,
        "permission": event.permission,
        "decision_id": str(event.decision_id) if event.decision_id else None,
        "detail": plain(event.detail),
        "changes": plain(event.changes),
    }


def timestamp(time: datetime) -> str:
    """In UTC with microseconds, such as 2026-01-02T03:04:05.000678Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

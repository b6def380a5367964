"""Writing a changed connection, and what the audit trail says of it."""

from __future__ import annotations

from collections.abc import Mapping

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.permissions import Permission
from sso.models import Connection


def save_change(connection: Connection, *, decides: bool) -> None:
    """Write the row as a new version; where the change `decides` sign-ins, tests hold no longer."""
    connection.version += 1
    if decides:
        connection.config_version += 1
    connection.save()


def record_change(
    event: EventType,
    actor: Actor,
    connection: Connection,
    *,
    detail: Mapping[str, object] | None = None,
    changes: Mapping[str, tuple[object, object]] | None = None,
) -> None:
    """Note what happened to the connection."""
    record(
        event,
        actor=actor,
        organization_id=connection.organization_id,
        resource=("sso_connection", connection.pk, connection.name),
        permission=Permission.SSO_MANAGE.value,
        detail=detail,
        changes=changes,
    )

"""Writing a changed connection, and what the audit trail says of it."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.errors import AlreadyExists
from orgs.permissions import Permission
from rest.wording import shown
from sso.models import Connection


def save_change(connection: Connection, *, decides: bool) -> None:
    """Write the row as a new version; where the change `decides` sign-ins, tests hold no longer.

    Raises:
        AlreadyExists: another connection of the organization has the entity ID.
    """
    connection.version += 1
    if decides:
        connection.config_version += 1
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError as error:
        raise AlreadyExists(
            "Another connection of the organization is with the identity provider"
            f" {shown(connection.idp_entity_id)} already. Change that one."
        ) from error


def forget_people(connection: Connection) -> int:
    """Have nobody be linked any more, as the identity provider is another one from now on; how many
    were.

    The same id may be somebody else's there. People are found by their addresses at their next
    sign-in.
    """
    count, _ = connection.identities.all().delete()
    return count


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

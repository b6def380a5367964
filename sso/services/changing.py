"""What every change of a connection has in common."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import Organization
from orgs.permissions import Permission, authorize
from orgs.services.owners import lock_organization
from sso.models import Connection
from sso.selectors.connections import label_of


def organization_to_change(actor: Actor, organization_id: UUID) -> Organization:
    """The organization, locked, for an actor who may configure its single sign-on.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied: the actor may not configure single sign-on there.
        ReauthenticationRequired: a person has to prove anew who they are.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.SSO_MANAGE, organization_id=organization_id, what=what)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    return organization


def connection_to_change(actor: Actor, connection_id: UUID) -> Connection:
    """The connection with its organization, both locked, the organization first.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied, ReauthenticationRequired: as `organization_to_change`.
    """
    what = label_of(connection_id)
    found = Connection.objects.filter(pk=connection_id).first()
    if found is None:
        raise no_such(what)
    authorize(actor, Permission.SSO_MANAGE, organization_id=found.organization_id, what=what)
    organization = lock_organization(found.organization_id)
    connection = Connection.objects.select_for_update().filter(pk=connection_id).first()
    if organization is None or connection is None:
        raise no_such(what)
    connection.organization = organization
    return connection


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

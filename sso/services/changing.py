"""What every change of a connection begins with."""

from __future__ import annotations

from uuid import UUID

from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import Organization
from orgs.permissions import Permission, authorize
from orgs.services.owners import lock_organization
from sso.models import Connection
from sso.selectors.connections import label_of
from sso.trail import record_change, save_change

__all__ = ["connection_to_change", "organization_to_change", "record_change", "save_change"]


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

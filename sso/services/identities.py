"""The links between people and who they are at an identity provider."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit.events import EventType
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.services.owners import keeping_an_owner
from sso.services.changing import connection_to_change, record_change
from sso.services.sessions import end_sessions_of


@transaction.atomic
def unlink_identity(*, actor: Actor, connection_id: UUID, identity_id: UUID) -> None:
    """Forget who the person is at the identity provider, and end the sessions that it opened.

    Place and roles stay. The next sign-in links whoever comes with the person's address, which is
    the way out where the identity provider gave somebody another id.

    Raises:
        NotFound: the connection has no such link.
        PermissionDenied, ReauthenticationRequired: as `connection_to_change`.
        Aborted: no owner could come in any more.
    """
    connection = connection_to_change(actor, connection_id)
    with keeping_an_owner(connection.organization_id):
        identity = connection.identities.select_related("user").filter(pk=identity_id).first()
        if identity is None:
            raise no_such(f"identity {identity_id}")
        end_sessions_of(actor, connection, user=identity.user)
        record_change(
            EventType.SSO_IDENTITY_UNLINKED,
            actor,
            connection,
            detail={"user_id": str(identity.user_id), "email": identity.user.email},
        )
        identity.delete()

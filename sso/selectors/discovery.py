"""Which identity provider somebody belongs to, before anybody is signed in."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from orgs.entitlements import has
from orgs.models import User
from orgs.plans import Entitlement
from sso.identity_providers import domain_of
from sso.models import Connection, Domain

USABLE = (Connection.State.ACTIVE, Connection.State.ENFORCED)


def connection_for(email: str) -> Connection | None:
    """The connection that people of the address's domain sign in by, with its organization; None:
    there is none. One query, whoever has the address.
    """
    domain = (
        Domain.objects.filter(
            name=domain_of(email), verified_at__isnull=False, connection__state__in=USABLE
        )
        .select_related("connection__organization")
        .first()
    )
    connection = domain.connection if domain else None
    if connection is None or not _goes_on(connection):
        return None
    return connection


def ways_in(organization_id: UUID, user: User) -> Sequence[Connection]:
    """The organization's connections that the person may come in by: the one that they came by
    before, else that of their domain, else all. At most three queries.
    """
    usable = [
        connection
        for connection in Connection.objects.filter(
            organization_id=organization_id, state__in=USABLE
        ).select_related("organization")
        if _goes_on(connection)
    ]
    if len(usable) <= 1:
        return usable
    linked = set(user.sso_identities.values_list("connection_id", flat=True))
    own = [connection for connection in usable if connection.pk in linked]
    if own:
        return own
    serving = Domain.objects.filter(
        organization_id=organization_id, name=domain_of(user.email), verified_at__isnull=False
    )
    routed = set(serving.values_list("connection_id", flat=True))
    return [connection for connection in usable if connection.pk in routed] or usable


def _goes_on(connection: Connection) -> bool:
    """Whether the plan still includes it; what is required goes on, or nobody could come in."""
    return connection.state == Connection.State.ENFORCED or has(
        connection.organization, Entitlement.SSO
    )

"""Taking over the metadata of identity providers: as a file, or from an address."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from orgs.actors import Actor
from orgs.errors import FailedPrecondition, InvalidArgument
from sso.checks import check_https
from sso.metadata_source import Unfetched, fetch, read, take_over
from sso.models import Connection
from sso.services.changing import connection_to_change, record_change, save_change


@transaction.atomic
def import_metadata(*, actor: Actor, connection_id: UUID, xml: bytes) -> Connection:
    """Have the connection be as the metadata says: entity ID, addresses, certificates.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: no metadata of an identity provider, longer than 512 KiB, without a
            certificate to rely on, or of another identity provider than people sign in by.
        AlreadyExists: another connection of the organization is with that identity provider.
    """
    connection = _saml_connection(actor, connection_id)
    take_over(actor, connection, read(connection, xml), action="uploaded")
    return connection


def set_metadata_url(*, actor: Actor, connection_id: UUID, url: str) -> Connection:
    """Fetch the metadata from there now, take it over, and do so again every hour.

    Empty: not any more; what is known stays. Nothing is kept of an address that does not work. The
    network is asked without a lock, for 20 s at most.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: no https address, or what stands there can't be taken over.
        FailedPrecondition: nothing can be had from there; the message says why.
        AlreadyExists: another connection of the organization is with that identity provider.
    """
    url = check_https(url, "metadata address")
    with transaction.atomic():
        connection = _saml_connection(actor, connection_id)
    try:
        xml = fetch(url) if url else b""
    except Unfetched as error:
        raise FailedPrecondition(f"The metadata can't be fetched. {error}") from error
    with transaction.atomic():
        connection = _saml_connection(actor, connection_id)
        before = connection.metadata_url
        connection.metadata_url, connection.metadata_error = url, ""
        connection.metadata_fetched_at = connection.metadata_tried_at = None
        if url:
            connection.metadata_fetched_at = connection.metadata_tried_at = timezone.now()
            take_over(actor, connection, read(connection, xml), action="fetched")
        if before != url:
            save_change(connection, decides=False)
            record_change(
                EventType.SSO_CONNECTION_UPDATED,
                actor,
                connection,
                changes={"metadata_url": (before, url)},
            )
        else:
            connection.save(update_fields=["metadata_tried_at"])
    return connection


def _saml_connection(actor: Actor, connection_id: UUID) -> Connection:
    connection = connection_to_change(actor, connection_id)
    if connection.protocol != Connection.Protocol.SAML:
        raise InvalidArgument("Metadata belongs to connections by SAML 2.0.")
    return connection

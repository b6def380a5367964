"""The certificates that an identity provider may sign with."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from orgs.actors import Actor
from orgs.errors import AlreadyExists, FailedPrecondition, InvalidArgument, QuotaExceeded, no_such
from sso.certificate_files import read_certificates
from sso.models import Connection, IdpCertificate
from sso.services.changing import connection_to_change
from sso.trail import record_change, save_change

MAX_CERTIFICATES = 10
State = Connection.State


@transaction.atomic
def add_certificate(*, actor: Actor, connection_id: UUID, pem: str) -> IdpCertificate:
    """Believe signatures by these certificates too; the first one that is new.

    Args:
        pem: PEM, one or several, or the base64 of one.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: no certificate that can be relied on, or the connection speaks no SAML.
        AlreadyExists: the connection has all of them.
        QuotaExceeded: more than 10.
    """
    connection = connection_to_change(actor, connection_id)
    added = add_to(actor, connection, pem)
    save_change(connection, decides=False)
    return added[0]


def add_to(actor: Actor, connection: Connection, pem: str) -> list[IdpCertificate]:
    """The same for a connection that is locked; the caller has asked whether the actor may."""
    if connection.protocol != Connection.Protocol.SAML:
        raise InvalidArgument("Certificates belong to connections by SAML 2.0.")
    found = read_certificates(pem, now=timezone.now())
    known = set(connection.certificates.values_list("fingerprint", flat=True))
    new = [each for each in found if each.fingerprint not in known]
    if not new:
        raise AlreadyExists(
            f"The connection has the certificate {found[0].fingerprint[:16]} already."
        )
    if len(known) + len(new) > MAX_CERTIFICATES:
        raise QuotaExceeded(
            f"A connection has at most {MAX_CERTIFICATES} certificates. Remove old ones first."
        )
    added = [
        IdpCertificate.objects.create(
            connection=connection,
            pem=each.pem,
            fingerprint=each.fingerprint,
            not_before=each.not_before,
            not_after=each.not_after,
            source=IdpCertificate.Source.MANUAL,
        )
        for each in new
    ]
    for certificate in added:
        _record(EventType.SSO_CERTIFICATE_ADDED, actor, connection, certificate)
    return added


@transaction.atomic
def remove_certificate(*, actor: Actor, connection_id: UUID, certificate_id: UUID) -> None:
    """Believe no more signatures by the certificate, from now on.

    Raises:
        NotFound: there is no such connection or certificate.
        PermissionDenied: the actor may not configure the connection.
        FailedPrecondition: it is the last one that is not over, and the connection is in use.
    """
    connection = connection_to_change(actor, connection_id)
    certificate = connection.certificates.filter(pk=certificate_id).first()
    if certificate is None:
        raise no_such(f"certificate {certificate_id}")
    now = timezone.now()
    others = connection.certificates.filter(not_after__gt=now).exclude(pk=certificate_id)
    in_use = connection.state in {State.TESTING, State.ACTIVE, State.ENFORCED}
    if in_use and certificate.not_after > now and not others.exists():
        raise FailedPrecondition(
            f"{certificate.fingerprint[:16]} is the last certificate of {connection.name} that is"
            " not over: nobody could sign in without it. Add the new one first, or switch the"
            " connection off."
        )
    _record(EventType.SSO_CERTIFICATE_REMOVED, actor, connection, certificate)
    certificate.delete()
    save_change(connection, decides=True)


def _record(
    event: EventType, actor: Actor, connection: Connection, certificate: IdpCertificate
) -> None:
    record_change(
        event,
        actor,
        connection,
        detail={
            "fingerprint": certificate.fingerprint,
            "not_before": certificate.not_before.isoformat(),
            "not_after": certificate.not_after.isoformat(),
        },
    )

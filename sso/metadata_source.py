"""What an identity provider says of itself in its metadata: fetched, believed, kept.

Below the services, so that the schedule uses the same rules as a person who asks. What is fetched
is believed because of the TLS certificate of the place that the organization's people named.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from audit.events import EventType
from audit.streams.https import send
from audit.streams.targets import DeliveryFailed
from orgs.actors import Actor, system
from orgs.errors import FailedPrecondition, InvalidArgument, Refused
from orgs.services.owners import lock_organization
from rest.wording import shown
from sso.certificate_files import ReadCertificate, usable
from sso.checks import check_https
from sso.models import Connection, IdpCertificate
from sso.notices import mail_owners
from sso.saml.metadata import IdpMetadata, parse_idp_metadata
from sso.trail import forget_people, record_change, save_change

EVERY = timedelta(hours=1)
MAX_BYTES = 512 * 1024
_OK = 200
_ERROR_LENGTH = 500
State, Source = Connection.State, IdpCertificate.Source

logger = logging.getLogger(__name__)


class Unfetched(Exception):
    """The metadata could not be had; the text says why, for the organization's people."""


def fetch(url: str) -> bytes:
    """What stands at the address.

    Over TLS with a certificate to trust, from public addresses unless the operator allows others,
    without following redirects, at most 512 KiB, in at most 20 s.

    Raises:
        Unfetched: it can't be had.
    """
    headers = {
        "Host": urlsplit(url).netloc,
        "Accept": "application/samlmetadata+xml, application/xml, text/xml, */*",
        "User-Agent": "Tamarack",
        "Connection": "close",
    }
    try:
        answer = send("GET", url, headers=headers, body=b"", limit=MAX_BYTES + 1)
    except DeliveryFailed as error:
        raise Unfetched(str(error)) from error
    if answer.status != _OK:
        raise Unfetched(
            f"{shown(url)} answered {answer.status}; it has to be {_OK}, without a redirect."
        )
    if len(answer.body) > MAX_BYTES:
        raise Unfetched(f"{shown(url)} answered more than {MAX_BYTES} bytes.")
    return answer.body


def read(connection: Connection, xml: bytes) -> IdpMetadata:
    """The metadata of the connection's identity provider.

    Raises:
        InvalidArgument: it can't be understood, is too long, or names another identity provider
            than the one that the connection is in use with.
    """
    if len(xml) > MAX_BYTES:
        raise InvalidArgument(
            f"The metadata has {len(xml)} bytes; at most {MAX_BYTES} are read. Where a whole"
            " federation is in it, give the part of your identity provider alone."
        )
    pinned = connection.idp_entity_id
    if not pinned or connection.state in {State.DRAFT, State.TESTING, State.DISABLED}:
        try:
            return parse_idp_metadata(xml, entity_id="")
        except InvalidArgument:
            # Several identity providers in one file: the one at hand is meant.
            if not pinned:
                raise
    found = parse_idp_metadata(xml, entity_id=pinned)
    if found.entity_id != pinned:
        raise InvalidArgument(
            f"The metadata is of the identity provider {shown(found.entity_id)}; people sign in by"
            f" {shown(pinned)}. For another one, make another connection or switch this one off"
            " first."
        )
    return found


def take_over(actor: Actor, connection: Connection, found: IdpMetadata, *, action: str) -> bool:
    """Have the connection be as the metadata says; whether anything changed. The row is locked.

    Certificates that are new are believed from now on. Those that came by metadata before and are
    gone from it are not any more; those that people gave stay. Where the identity provider is
    another one, nothing stays of the one before: no certificate, and nobody whom it named.

    Raises:
        InvalidArgument: no certificate that can be relied on, or an address that can't be used.
        AlreadyExists: another connection of the organization has the entity ID.
    """
    now = timezone.now()
    published = usable(found.certificates, now=now)
    if not published:
        raise InvalidArgument(
            "The metadata has no signing certificate that can be relied on: one that is not over,"
            " with an RSA key of 2048 bits at least or an EC key of 256."
        )
    values = {
        "idp_entity_id": found.entity_id,
        "sso_url": check_https(found.sso_url, "sign-in address in the metadata"),
        "slo_url": check_https(found.slo_url, "logout address in the metadata"),
    }
    changes: dict[str, tuple[object, object]] = {
        name: (getattr(connection, name), value)
        for name, value in values.items()
        if getattr(connection, name) != value
    }
    is_other = bool(connection.idp_entity_id) and "idp_entity_id" in changes
    before = sorted(connection.certificates.values_list("fingerprint", flat=True))
    if is_other:
        forget_people(connection)
    _replace_certificates(connection, published, is_other=is_other)
    after = sorted(connection.certificates.values_list("fingerprint", flat=True))
    if before != after:
        changes["fingerprint"] = (before, after)
    connection.metadata_error = ""
    if not changes:
        connection.save(update_fields=["metadata_error", "metadata_fetched_at"])
        return False
    for name, value in values.items():
        setattr(connection, name, value)
    decides = bool(changes.keys() & {"idp_entity_id", "sso_url"}) or bool(set(before) - set(after))
    save_change(connection, decides=decides)
    record_change(
        EventType.SSO_METADATA_REFRESHED,
        actor,
        connection,
        detail={"action": action},
        changes=changes,
    )
    return True


def _replace_certificates(
    connection: Connection, published: list[ReadCertificate], *, is_other: bool
) -> None:
    rows = connection.certificates
    if is_other:
        rows.all().delete()
    wanted = {each.fingerprint for each in published}
    known = set(rows.values_list("fingerprint", flat=True))
    # `published` has one at least that is not over, so one is left.
    rows.filter(source=Source.METADATA).exclude(fingerprint__in=wanted).delete()
    for each in published:
        if each.fingerprint not in known:
            rows.create(
                pem=each.pem,
                fingerprint=each.fingerprint,
                not_before=each.not_before,
                not_after=each.not_after,
                source=Source.METADATA,
            )


def due() -> list[UUID]:
    """The connections whose metadata is to be fetched, the longest untried first."""
    untried = Q(metadata_tried_at=None) | Q(metadata_tried_at__lt=timezone.now() - EVERY)
    rows = Connection.objects.filter(untried, protocol=Connection.Protocol.SAML)
    rows = rows.exclude(metadata_url="").exclude(state=State.DISABLED)
    oldest = rows.order_by(F("metadata_tried_at").asc(nulls_first=True), "pk")
    return list(oldest.values_list("pk", flat=True)[:200])


def refresh(connection_id: UUID) -> None:
    """Fetch the metadata anew, unless somebody else just did.

    What fails leaves everything as it is, is kept in `metadata_error`, and is mailed to the owners
    the first time. The entity ID stays what it is: with another one, nothing is taken over.
    """
    seen = Connection.objects.filter(pk=connection_id).exclude(metadata_url="").first()
    now = timezone.now()
    if seen is None or (seen.metadata_tried_at and seen.metadata_tried_at > now - EVERY):
        return
    # Whoever moves the time has the turn.
    mine = Connection.objects.filter(pk=connection_id, metadata_tried_at=seen.metadata_tried_at)
    if not mine.update(metadata_tried_at=now):
        return
    actor = system("refresh of metadata")
    try:
        xml = fetch(seen.metadata_url)
        with transaction.atomic():
            connection = _locked(seen)
            if connection is not None:
                found = _pinned(connection, xml)
                connection.metadata_fetched_at = now
                take_over(actor, connection, found, action="refreshed")
    except (Unfetched, Refused) as error:
        _note_failure(seen, str(error))


def _pinned(connection: Connection, xml: bytes) -> IdpMetadata:
    """The metadata, of the same identity provider as until now whatever the connection's state.

    Raises:
        InvalidArgument: it can't be understood.
        FailedPrecondition: it is of another one.
    """
    found = read(connection, xml)
    if connection.idp_entity_id and found.entity_id != connection.idp_entity_id:
        raise FailedPrecondition(
            f"The metadata names {shown(found.entity_id)} now, not"
            f" {shown(connection.idp_entity_id)}. Nothing was taken over: if that is right, give"
            " the address again."
        )
    return found


def _locked(seen: Connection) -> Connection | None:
    """The row, unless its address changed meanwhile."""
    organization = lock_organization(seen.organization_id)
    rows = Connection.objects.select_for_update()
    connection = rows.filter(pk=seen.pk, metadata_url=seen.metadata_url).first()
    if connection is not None and organization is not None:
        connection.organization = organization
    return connection


@transaction.atomic
def _note_failure(seen: Connection, problem: str) -> None:
    connection = _locked(seen)
    if connection is None:
        return
    is_first = not connection.metadata_error
    connection.metadata_error = problem[:_ERROR_LENGTH]
    connection.save(update_fields=["metadata_error"])
    logger.warning("The metadata of connection %s can't be refreshed: %s", seen.pk, problem)
    if is_first:
        mail_owners(
            connection.organization_id,
            subject=f"The metadata of {connection.name} can't be refreshed",
            text=(
                f"The metadata of the identity provider of {connection.name}"
                f" ({connection.organization.name}) can't be refreshed:\n\n{problem}\n\nSign-ins go"
                " on with what is known. When the identity provider changes its certificate, they"
                " will stop. It is tried again every hour.\n"
            ),
        )

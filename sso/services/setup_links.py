"""Links by which the identity provider's administrator sets a connection up, without an account."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from orgs.actors import Actor
from orgs.errors import FailedPrecondition, InvalidArgument, NotFound
from orgs.services.owners import lock_organization
from sso.checks import check_entity_id, check_https
from sso.metadata_source import read, take_over
from sso.models import Connection, SetupLink
from sso.notices import mail_owners
from sso.services.certificates import add_to
from sso.services.changing import connection_to_change
from sso.trail import forget_people, record_change, save_change

OPEN_FOR = timedelta(hours=72)
MAX_TOKEN = 100
STATES = frozenset({Connection.State.DRAFT, Connection.State.TESTING})
"""Nobody signs in by such a connection yet, so a link that went astray lets nobody in."""


@transaction.atomic
def create_setup_link(*, actor: Actor, connection_id: UUID) -> tuple[SetupLink, str]:
    """A link that works once within 72 hours, and its token, which is nowhere else.

    One that was made before and not used works no more.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: the connection does not speak SAML.
        FailedPrecondition: it is in use, or switched off.
    """
    connection = connection_to_change(actor, connection_id)
    if connection.protocol != Connection.Protocol.SAML:
        raise InvalidArgument("Set-up links are for connections by SAML 2.0.")
    if connection.state not in STATES:
        raise FailedPrecondition(
            f"{connection.name} is {connection.state}: a set-up link is for one that is a draft or"
            " being tested. Change its state first, or enter the data yourself."
        )
    connection.setup_links.filter(used_at=None).delete()
    token = secrets.token_urlsafe(32)
    link = SetupLink.objects.create(
        connection=connection,
        token_hash=_hash(token),
        created_by=actor.label[:320],
        expires_at=timezone.now() + OPEN_FOR,
    )
    record_change(
        EventType.SSO_SETUP_LINK_CREATED,
        actor,
        connection,
        detail={"expires_at": link.expires_at.isoformat()},
    )
    return link, token


def open_setup_link(token: str) -> SetupLink:
    """The link with its connection and organization. Looking does not use it up.

    Raises:
        NotFound: no such link, used before, over, or its connection is in use. One answer for all.
    """
    link = (
        SetupLink.objects.select_related("connection__organization")
        .filter(token_hash=_hash(token), used_at=None, expires_at__gt=timezone.now())
        .first()
    )
    if link is None or link.connection.state not in STATES:
        raise _over()
    return link


@transaction.atomic
def use_setup_link(
    token: str,
    *,
    xml: bytes | None = None,
    entity_id: str = "",
    sso_url: str = "",
    certificate: str = "",
    ip: str,
    request_id: str,
) -> Connection:
    """Set the connection up with the link, which is used up then. What is refused uses nothing up.

    Args:
        xml: the identity provider's metadata; None: the other three are given.

    Raises:
        NotFound: as `open_setup_link`.
        InvalidArgument: a value is missing or can't be used.
        AlreadyExists: another connection of the organization is with that identity provider.
    """
    seen = open_setup_link(token)
    lock_organization(seen.connection.organization_id)
    connection = Connection.objects.select_for_update().get(pk=seen.connection_id)
    connection.organization = seen.connection.organization
    now = timezone.now()
    open_links = SetupLink.objects.filter(pk=seen.pk, used_at=None, expires_at__gt=now)
    if connection.state not in STATES or not open_links.update(used_at=now):
        raise _over()
    actor = Actor(kind="system", id=str(seen.pk), label="set-up link", ip=ip, request_id=request_id)
    if xml is not None:
        take_over(actor, connection, read(connection, xml), action="uploaded")
    else:
        _enter(actor, connection, entity_id, sso_url, certificate)
    record_change(EventType.SSO_SETUP_LINK_USED, actor, connection)
    mail_owners(
        connection.organization_id,
        subject=f"{connection.name} was set up",
        text=(
            f"Somebody used the set-up link for {connection.name}"
            f" ({connection.organization.name}), from the address {ip or 'unknown'}. The identity"
            f" provider is {connection.idp_entity_id} now.\n\nCheck it and try a sign-in before you"
            " switch it on. If you gave the link to nobody, delete the connection.\n"
        ),
    )
    return connection


def _enter(
    actor: Actor, connection: Connection, entity_id: str, sso_url: str, certificate: str
) -> None:
    """Take over what somebody typed in, certificates of before left out."""
    values = {
        "idp_entity_id": check_entity_id(entity_id),
        "sso_url": check_https(sso_url, "sign-in address"),
    }
    for name, value in values.items():
        if not value:
            raise InvalidArgument(f"The {name} is missing.")
    changes: dict[str, tuple[object, object]] = {
        name: (getattr(connection, name), value)
        for name, value in values.items()
        if getattr(connection, name) != value
    }
    if connection.idp_entity_id and "idp_entity_id" in changes:
        forget_people(connection)
    connection.certificates.all().delete()
    add_to(actor, connection, certificate)
    for name, value in values.items():
        setattr(connection, name, value)
    save_change(connection, decides=True)
    record_change(EventType.SSO_CONNECTION_UPDATED, actor, connection, changes=changes)


def _hash(token: str) -> str:
    return hashlib.sha256(token[:MAX_TOKEN].encode("utf-8", "replace")).hexdigest()


def _over() -> NotFound:
    return NotFound(
        "This set-up link does not work: it was used before, or its time is over. Ask whoever sent"
        " it to you for a new one."
    )

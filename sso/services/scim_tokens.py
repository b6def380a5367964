"""Letting a directory in: its switch and its tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import FailedPrecondition, InvalidArgument, QuotaExceeded, no_such
from orgs.permissions import Permission
from orgs.plans import Entitlement
from sso.models import Connection, Domain, ScimToken
from sso.scim import secrets
from sso.selectors.scim import not_over
from sso.services.changing import connection_to_change, record_change, save_change

DEFAULT_DAYS = 90
MAX_DAYS = 366
MAX_TOKENS = 2
"""So many at once that a token can be exchanged without a gap, and no forgotten ones."""
NOTED_EVERY = timedelta(minutes=1)


@transaction.atomic
def create_scim_token(
    *, actor: Actor, connection_id: UUID, expires_in_days: int | None = DEFAULT_DAYS
) -> tuple[ScimToken, str]:
    """A token for the connection's directory, and its text, which is told this once only.

    Tokens whose time is over make room.

    Args:
        expires_in_days: None: it lasts until somebody revokes it.

    Raises:
        NotFound, ReauthenticationRequired: as `connection_to_change`.
        PermissionDenied: the actor may not, or the plan has no directories.
        InvalidArgument: a number of days that is not 1 to 366.
        QuotaExceeded: there are two already.
    """
    connection = connection_to_change(actor, connection_id)
    require(connection.organization, Entitlement.SCIM)
    if expires_in_days is not None and not 1 <= expires_in_days <= MAX_DAYS:
        raise InvalidArgument(
            f"expires_in_days {expires_in_days} has to be 1 to {MAX_DAYS}, or null for a token that"
            " does not expire."
        )
    connection.scim_tokens.exclude(not_over()).delete()
    if connection.scim_tokens.count() >= MAX_TOKENS:
        raise QuotaExceeded(
            f"The connection {connection.name} has {MAX_TOKENS} tokens already, which is as many as"
            " an exchange takes. Revoke the one that the directory no longer uses."
        )
    made = secrets.generate()
    token = ScimToken.objects.create(
        connection=connection,
        lookup=made.lookup,
        secret_hash=made.digest,
        created_by=actor.label[:320],
        expires_at=_in_days(expires_in_days),
    )
    _record(EventType.SCIM_TOKEN_CREATED, actor, connection, token)
    return token, made.text


@transaction.atomic
def revoke_scim_token(*, actor: Actor, connection_id: UUID, token_id: UUID) -> None:
    """Have the token count no more, from the next request on.

    Raises:
        NotFound: the connection has no such token.
        PermissionDenied, ReauthenticationRequired: as `connection_to_change`.
    """
    connection = connection_to_change(actor, connection_id)
    token = connection.scim_tokens.filter(pk=token_id).first()
    if token is None:
        raise no_such(f"SCIM token {token_id}")
    _revoke(actor, connection, token)


@transaction.atomic
def set_scim(*, actor: Actor, connection_id: UUID, enabled: bool) -> Connection:
    """Let a directory decide on the organization's people and groups, or no longer.

    People, roles and groups stay as they are. Switching it off revokes the tokens, and owners
    decide again.

    Raises:
        NotFound, ReauthenticationRequired: as `connection_to_change`.
        PermissionDenied: the actor may not, or the plan has no directories.
        FailedPrecondition: the organization has proven no domain to own.
    """
    connection = connection_to_change(actor, connection_id)
    if connection.scim_enabled == enabled:
        return connection
    if enabled:
        require(connection.organization, Entitlement.SCIM)
        proven = Domain.objects.filter(
            organization_id=connection.organization_id, verified_at__isnull=False
        )
        if not proven.exists():
            raise FailedPrecondition(
                "A directory keeps people of the organization's own domains only, and none is"
                " proven yet. Add a domain and its DNS record first."
            )
    connection.scim_enabled = enabled
    save_change(connection, decides=False)
    record_change(
        EventType.SSO_CONNECTION_UPDATED,
        actor,
        connection,
        changes={"scim_enabled": (not enabled, enabled)},
    )
    if not enabled:
        for token in connection.scim_tokens.all():
            _revoke(actor, connection, token)
    return connection


def note_use(token: ScimToken) -> None:
    """Keep when the token was used last, to the minute."""
    now = timezone.now()
    ScimToken.objects.filter(
        Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY), pk=token.pk
    ).update(last_used_at=now)


def _in_days(days: int | None) -> datetime | None:
    return None if days is None else timezone.now() + timedelta(days=days)


def _revoke(actor: Actor, connection: Connection, token: ScimToken) -> None:
    _record(EventType.SCIM_TOKEN_REVOKED, actor, connection, token)
    token.delete()


def _record(event: EventType, actor: Actor, connection: Connection, token: ScimToken) -> None:
    record(
        event,
        actor=actor,
        organization_id=connection.organization_id,
        resource=("scim_token", token.pk, token.lookup),
        permission=Permission.SSO_MANAGE.value,
        detail={
            "connection_id": str(connection.pk),
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        },
    )

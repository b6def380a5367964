"""Reading connections and what belongs to them. All of it is for who may configure sign-on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from orgs.actors import Actor
from orgs.errors import ReauthenticationRequired, no_such
from orgs.permissions import Permission, authorize
from sso.models import Attempt, Connection, Identity, IdpCertificate, SetupLink, SpKey

WARN_WITHIN = timedelta(days=30)


def label_of(connection_id: UUID) -> str:
    """How messages name a connection, whether there is one or not."""
    return f"connection {connection_id}"


def get_connection(actor: Actor, connection_id: UUID) -> Connection:
    """The connection with its organization.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied: the actor may not configure single sign-on there.
    """
    what = label_of(connection_id)
    found = Connection.objects.select_related("organization").filter(pk=connection_id).first()
    if found is None:
        raise no_such(what)
    authorize_reading(actor, found.organization_id, what)
    return found


def connections_of(actor: Actor, organization_id: UUID) -> QuerySet[Connection]:
    """The organization's connections, oldest first.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there.
    """
    authorize_reading(actor, organization_id, f"organization {organization_id}")
    return Connection.objects.filter(organization_id=organization_id)


def authorize_reading(actor: Actor, organization_id: UUID, what: str) -> None:
    """Let pass who may configure single sign-on; just to look takes no fresh proof of who they are.

    Raises:
        NotFound, PermissionDenied: the actor may not.
    """
    # Raised only for who holds the permission.
    with contextlib.suppress(ReauthenticationRequired):
        authorize(actor, Permission.SSO_MANAGE, organization_id=organization_id, what=what)


def certificates_of(actor: Actor, connection_id: UUID) -> QuerySet[IdpCertificate]:
    """The certificates that the identity provider may sign with, the first to end first.

    Raises:
        NotFound, PermissionDenied: as `get_connection`.
    """
    return get_connection(actor, connection_id).certificates.all()


def sp_keys_of(actor: Actor, connection_id: UUID) -> QuerySet[SpKey]:
    """Our key pairs for the connection, oldest first.

    Raises:
        NotFound, PermissionDenied: as `get_connection`.
    """
    return get_connection(actor, connection_id).sp_keys.all()


def attempts_of(actor: Actor, connection_id: UUID) -> QuerySet[Attempt]:
    """The sign-in log, latest first, each with the person it concerns.

    Raises:
        NotFound, PermissionDenied: as `get_connection`.
    """
    return get_connection(actor, connection_id).attempts.select_related("user")


def identities_of(actor: Actor, connection_id: UUID) -> QuerySet[Identity]:
    """The people who are linked to the identity provider, who came first first.

    Raises:
        NotFound, PermissionDenied: as `get_connection`.
    """
    return get_connection(actor, connection_id).identities.select_related("user")


def setup_links_of(actor: Actor, connection_id: UUID) -> QuerySet[SetupLink]:
    """The set-up links, latest first, used and over ones too.

    Raises:
        NotFound, PermissionDenied: as `get_connection`.
    """
    return get_connection(actor, connection_id).setup_links.all()


@dataclass(frozen=True, slots=True)
class Expiring:
    """A certificate whose time is nearly over, or over.

    Attributes:
        kind: `certificate` of the identity provider, or `key` of ours.
        days: whole days that are left; negative: it is over.
    """

    connection: Connection
    kind: str
    label: str
    not_after: datetime
    days: int

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.days < 0


def days_left(until: datetime, now: datetime) -> int:
    """Whole days until then, rounded down; negative from then on."""
    return (until - now) // timedelta(days=1)


def expiring(organization_id: UUID) -> list[Expiring]:
    """What ends within 30 days, or has ended, on connections that are in use; soonest first.

    Two queries.
    """
    now = timezone.now()
    used = {
        "connection__organization_id": organization_id,
        "connection__state__in": (
            Connection.State.TESTING,
            Connection.State.ACTIVE,
            Connection.State.ENFORCED,
        ),
        "not_after__lt": now + WARN_WITHIN,
    }
    certificates = IdpCertificate.objects.select_related("connection").filter(**used)
    keys = SpKey.objects.select_related("connection").filter(
        **used, state=SpKey.State.CURRENT, connection__protocol=Connection.Protocol.SAML
    )
    found = [_expiring(row, "certificate", row.fingerprint[:16], now) for row in certificates]
    found += [_expiring(row, "key", str(row.state), now) for row in keys]
    return sorted(found, key=lambda each: each.not_after)


def _expiring(row: IdpCertificate | SpKey, kind: str, label: str, now: datetime) -> Expiring:
    return Expiring(
        connection=row.connection,
        kind=kind,
        label=label,
        not_after=row.not_after,
        days=days_left(row.not_after, now),
    )


def missing_for_sign_in(connection: Connection) -> list[str]:
    """What the connection lacks before anybody can be sent to the identity provider, in words.

    One query, none where it speaks OpenID Connect.
    """
    if connection.protocol == Connection.Protocol.OIDC:
        needed = {
            "the issuer": connection.issuer,
            "the client ID": connection.client_id,
            "the client secret": connection.wrapped_client_secret,
        }
        return [what for what, value in needed.items() if not value]
    needed = {
        "the identity provider's entity ID": connection.idp_entity_id,
        "the identity provider's sign-in address": connection.sso_url,
    }
    missing = [what for what, value in needed.items() if not value]
    if not connection.certificates.filter(not_after__gt=timezone.now()).exists():
        missing.append("a certificate of the identity provider that is not over")
    return missing

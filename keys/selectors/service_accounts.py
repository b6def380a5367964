"""Reading service accounts and what is known of their secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent
from keys.models import ServiceAccount, ServiceAccountSecret
from orgs.actors import Actor
from orgs.baseline import Demands, LockedOut, is_inside
from orgs.errors import no_such
from orgs.permissions import Permission, authorize

RECENT = timedelta(days=30)


def label_of(account_id: UUID) -> str:
    """What answers call the account, whether it exists or not."""
    return f"service account {account_id}"


def find_account(account_id: UUID, *, lock: bool = False) -> ServiceAccount:
    """The account with its organization; `lock`: kept from others until the transaction ends.

    Raises:
        NotFound: there is none of that id.
    """
    accounts = ServiceAccount.objects.select_related("organization__security_baseline")
    if lock:
        accounts = accounts.select_for_update(of=("self",))
    account = accounts.filter(pk=account_id).first()
    if account is None:
        raise no_such(label_of(account_id))
    return account


def accounts_of(actor: Actor, organization_id: UUID) -> QuerySet[ServiceAccount]:
    """The organization's service accounts.

    Raises:
        NotFound, PermissionDenied: the actor may not see them.
    """
    authorize(
        actor,
        Permission.SERVICE_ACCOUNT_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    return ServiceAccount.objects.filter(organization_id=organization_id)


def get_account(actor: Actor, account_id: UUID) -> ServiceAccount:
    """One service account.

    Raises:
        NotFound: there is none of that id, or none that the actor may know of.
        PermissionDenied: the actor may not see the organization's accounts.
    """
    account = find_account(account_id)
    authorize(
        actor,
        Permission.SERVICE_ACCOUNT_READ,
        organization_id=account.organization_id,
        what=label_of(account_id),
    )
    return account


def secrets_of(actor: Actor, account_id: UUID) -> QuerySet[ServiceAccountSecret]:
    """What is known of the account's secrets, the ended ones included until they are forgotten.

    Raises:
        NotFound, PermissionDenied: as for `get_account`.
    """
    return ServiceAccountSecret.objects.filter(account=get_account(actor, account_id))


def accounts_locked_out(organization_id: UUID, demands: Demands) -> Iterator[LockedOut]:
    """The accounts that got a token lately from a network that is not demanded, by the audit
    trail. Two queries.
    """
    if not demands.ip_ranges:
        return
    accounts = {
        str(row.pk): row for row in ServiceAccount.objects.filter(organization_id=organization_id)
    }
    places = (
        AuditEvent.objects.filter(
            organization_id=organization_id,
            type=EventType.TOKEN_ISSUED,
            time__gte=timezone.now() - RECENT,
        )
        .order_by()
        .values_list("resource_id", "ip")
        .distinct()
    )
    for account_id, ip in places:
        account = accounts.get(account_id)
        if account is not None and ip and not is_inside(ip, demands.ip_ranges):
            reason = f"got a token from {ip}, outside of the ranges"
            yield LockedOut(
                kind="service_account", id=account.pk, label=account.name, reason=reason
            )

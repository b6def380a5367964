"""Reading service accounts and what is known of their secrets."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from keys.models import ServiceAccount, ServiceAccountSecret
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.permissions import Permission, authorize


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

"""Making, changing and deleting service accounts and their secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from keys import opaque
from keys.models import ServiceAccount, ServiceAccountSecret
from keys.peppers import current_pepper, pepper_bytes
from keys.selectors.service_accounts import find_account, label_of
from orgs.actors import Actor
from orgs.entitlements import check_room, require
from orgs.errors import InvalidArgument, OutOfRange, no_such
from orgs.models import PrincipalType, ResourceType, RoleBinding
from orgs.permissions import (
    Permission,
    authorize,
    check_ceiling,
    permissions_in,
)
from orgs.plans import Entitlement
from orgs.removal import remove_binding
from orgs.selectors.bindings import as_binding
from orgs.services.bindings import grant_role
from orgs.services.owners import lock_organization

NAME_BYTES = 80
MAX_BINDINGS = 100
MAX_SECRETS = 2
MAX_OVERLAP_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class NewBinding:
    """A role that an account is to hold, in the words of `orgs.services.bindings.grant_role`.

    Attributes:
        resource_id: may be left out for the organization.
    """

    role: str
    resource_type: ResourceType
    resource_id: UUID | None = None


def check_account_name(name: str, what: str = "service account") -> str:
    """The name without outer white space.

    Raises:
        InvalidArgument: empty, longer than 80 bytes in UTF-8, or with a control character.
    """
    cleaned = name.strip()
    # A lone surrogate has no UTF-8 and is not printable either.
    size = len(cleaned.encode("utf-8", "replace"))
    if not 1 <= size <= NAME_BYTES or not cleaned.isprintable():
        raise InvalidArgument(
            f"The {what} name has to have 1 to {NAME_BYTES} bytes of printable UTF-8 text;"
            f" {cleaned[:40]!r} has {size}."
        )
    return cleaned


def check_account_ceiling(actor: Actor, account: ServiceAccount) -> None:
    """Let nobody speak for an account that may do more than they do.

    Whoever gets its secret, or decides whose word stands for it, can do whatever it can: the
    bindings that count later count too.

    Raises:
        PermissionDenied: the actor lacks something that the account may do; the message names it.
    """
    bindings = RoleBinding.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=timezone.now()),
        principal_type=PrincipalType.SERVICE_ACCOUNT,
        principal_id=account.pk,
    )
    for binding in map(as_binding, bindings.select_related("custom_role")):
        check_ceiling(
            actor,
            permissions_in(binding),
            organization_id=binding.organization_id,
            project_id=binding.project_id,
            index_id=binding.index_id,
        )


@transaction.atomic
def create_service_account(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    role_bindings: Sequence[NewBinding] = (),
) -> tuple[ServiceAccount, str]:
    """A service account with its roles, and its secret, which is told this once and never again.

    Raises:
        NotFound: no such organization, or none that the actor may know of; or a role is on a
            resource that the actor may not know of.
        PermissionDenied: the actor may not make service accounts, or not give one of the roles; or
            the plan has none.
        QuotaExceeded: the organization has as many as it may have.
        InvalidArgument: the name breaks its rule, there are more than 100 roles, or one can't be
            held there.
        AlreadyExists: a role is there twice.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=organization_id, what=what)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    require(organization, Entitlement.SERVICE_ACCOUNTS)
    if len(role_bindings) > MAX_BINDINGS:
        raise InvalidArgument(
            f"A service account is made with at most {MAX_BINDINGS} role bindings, not"
            f" {len(role_bindings)}; give it the others afterwards."
        )
    name = check_account_name(name)
    check_room(
        organization,
        Entitlement.MAX_SERVICE_ACCOUNTS,
        used=ServiceAccount.objects.filter(organization=organization).count(),
    )
    account = ServiceAccount.objects.create(
        organization=organization,
        name=name,
        client_id=opaque.new_client_id(),
        created_by=actor.label,
    )
    secret = _add_secret(account)
    record(
        EventType.SERVICE_ACCOUNT_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("service_account", account.pk, account.name),
        permission=Permission.SERVICE_ACCOUNT_MANAGE,
        detail={"client_id": account.client_id},
    )
    for binding in role_bindings:
        grant_role(
            actor=actor,
            organization_id=organization_id,
            principal=(PrincipalType.SERVICE_ACCOUNT, account.pk),
            role=binding.role,
            resource=(binding.resource_type, binding.resource_id),
        )
    return account, secret


def _add_secret(account: ServiceAccount) -> str:
    pepper = current_pepper()
    text = opaque.CLIENT_SECRET.generate()
    ServiceAccountSecret.objects.create(
        account=account,
        digest=opaque.peppered(pepper_bytes(pepper), text),
        pepper=pepper,
        hint=opaque.hint(text),
    )
    return text


@transaction.atomic
def update_service_account(
    *,
    actor: Actor,
    account_id: UUID,
    name: str | None = None,
    check_version: Callable[[int], None] | None = None,
) -> ServiceAccount:
    """Give the account another name; without one, only the time of its last change moves.

    Args:
        check_version: asked with the version in force, under the row's lock; raises where the
            caller wants another one.

    Raises:
        NotFound: no such account, or none that the actor may know of.
        PermissionDenied: the actor may not change it.
        InvalidArgument: the name breaks its rule.
    """
    account = _managed(actor, account_id)
    if check_version is not None:
        check_version(account.version)
    before = account.name
    account.name = before if name is None else check_account_name(name)
    account.version += 1
    account.save(update_fields=["name", "version", "updated_at"])
    record(
        EventType.SERVICE_ACCOUNT_UPDATED,
        actor=actor,
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        permission=Permission.SERVICE_ACCOUNT_MANAGE,
        changes={} if before == account.name else {"name": (before, account.name)},
    )
    return account


def _managed(actor: Actor, account_id: UUID) -> ServiceAccount:
    """The account, locked, for an actor who may manage it."""
    account = find_account(account_id, lock=True)
    authorize(
        actor,
        Permission.SERVICE_ACCOUNT_MANAGE,
        organization_id=account.organization_id,
        what=label_of(account_id),
    )
    return account


@transaction.atomic
def delete_service_account(*, actor: Actor, account_id: UUID) -> None:
    """Delete the account with its roles, secrets, federation rules and tokens, at once.

    Raises:
        NotFound: no such account, or none that the actor may know of.
        PermissionDenied: the actor may not delete it.
    """
    account = _managed(actor, account_id)
    for binding in RoleBinding.objects.filter(
        principal_type=PrincipalType.SERVICE_ACCOUNT, principal_id=account.pk
    ).select_related("custom_role"):
        remove_binding(
            actor=actor,
            row=binding,
            reason="The service account was deleted",
            permission=Permission.SERVICE_ACCOUNT_MANAGE,
        )
    record(
        EventType.SERVICE_ACCOUNT_DELETED,
        actor=actor,
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        permission=Permission.SERVICE_ACCOUNT_MANAGE,
        detail={"client_id": account.client_id},
    )
    account.delete()


@transaction.atomic
def rotate_secret(
    *, actor: Actor, account_id: UUID, overlap_seconds: int = 0
) -> tuple[ServiceAccount, str]:
    """A new secret, which is told this once. The one before it works for `overlap_seconds` more.

    Whatever was there before that one ends now: there are never more than two, and the new one is
    never the one that ends. With a secret go the tokens that were issued for it.

    Raises:
        NotFound: no such account, or none that the actor may know of.
        PermissionDenied: the actor may not manage it, or it may do more than the actor.
        OutOfRange: the overlap is not 0 to 604800 s.
    """
    account = _managed(actor, account_id)
    check_account_ceiling(actor, account)
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise OutOfRange(
            f"overlap_seconds has to be 0 to {MAX_OVERLAP_SECONDS} (7 days), not {overlap_seconds}."
        )
    now = timezone.now()
    old = list(account.secrets.all())
    kept = (
        max(old, key=lambda each: (each.created_at, each.pk)) if old and overlap_seconds else None
    )
    if kept is not None:
        ends = now + timedelta(seconds=overlap_seconds)
        kept.expires_at = min(kept.expires_at or ends, ends)
        kept.save(update_fields=["expires_at"])
    account.secrets.exclude(pk__in=[kept.pk] if kept else []).delete()
    secret = _add_secret(account)
    account.version += 1
    account.save(update_fields=["version", "updated_at"])
    record(
        EventType.SERVICE_ACCOUNT_SECRET_ROTATED,
        actor=actor,
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        permission=Permission.SERVICE_ACCOUNT_MANAGE,
        detail={
            "client_id": account.client_id,
            "count": len(old) - (kept is not None),
            "expires_at": kept.expires_at.isoformat() if kept and kept.expires_at else None,
        },
    )
    return account, secret


@transaction.atomic
def revoke_secret(*, actor: Actor, account_id: UUID, secret_id: UUID) -> None:
    """Take one secret out of use, with the tokens that were issued for it.

    An account without one can still be spoken for by federation, or get another by rotation.

    Raises:
        NotFound: no such account or secret, or none that the actor may know of.
        PermissionDenied: the actor may not manage the account.
    """
    account = _managed(actor, account_id)
    secret = account.secrets.filter(pk=secret_id).first()
    if secret is None:
        raise no_such(f"secret {secret_id}")
    record(
        EventType.SERVICE_ACCOUNT_SECRET_REVOKED,
        actor=actor,
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        permission=Permission.SERVICE_ACCOUNT_MANAGE,
        detail={"client_id": account.client_id},
    )
    secret.delete()
    account.version += 1
    account.save(update_fields=["version", "updated_at"])

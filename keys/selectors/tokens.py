"""Verifying access tokens. Nothing here writes: it runs at every call of a service account."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from keys import opaque
from keys.models import AccessToken, ServiceAccount
from orgs.actors import Actor
from orgs.baseline import Facts, unmet
from orgs.models import Organization, PrincipalType
from orgs.selectors.bindings import holdings_of


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token that may be used now.

    Attributes:
        id: of the token's row.
        barred: why the organization lets it do nothing from there; empty: it may act.
    """

    id: UUID
    account: ServiceAccount
    actor: Actor
    barred: str


def verify_token(text: str, *, ip: str = "", request_id: str = "") -> VerifiedToken | None:
    """The token that `text` is, used from the address `ip`; None where it is unknown, expired or
    revoked.

    Callers can't tell which. Two queries, none for text that is no token.
    """
    if not opaque.ACCESS_TOKEN.is_one(text):
        return None
    now = timezone.now()
    token = (
        AccessToken.objects.select_related("account__organization__security_baseline")
        .filter(
            # A secret that ran out takes its tokens along.
            Q(secret=None) | Q(secret__expires_at=None) | Q(secret__expires_at__gt=now),
            digest=opaque.digest(text),
            expires_at__gt=now,
        )
        .first()
    )
    if token is None:
        return None
    account = token.account
    return VerifiedToken(
        id=token.pk,
        account=account,
        actor=actor_of(account, ip=ip, request_id=request_id),
        barred=barred(account.organization, ip),
    )


def actor_of(account: ServiceAccount, *, ip: str, request_id: str) -> Actor:
    """The account as the actor of a request, with the bindings in force now. One query."""
    bindings, bars = holdings_of(PrincipalType.SERVICE_ACCOUNT, account.pk, facts=Facts(ip=ip))
    return Actor(
        kind="service_account",
        id=str(account.pk),
        label=f"service account {account.name}",
        organization_id=account.organization_id,
        bindings=bindings,
        bars=bars,
        ip=ip,
        request_id=request_id,
    )


def barred(organization: Organization, ip: str) -> str:
    """Why the organization lets no machine in from `ip`; empty: it does. Its security baseline has
    to be loaded.
    """
    baseline = getattr(organization, "security_baseline", None)
    if baseline is None:
        return ""
    return unmet(
        Facts(ip=ip),
        is_person=False,
        mfa_required=None,
        session_hours=None,
        ip_ranges=baseline.ip_ranges,
    )

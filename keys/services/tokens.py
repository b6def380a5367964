"""Issuing and revoking access tokens."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import NoReturn

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from keys import opaque
from keys.models import AccessToken, FederationRule, ServiceAccount, ServiceAccountSecret
from keys.peppers import pepper_bytes
from keys.selectors.tokens import barred
from keys.services.service_accounts import MAX_SECRETS
from orgs.actors import Actor

LIFETIME = timedelta(minutes=30)
PINECONE_AUDIENCE = "https://api.pinecone.io/"
"""What Pinecone's clients ask for, whatever host they are pointed at."""
EMPTY: Mapping[str, str] = MappingProxyType({})
REPORT_SECONDS = 60
"""Equal refusals within this time are one audit event."""
# Compared in place of secrets that are not there: an unknown client takes as long as a known one.
_NO_DIGEST = bytes(32)
_NO_PEPPER = secrets.token_bytes(32)


class OAuthError(StrEnum):
    """Error codes of RFC 6749 §5.2 and RFC 8693 §2.2.2."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    INVALID_TARGET = "invalid_target"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"


class TokenRefused(Exception):
    """No token; `description` says why and is safe to show."""

    def __init__(self, error: OAuthError, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Asker:
    """Where a request for a token comes from."""

    ip: str = ""
    request_id: str = ""


def check_audience(audience: str) -> None:
    """Whether tokens for it are issued here.

    Raises:
        TokenRefused: it is neither Pinecone's nor this installation's public address.
    """
    own = settings.TAMARACK_PUBLIC_URL.rstrip("/")
    if audience.rstrip("/") not in {PINECONE_AUDIENCE.rstrip("/"), own}:
        raise TokenRefused(
            OAuthError.INVALID_TARGET,
            f"The audience has to be {PINECONE_AUDIENCE} or {own}/, not {audience[:200]!r}.",
        )


def issue_token(*, client_id: str, client_secret: str, asker: Asker) -> tuple[AccessToken, str]:
    """A token for a service account that shows its secret, and the token's text.

    Unknown client and wrong secret are one answer, after the same work. What is refused stands in
    the audit trail: of the organization where the client is known, else of the installation.

    Raises:
        TokenRefused: INVALID_CLIENT where the secret does not fit, UNAUTHORIZED_CLIENT where the
            organization lets nobody in from that address.
        KeyUnavailable: the pepper can't be opened.
    """
    # No text of another form is a client: the database never sees what it could not read.
    known = client_id if opaque.is_client_id(client_id) else ""
    secret = _matching_secret(known, client_secret)
    if secret is None:
        refuse(
            OAuthError.INVALID_CLIENT,
            "There is no such client, or this is not its secret.",
            asker=asker,
            account=ServiceAccount.objects.filter(client_id=known).first(),
        )
    return issue_on(secret, asker=asker)


def _working_secrets() -> QuerySet[ServiceAccountSecret]:
    return ServiceAccountSecret.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    )


def _matching_secret(client_id: str, text: str) -> ServiceAccountSecret | None:
    """The client's secret that `text` is. As many comparisons for no secret as for two."""
    rows = list(
        _working_secrets()
        .filter(account__client_id=client_id)
        .select_related("account__organization__security_baseline", "pepper")
    )
    found = None
    for row in [*rows, *[None] * (MAX_SECRETS - len(rows))]:
        pepper = pepper_bytes(row.pepper) if row else _NO_PEPPER
        digest = bytes(row.digest) if row else _NO_DIGEST
        if hmac.compare_digest(opaque.peppered(pepper, text), digest):
            found = row
    return found


def issue_on(
    ground: ServiceAccountSecret | FederationRule, *, asker: Asker, via: Mapping[str, str] = EMPTY
) -> tuple[AccessToken, str]:
    """A token on the strength of a secret that fits, or of a rule that another party's token meets.

    Args:
        ground: with its account, and that one's organization and security baseline, loaded.
        via: facts about the other party's token, for the audit trail.

    Raises:
        TokenRefused: UNAUTHORIZED_CLIENT where the organization lets nobody in from that address,
            INVALID_CLIENT or INVALID_GRANT where the ground is gone by now.
    """
    account = ground.account
    reason = barred(account.organization, asker.ip)
    if reason:
        refuse(OAuthError.UNAUTHORIZED_CLIENT, reason, asker=asker, account=account)
    issued = _write(ground, asker, via)
    if issued is None:
        refuse(
            OAuthError.INVALID_CLIENT
            if isinstance(ground, ServiceAccountSecret)
            else OAuthError.INVALID_GRANT,
            "What this token would stand on was changed or revoked a moment ago.",
            asker=asker,
            account=account,
        )
    return issued


@transaction.atomic
def _write(
    ground: ServiceAccountSecret | FederationRule, asker: Asker, via: Mapping[str, str]
) -> tuple[AccessToken, str] | None:
    """Write the token with its audit event; None where the ground does not stand any more.

    Whoever takes a ground away holds the account's lock too: no token outlives it.
    """
    account = ServiceAccount.objects.select_for_update().filter(pk=ground.account_id).first()
    if account is None:
        return None
    now = timezone.now()
    is_secret = isinstance(ground, ServiceAccountSecret)
    if is_secret:
        stands = _working_secrets().filter(pk=ground.pk).update(last_used_at=now)
    else:
        stands = FederationRule.objects.filter(
            pk=ground.pk, version=ground.version, issuer__version=ground.issuer.version
        ).count()
    if not stands:
        return None
    text = opaque.ACCESS_TOKEN.generate()
    token = AccessToken.objects.create(
        digest=opaque.digest(text),
        account=account,
        secret=ground if is_secret else None,
        rule=None if is_secret else ground,
        expires_at=now + LIFETIME,
    )
    record(
        EventType.TOKEN_ISSUED,
        actor=Actor(
            kind="service_account",
            id=str(account.pk),
            label=f"service account {account.name}",
            organization_id=account.organization_id,
            ip=asker.ip,
            request_id=asker.request_id,
        ),
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        detail={
            "client_id": account.client_id,
            "expires_at": token.expires_at.isoformat(),
            "kind": "client_credentials" if is_secret else "token_exchange",
            **via,
        },
    )
    return token, text


def refuse(
    error: OAuthError, description: str, *, asker: Asker, account: ServiceAccount | None
) -> NoReturn:
    """Note the refusal in the audit trail, then raise it.

    Equal ones from one address within a minute are one event: a client that tries again and again,
    or a stranger, must not flood the trail.

    Raises:
        TokenRefused: always.
    """
    note_refusal(description, asker=asker, account=account)
    raise TokenRefused(error, description)


def note_refusal(reason: str, *, asker: Asker, account: ServiceAccount | None) -> None:
    """Note that a token, or its use, was refused: once a minute for each account, address and
    reason. `account` is None where nobody knows which one was meant.
    """
    who = str(account.pk) if account else ""
    fingerprint = sha256(f"{who}|{asker.ip}|{reason}".encode()).hexdigest()
    if not cache.add(f"token-refused:{fingerprint}", True, REPORT_SECONDS):
        return
    record(
        EventType.TOKEN_REFUSED,
        actor=Actor(
            kind="service_account",
            id=who,
            label=f"service account {account.name}" if account else "unknown client",
            organization_id=account.organization_id if account else None,
            ip=asker.ip,
            request_id=asker.request_id,
        ),
        organization_id=account.organization_id if account else None,
        resource=("service_account", who, account.name if account else "unknown client"),
        detail={"reason": reason, **({"client_id": account.client_id} if account else {})},
        outcome=AuditEvent.Outcome.FAILURE,
    )

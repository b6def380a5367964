"""Issuing and revoking access tokens."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address, ip_network
from types import MappingProxyType

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
ADDRESS_RATE, CLIENT_RATE = 240, 60
"""Requests of one address, tokens of one account: a minute."""
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
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"


class TokenRefused(Exception):
    """No token; `description` says why and is safe to show.

    `retry_after` is set, in seconds, where a rate limit is reached.
    """

    def __init__(self, error: OAuthError, description: str, *, retry_after: int = 0) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Asker:
    """Where a request for a token comes from."""

    ip: str = ""
    request_id: str = ""


def check_rate(what: str, who: str, limit: int) -> None:
    """Count one more try of `who` in this minute.

    The count is kept where those of sign-ins are. Tries at the same instant may be counted as one:
    the limit is there against load and noise, guessing 256 bits is hopeless without it.

    Args:
        what: what is counted, in the words of the message.

    Raises:
        TokenRefused: there were more than `limit`.
    """
    now = int(time.time())
    key = f"token-rate:{sha256(f'{what}|{who}|{now // 60}'.encode()).hexdigest()}"
    if cache.add(key, 1, 120):
        return
    try:
        count = cache.incr(key)
    except ValueError:  # it was pushed out meanwhile
        return
    if count > limit:
        raise TokenRefused(
            OAuthError.TEMPORARILY_UNAVAILABLE,
            f"More than {limit} {what} in a minute. Keep a token until it expires instead of"
            " asking for one each time.",
            retry_after=60 - now % 60,
        )


def check_address_rate(ip: str) -> None:
    """Count one more request from the address; of IPv6 its /64 counts, which is one client's.

    Raises:
        TokenRefused: there were more than 240 in this minute.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        who = ""
    else:
        who = str(ip_network((address, 64), strict=False)) if address.version == 6 else ip  # noqa: PLR2004
    check_rate("requests for tokens from one address", who, ADDRESS_RATE)


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
        raise refusal(
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
        raise refusal(OAuthError.UNAUTHORIZED_CLIENT, reason, asker=asker, account=account)
    # Counted for those that proved themselves only: a stranger can't use the account's share up.
    check_rate("tokens of one service account", str(account.pk), CLIENT_RATE)
    issued = _write(ground, asker, via)
    if issued is None:
        raise refusal(
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
    if isinstance(ground, ServiceAccountSecret):
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
        secret=ground if isinstance(ground, ServiceAccountSecret) else None,
        rule=ground if isinstance(ground, FederationRule) else None,
        expires_at=now + LIFETIME,
    )
    record(
        EventType.TOKEN_ISSUED,
        actor=_as_actor(account, asker),
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        detail={
            "client_id": account.client_id,
            "expires_at": token.expires_at.isoformat(),
            "kind": "client_credentials" if token.secret_id else "token_exchange",
            **via,
        },
    )
    return token, text


def refusal(
    error: OAuthError,
    description: str,
    *,
    asker: Asker,
    account: ServiceAccount | None,
    reason: str = "",
) -> TokenRefused:
    """The refusal, noted in the audit trail with the `reason` that the asker is not told.

    Equal ones from one address within a minute are one event: a client that tries again and again,
    or a stranger, must not flood the trail.
    """
    note_refusal(reason or description, asker=asker, account=account)
    return TokenRefused(error, description)


@transaction.atomic
def note_refusal(reason: str, *, asker: Asker, account: ServiceAccount | None) -> None:
    """Note that a token, or its use, was refused: once a minute for each account, address and
    reason. `account` is None where nobody knows which one was meant.

    That it was noted is kept in the transaction of the note: without one it is tried again.
    """
    organization_id, label = None, "unknown client"
    actor = Actor(
        kind="service_account", id="", label=label, ip=asker.ip, request_id=asker.request_id
    )
    if account is not None:
        organization_id, label = account.organization_id, account.name
        actor = _as_actor(account, asker)
    fingerprint = sha256(f"{actor.id}|{asker.ip}|{reason}".encode()).hexdigest()
    if not cache.add(f"token-refused:{fingerprint}", True, REPORT_SECONDS):
        return
    record(
        EventType.TOKEN_REFUSED,
        actor=actor,
        organization_id=organization_id,
        resource=("service_account", actor.id, label),
        detail={"reason": reason, "client_id": account.client_id if account else None},
        outcome=AuditEvent.Outcome.FAILURE,
    )


@transaction.atomic
def revoke_token(*, text: str, asker: Asker) -> None:
    """End a token on the word of whoever holds it, who could do more harm by using it.

    What is no token in force changes nothing (RFC 7009 §2.2).
    """
    if not opaque.ACCESS_TOKEN.is_one(text):
        return
    token = (
        AccessToken.objects.select_related("account")
        .select_for_update(of=("self",))
        .filter(digest=opaque.digest(text))
        .first()
    )
    if token is None:
        return
    account = token.account
    token.delete()
    record(
        EventType.TOKEN_REVOKED,
        actor=_as_actor(account, asker),
        organization_id=account.organization_id,
        resource=("service_account", account.pk, account.name),
        detail={"client_id": account.client_id},
    )


def _as_actor(account: ServiceAccount, asker: Asker) -> Actor:
    """The account as the trail shows it; what it may do plays no part in getting a token."""
    return Actor(
        kind="service_account",
        id=str(account.pk),
        label=f"service account {account.name}",
        organization_id=account.organization_id,
        ip=asker.ip,
        request_id=asker.request_id,
    )

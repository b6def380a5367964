"""Who sends a request: the address it came from, and the person signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone

from orgs.actors import Actor
from orgs.baseline import Facts
from orgs.identity_providers import identity_providers
from orgs.models import User
from orgs.selectors.bindings import actor_for


def client_ip(request: HttpRequest) -> str:
    """The address that the gateway saw, or "" where there is none.

    The gateway appends it to `X-Forwarded-For`, so only the last entry can be believed; everything
    before it is what the client claims.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(forwarded or request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return ""


def request_id(request: HttpRequest) -> str:
    """The request's name in logs and the audit trail."""
    return str(getattr(request, "request_id", ""))


def session_started_at(request: HttpRequest) -> datetime | None:
    """When the person signed in; None where nobody did."""
    started = request.session.get("started")
    return datetime.fromtimestamp(started, tz=UTC) if started else None


def _proofs(request: HttpRequest, user: AbstractBaseUser | AnonymousUser) -> list[dict[str, Any]]:
    """How and when this person proved who they are in this session, as allauth notes it."""
    found: list[dict[str, Any]] = get_authentication_records(request, user)
    return found


def kinds_of_proof(request: HttpRequest, user: AbstractBaseUser | AnonymousUser) -> list[str]:
    """What the person showed, in order, such as `["password", "totp"]` or `["webauthn"]`."""
    return [str(proof.get("type") or proof["method"]) for proof in _proofs(request, user)]


def authenticated_at(request: HttpRequest) -> datetime | None:
    """When the person signed in last proved who they are, by signing in or again since."""
    return _proven_at(request, request.user)


def _proven_at(request: HttpRequest, user: AbstractBaseUser | AnonymousUser) -> datetime | None:
    times = [float(proof["at"]) for proof in _proofs(request, user)]
    return datetime.fromtimestamp(max(times), tz=UTC) if times else None


def is_fresh(request: HttpRequest) -> bool:
    """Whether that was a short while ago, as `orgs.permissions.require_fresh` asks of services."""
    at = authenticated_at(request)
    limit = timedelta(seconds=settings.TAMARACK_REAUTH_SECONDS)
    return at is not None and timezone.now() - at <= limit


def has_mfa(request: HttpRequest, user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a second factor or a passkey was part of it, and the person still has one.

    A recovery code counts: it stands in for the factor that it belongs to. One query, none where
    the session knows of no second factor.
    """
    if not any(proof.get("method") == "mfa" for proof in _proofs(request, user)):
        return False
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=kinds).exists())


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sign-in through an organization's own way left in the session.

    Attributes:
        method: `sso`, or `break_glass` where the organization's own way was not to be had.
        until: when it is over.
        has_mfa: whether the identity provider checked a second factor that the organization trusts.
        access_id: of the emergency access, which can be ended before its time; None: no such one.
    """

    organization_id: UUID
    method: str
    until: datetime
    has_mfa: bool
    access_id: UUID | None = None


GRANTING = ("sso", "break_glass")
"""Methods of proof that open one organization. Their records carry `organization`, `until` (seconds
since the epoch) and, where it holds, `mfa`; those of `break_glass` also `access`."""


def grants_of(request: HttpRequest, user: AbstractBaseUser | AnonymousUser) -> list[Grant]:
    """The session's grants that are not over.

    No query, but for those of an emergency, which end with the right to them.
    """
    found = [
        Grant(
            organization_id=UUID(proof["organization"]),
            method=proof["method"],
            until=datetime.fromtimestamp(float(proof["until"]), tz=UTC),
            has_mfa=proof.get("mfa") is True,
            access_id=UUID(proof["access"]) if proof["method"] == "break_glass" else None,
        )
        for proof in _proofs(request, user)
        if proof.get("method") in GRANTING
        and (proof["method"] != "break_glass" or proof.get("access"))
    ]
    now = timezone.now()
    return [
        grant
        for grant in found
        if grant.until > now
        and (
            grant.access_id is None
            or identity_providers().emergency_lasts(grant.access_id, UUID(str(user.pk)))
        )
    ]


def connections_of_session(
    request: HttpRequest, user: AbstractBaseUser | AnonymousUser
) -> list[UUID]:
    """The connections to identity providers by which the person signs in, or did, in this session;
    not those that only let the person into one more organization.
    """
    return [UUID(proof["connection"]) for proof in _proofs(request, user) if proof.get("opened")]


def actor_of(request: HttpRequest, user: User) -> Actor:
    """The person as the actor of this request."""
    grants = grants_of(request, user)
    facts = Facts(
        ip=client_ip(request),
        has_mfa=has_mfa(request, user),
        session_started_at=session_started_at(request),
        sso_organizations=frozenset(grant.organization_id for grant in grants),
        idp_mfa_organizations=frozenset(grant.organization_id for grant in grants if grant.has_mfa),
    )
    return actor_for(
        user,
        facts=facts,
        authenticated_at=_proven_at(request, user),
        request_id=request_id(request),
    )

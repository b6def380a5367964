"""Who sends a request: the address it came from, and the person signed in."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from django.http import HttpRequest

from orgs.actors import Actor
from orgs.baseline import Facts
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


def _methods(request: HttpRequest) -> list[dict[str, Any]]:
    """How and when the person proved who they are in this session, as allauth notes it."""
    return list(request.session.get("account_authentication_methods", []))


def authenticated_at(request: HttpRequest) -> datetime | None:
    """When the person last proved who they are, by signing in or again since."""
    times = [float(method["at"]) for method in _methods(request) if "at" in method]
    return datetime.fromtimestamp(max(times), tz=UTC) if times else None


def has_mfa(request: HttpRequest) -> bool:
    """Whether a second factor or a passkey was part of it."""
    return any(method.get("method") == "mfa" for method in _methods(request))


def actor_of(request: HttpRequest, user: User) -> Actor:
    """The person as the actor of this request."""
    facts = Facts(
        ip=client_ip(request),
        has_mfa=has_mfa(request),
        session_started_at=session_started_at(request),
    )
    return actor_for(
        user,
        facts=facts,
        authenticated_at=authenticated_at(request),
        request_id=request_id(request),
    )

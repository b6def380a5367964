"""Who sends a request: the address it came from, and the person signed in."""

from __future__ import annotations

from ipaddress import ip_address

from django.http import HttpRequest

from orgs.actors import Actor
from orgs.models import User
from orgs.selectors import actor_for


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


def actor_of(request: HttpRequest, user: User) -> Actor:
    """The person as the actor of this request."""
    return actor_for(user, ip=client_ip(request), request_id=request_id(request))

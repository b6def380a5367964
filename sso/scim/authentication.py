"""Who sends a SCIM request."""

from __future__ import annotations

import hmac
from uuid import UUID

from django.utils import timezone

from sso.models import ScimToken
from sso.scim import secrets
from sso.selectors.scim import token_by_lookup

_NOBODY = "0" * 64
"""Compared with where there is no such token: no secret has this digest."""


def token_from(header: str, connection_id: UUID) -> ScimToken | None:
    """The connection's token that the `Authorization` header shows, with its connection.

    None, and nothing to tell the cases apart by: no token, a wrong one, one of another connection,
    or one whose time is over.
    """
    scheme, _, text = header.partition(" ")
    given = secrets.parse(text.strip()) if scheme.lower() == "bearer" else None
    if given is None:
        return None
    token = token_by_lookup(given.lookup)
    same = hmac.compare_digest(token.secret_hash if token else _NOBODY, given.digest)
    if token is None or not same or token.connection_id != connection_id:
        return None
    if token.expires_at is not None and token.expires_at <= timezone.now():
        return None
    return token

"""From signing out here to signing out at the identity provider."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing
from django.urls import reverse

from sso.models import Connection, SsoSession

LEAVING_SALT = "sso.leaving"
LEAVE_WITHIN = timedelta(minutes=2)


def leaving_page(session_key: str) -> str:
    """The page of ours that tells the identity provider of the session's end; empty: none wants to
    hear of it. What it needs to know travels in the address, sealed, since by then the session is
    over. One query.
    """
    row = (
        SsoSession.objects.filter(
            session_key=session_key, connection__protocol=Connection.Protocol.SAML
        )
        .exclude(connection__slo_url="")
        .exclude(name_id="")
        .order_by("created_at")
        .first()
    )
    if row is None:
        return ""
    known = {
        "connection": str(row.connection_id),
        "name_id": row.name_id,
        "name_id_format": row.name_id_format,
        "session_index": row.session_index,
    }
    token = signing.dumps(known, salt=LEAVING_SALT)
    return f"{reverse('sso:leave', args=[row.connection_id])}?{urlencode({'token': token})}"


def read_leaving(connection_id: UUID, token: str) -> dict[str, str] | None:
    """What the page's address says; None: it is not ours, too old, or another connection's."""
    try:
        known: dict[str, str] = signing.loads(token, salt=LEAVING_SALT, max_age=LEAVE_WITHIN)
    except signing.BadSignature:
        return None
    return known if known["connection"] == str(connection_id) else None

"""Signing out at the identity provider and here, whoever begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import signing
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from audit.events import EventType
from orgs.actors import Actor
from orgs.services.people import record_for_person
from sso.actors import idp_actor
from sso.models import Connection, SsoSession, UsedAssertion
from sso.services.attempts import Visitor
from sso.services.requests import digest

LEAVING_SALT = "sso.leaving"
LEAVE_WITHIN = timedelta(minutes=2)
MESSAGE_KEPT = timedelta(days=1)
"""How long the id of a logout message is remembered; messages are refused for their age before."""


@transaction.atomic
def end_named_sessions(
    connection: Connection,
    message_id: str,
    name_id: str,
    session_indexes: Sequence[str],
    *,
    visitor: Visitor,
) -> int:
    """Sign out whom the identity provider names, wherever they are; how many sessions.

    With session indexes only those sessions; without, all of that name. A session that the
    connection opened ends; one that it was only let into keeps the rest of what it may do. A
    message that comes again does nothing.
    """
    try:
        with transaction.atomic():
            UsedAssertion.objects.create(
                connection=connection,
                # Ids of messages and of assertions are kept apart.
                assertion_hash=digest(f"logout {message_id}"),
                expires_at=timezone.now() + MESSAGE_KEPT,
            )
    except IntegrityError:
        return 0
    rows = SsoSession.objects.select_for_update().filter(connection=connection, name_id=name_id)
    if session_indexes:
        rows = rows.filter(session_index__in=session_indexes)
    found = list(rows.select_related("user"))
    actor = idp_actor(connection, ip=visitor.ip, request_id=visitor.request_id)
    _end(found, connection, actor)
    return len(found)


def _end(rows: list[SsoSession], connection: Connection, actor: Actor) -> None:
    ended = [row.session_key for row in rows if not _take_grant(row.session_key, connection)]
    Session.objects.filter(session_key__in=ended).delete()
    UserSession.objects.filter(session_key__in=ended).delete()
    SsoSession.objects.filter(pk__in=[row.pk for row in rows]).delete()
    counts = Counter(row.user_id for row in rows)
    for user in {row.user_id: row.user for row in rows}.values():
        record_for_person(
            EventType.SESSION_ENDED, actor=actor, user=user, detail={"count": counts[user.pk]}
        )


def _take_grant(session_key: str, connection: Connection) -> bool:
    """Take what the connection granted out of a session that it did not open; False: it did, or
    there is none.
    """
    store = SessionStore(session_key)
    records = store.get(AUTHENTICATION_METHODS_SESSION_KEY) or []
    ours = [each for each in records if each.get("connection") == str(connection.pk)]
    if not ours or any(each.get("opened") for each in ours):
        return False
    store[AUTHENTICATION_METHODS_SESSION_KEY] = [each for each in records if each not in ours]
    store.save()
    return True


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

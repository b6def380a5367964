"""Signing out at the identity provider and here, whoever begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import EventType
from orgs.actors import Actor
from orgs.services.people import record_for_person
from sso.actors import idp_actor
from sso.models import Connection, SsoSession, UsedAssertion
from sso.services.attempts import Visitor
from sso.services.requests import digest

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

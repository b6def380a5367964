"""Ending the sessions that an identity provider opened."""

from __future__ import annotations

from collections import Counter

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction

from audit.events import EventType
from orgs.actors import Actor
from orgs.models import User
from orgs.services.people import record_for_person
from sso.models import Connection, SsoSession


@transaction.atomic
def end_sessions_of(actor: Actor, connection: Connection, *, user: User | None = None) -> int:
    """Sign out everybody whom the connection signed in, or `user` alone, wherever they are; how
    many sessions.

    The caller has asked whether the actor may.
    """
    found = SsoSession.objects.filter(connection=connection).select_related("user")
    rows = list(found if user is None else found.filter(user=user))
    keys = [row.session_key for row in rows]
    Session.objects.filter(session_key__in=keys).delete()
    UserSession.objects.filter(session_key__in=keys).delete()
    SsoSession.objects.filter(pk__in=[row.pk for row in rows]).delete()
    people = {row.user_id: row.user for row in rows}
    counts = Counter(row.user_id for row in rows)
    for person in people.values():
        record_for_person(
            EventType.SESSION_ENDED, actor=actor, user=person, detail={"count": counts[person.pk]}
        )
    return len(rows)

"""The sessions that a person is signed in with."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from orgs.models import User


@dataclass(frozen=True, slots=True)
class OpenSession:
    """One place where the person is signed in; `ip` and `user_agent` are those of the sign-in."""

    id: int
    started_at: datetime
    seen_at: datetime
    ip: str
    user_agent: str
    is_current: bool

    @property
    def browser(self) -> str:
        """The browser and the system that it claims to be, such as `Firefox on Linux`."""
        browser = next((name for mark, name in BROWSERS if mark in self.user_agent), "")
        system = next((name for mark, name in SYSTEMS if mark in self.user_agent), "")
        return " on ".join(filter(None, (browser, system))) or self.user_agent[:40] or "Unknown"


# What browsers call themselves; many also name those that they resemble, so the order counts.
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def sessions_of(user: User, *, current: str) -> list[OpenSession]:
    """The person's open sessions, the current one (by its key) first, then by last use.

    Two queries. Sessions that would be refused at their next request are left out.
    """
    rows = {row.session_key: row for row in UserSession.objects.filter(user=user)}
    stored = Session.objects.filter(session_key__in=rows, expire_date__gt=timezone.now())
    found = [
        OpenSession(
            id=row.pk,
            started_at=row.created_at,
            seen_at=row.last_seen_at,
            ip=row.ip,
            user_agent=row.user_agent,
            is_current=row.session_key == current,
        )
        for session in stored
        if _is_good(session.get_decoded(), user)
        for row in [rows[session.session_key]]
    ]
    return sorted(found, key=lambda each: (not each.is_current, -each.seen_at.timestamp()))


def _is_good(data: dict[str, Any], user: User) -> bool:
    """Whether the session's next request would still find the person signed in."""
    now = time.time()
    return (
        constant_time_compare(data.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
        and now - data.get("seen", now) <= settings.TAMARACK_SESSION_IDLE
        and now - data.get("started", now) <= settings.SESSION_COOKIE_AGE
        and now <= data.get("ends", math.inf)
    )

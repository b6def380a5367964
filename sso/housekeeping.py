"""What is left of sign-ins when their time is over. Safe to repeat and to interrupt anywhere."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db.models import Count
from django.utils import timezone

from sso.models import Attempt, SignInRequest, SsoSession, UsedAssertion

REQUEST_KEPT = timedelta(days=1)
"""So long a late answer is told that it is late, and not that nobody asked."""
ASSERTION_KEPT = timedelta(hours=1)
"""Beside the time until it is refused for its age, in case clocks jump."""
ATTEMPT_KEPT = timedelta(days=90)
MAX_ATTEMPTS = 10_000
"""Lines of one connection's log: strangers can have some written, and there is an end to it."""


def forget_requests() -> int:
    """Delete sign-ins that nobody can finish any more; what they proved goes at once. How many."""
    now = timezone.now()
    over = SignInRequest.objects.filter(expires_at__lte=now)
    over.filter(answer__isnull=False).update(answer=None)
    count, _ = over.filter(expires_at__lt=now - REQUEST_KEPT).delete()
    return count


def forget_used_assertions() -> int:
    """Delete what is known of assertions that are refused for their age; how many."""
    over = UsedAssertion.objects.filter(expires_at__lt=timezone.now() - ASSERTION_KEPT)
    count, _ = over.delete()
    return count


def forget_attempts() -> int:
    """Delete lines of sign-in logs that are too old, or too many; how many."""
    old = Attempt.objects.filter(created_at__lt=timezone.now() - ATTEMPT_KEPT)
    count, _ = old.delete()
    full = (
        Attempt.objects.order_by()
        .values("connection")
        .annotate(lines=Count("pk"))
        .filter(lines__gt=MAX_ATTEMPTS)
    )
    for connection_id in [row["connection"] for row in full]:
        of_one = Attempt.objects.filter(connection_id=connection_id)
        last = of_one.order_by("-created_at", "-id")[MAX_ATTEMPTS - 1]
        removed, _ = of_one.filter(created_at__lt=last.created_at).delete()
        count += removed
    return count


def forget_sessions() -> int:
    """Delete what is known of sessions that are over; how many."""
    over = SsoSession.objects.exclude(session_key__in=Session.objects.values("session_key"))
    count, _ = over.delete()
    return count

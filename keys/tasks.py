"""Housekeeping of what service accounts leave behind. Every task may run twice or be lost."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from keys.models import AccessToken, ServiceAccountSecret

GRACE = timedelta(hours=1)
"""What ended only now may still be looked at by a request under way."""


@shared_task
def forget_ended_tokens() -> None:
    """Delete tokens and secrets whose time is over. They are refused anyway; safe to repeat."""
    ended = timezone.now() - GRACE
    AccessToken.objects.filter(expires_at__lte=ended).delete()
    ServiceAccountSecret.objects.filter(expires_at__lte=ended).delete()

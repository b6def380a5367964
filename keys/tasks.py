"""Housekeeping of keys.

Every task may run twice or be lost: rows say what is to be done, and the schedule asks again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from keys import housekeeping, usage
from keys.models import AccessToken, LeakReport, ServiceAccountSecret

TOKEN_GRACE = timedelta(hours=1)
"""What ended only now may still be looked at by a request under way."""
logger = logging.getLogger(__name__)


@shared_task
def handle_leak_report(report_id: str) -> None:
    """Do to the keys of a report what their owners want."""
    housekeeping.handle_report(UUID(report_id))


@shared_task
def handle_leak_reports() -> None:
    """Ask for every report that is still open."""
    for report_id in LeakReport.objects.values_list("pk", flat=True):
        ask_to_handle(report_id)


@shared_task
def end_idle_secrets() -> None:
    """End old secrets of rotated keys that nobody uses any more."""
    housekeeping.end_idle_secrets()


@shared_task
def forget_old_usage() -> None:
    """Remove what was counted too long ago."""
    usage.forget_old_usage()


@shared_task
def forget_ended_tokens() -> None:
    """Delete access tokens and client secrets whose time is over; they are refused anyway."""
    ended = timezone.now() - TOKEN_GRACE
    AccessToken.objects.filter(expires_at__lte=ended).delete()
    ServiceAccountSecret.objects.filter(expires_at__lte=ended).delete()


def ask_to_handle(report_id: UUID) -> None:
    """Put the report into the queue; one that does not answer is no reason to fail."""
    try:
        handle_leak_report.apply_async((str(report_id),), expires=60)
    except OperationalError as error:
        logger.warning("The queue does not answer, the schedule asks again: %s", error)

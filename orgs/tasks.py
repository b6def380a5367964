"""Housekeeping of sign-ins."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command


@shared_task
def forget_ended_sessions() -> None:
    """Delete sessions whose time is over. Safe to repeat; what fails waits for next time."""
    call_command("clearsessions")

"""Housekeeping of sign-ins, and the delivery of mail.

Every task may run twice or be lost: rows say what is to be done, and the schedule asks again.
"""

from __future__ import annotations

import logging
from uuid import UUID

from allauth.usersessions.models import UserSession
from celery import shared_task
from django.contrib.sessions.models import Session
from django.core.management import call_command
from kombu.exceptions import OperationalError

from orgs import delivery, housekeeping

logger = logging.getLogger(__name__)


@shared_task
def forget_ended_sessions() -> None:
    """Delete sessions whose time is over. Safe to repeat; what fails waits for next time."""
    call_command("clearsessions")
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()


@shared_task
def deliver_mail(mail_id: str) -> None:
    """Make one attempt to deliver a message; the next one is the schedule's."""
    delivery.deliver(UUID(mail_id))


@shared_task
def deliver_due_mail() -> None:
    """Ask for every message that is due."""
    for mail_id in delivery.due():
        ask_to_deliver(mail_id)


@shared_task
def forget_old_mail() -> None:
    """Delete what is left of old messages."""
    delivery.forget()


@shared_task
def remove_expired_roles() -> None:
    """Remove role bindings whose time is over; they don't count any more as it is."""
    housekeeping.remove_expired_bindings()


@shared_task
def forget_old_decisions() -> None:
    """Delete denials that nobody will ask about any more."""
    housekeeping.forget_old_decisions()


def ask_to_deliver(mail_id: UUID) -> None:
    """Put the message into the queue; one that does not answer is no reason to fail."""
    try:
        deliver_mail.apply_async((str(mail_id),), expires=60)
    except OperationalError as error:
        logger.warning("The queue does not answer, the schedule asks again: %s", error)

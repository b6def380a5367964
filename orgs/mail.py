"""Sending mail from services: written down with the change, delivered after it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone

from orgs.models import OutgoingMail
from orgs.services.checks import check_email
from orgs.tasks import ask_to_deliver

LIFETIME = timedelta(days=1)
SUBJECT_LENGTH = 255


def send(
    *, to: str, subject: str, text: str, html: str = "", lifetime: timedelta = LIFETIME
) -> OutgoingMail:
    """Have a message delivered once the transaction at hand is committed, and only then.

    No network here. `lifetime`: how long it is worth delivering; its body is deleted at the latest
    then, and as soon as it is delivered.

    Raises:
        InvalidArgument: `to` is no e-mail address.
    """
    now = timezone.now()
    mail = OutgoingMail.objects.create(
        to=check_email(to),
        subject=" ".join(subject.split())[:SUBJECT_LENGTH],
        text=text.replace("\0", ""),
        html=html.replace("\0", ""),
        expires_at=now + lifetime,
        next_attempt_at=now,
    )
    transaction.on_commit(partial(ask_to_deliver, mail.pk), robust=True)
    return mail


def pretend() -> None:
    """Do what `send` does for an address that nobody has, and send nothing.

    So the time that an answer takes doesn't tell whether somebody has the address.
    """
    now = timezone.now()
    OutgoingMail.objects.create(subject="(nobody has this address)", expires_at=now)

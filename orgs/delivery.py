"""Delivering mail from its rows: at least once, however often a process dies on the way."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db.models import F
from django.utils import timezone

from orgs.models import OutgoingMail

logger = logging.getLogger(__name__)

# Longer than a worker may take for one task: whoever finds the time over finds the worker gone.
LEASE = timedelta(seconds=300)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=15), timedelta(minutes=30)
AT_ONCE = 100
KEEP = timedelta(days=30)
PERMANENT = range(500, 600)
"""SMTP replies that another attempt won't change (RFC 5321, section 4.2.1)."""


def due() -> list[UUID]:
    """The messages to deliver now, the most overdue first; at most `AT_ONCE`."""
    rows = OutgoingMail.objects.filter(next_attempt_at__lte=timezone.now())
    return list(rows.order_by("next_attempt_at").values_list("pk", flat=True)[:AT_ONCE])


def deliver(mail_id: UUID) -> None:
    """Make one attempt, unless somebody else is at it or the message is over.

    A process that dies between the mail server's yes and our note of it delivers the message again;
    its Message-ID stays the same. What fails is tried again after 15 s, 30 s, 60 s and so on up to
    half an hour, until the message expires. Refused recipients are not tried again.
    """
    now = timezone.now()
    mine = OutgoingMail.objects.filter(pk=mail_id, next_attempt_at__lte=now).update(
        attempts=F("attempts") + 1, next_attempt_at=now + LEASE
    )
    if not mine:
        return
    mail = OutgoingMail.objects.get(pk=mail_id)
    if mail.expires_at <= now:
        _end(mail, error=mail.error or "It expired before it could be delivered.")
        return
    connection = get_connection()
    message = _message(mail)
    message.connection = connection
    try:
        with closing(connection):  # it may be half open: Django leaves that behind
            message.send()
    except SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        _failed(mail, error, final=all(code in PERMANENT for code in codes))
    except ValueError as error:  # an address or a subject that can't be put on the wire
        _failed(mail, error, final=True)
    except (SMTPException, OSError) as error:
        _failed(mail, error, final=False)
    else:
        OutgoingMail.objects.filter(pk=mail.pk).update(
            sent_at=timezone.now(), next_attempt_at=None, text="", html="", error=""
        )


def forget() -> None:
    """Delete what was over or expired long ago, and the files of an installation without mail."""
    before = timezone.now() - KEEP
    OutgoingMail.objects.filter(created_at__lt=before, next_attempt_at=None).delete()
    for path in settings.TAMARACK_MAIL_FOLDER.glob("*.eml"):
        if path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)


def _message(mail: OutgoingMail) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        mail.subject,
        mail.text,
        to=[mail.to],
        headers={
            "Message-ID": f"<{mail.pk}@{settings.TAMARACK_PUBLIC_HOST}>",
            "Auto-Submitted": "auto-generated",
        },
    )
    if mail.html:
        message.attach_alternative(mail.html, "text/html")
    return message


def _failed(mail: OutgoingMail, error: Exception, *, final: bool) -> None:
    """Note a failure, without the text of the answer: it may repeat the message."""
    code = getattr(error, "smtp_code", None)
    said = f"{type(error).__name__}{f' {code}' if code else ''}"
    logger.warning("Mail %s, attempt %d: %s", mail.pk, mail.attempts, said)
    if final:
        _end(mail, error=said)
        return
    wait = min(FIRST_WAIT * 2 ** min(mail.attempts - 1, 20), LONGEST_WAIT)
    # Only while it is still ours: a slow worker must not undo what a later one has done.
    OutgoingMail.objects.filter(
        pk=mail.pk, attempts=mail.attempts, next_attempt_at__isnull=False
    ).update(next_attempt_at=timezone.now() + wait, error=said)


def _end(mail: OutgoingMail, *, error: str) -> None:
    OutgoingMail.objects.filter(pk=mail.pk, next_attempt_at__isnull=False).update(
        next_attempt_at=None, text="", html="", error=error
    )

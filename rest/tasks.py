"""What the schedule asks for. Each may run twice at once or not at all: the rows are the truth."""

from __future__ import annotations

from celery import shared_task

from rest import idempotency


@shared_task
def forget_replies() -> None:
    """Delete kept answers when their time is over: some hold secrets."""
    idempotency.forget_expired()

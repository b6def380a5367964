"""Streams as the services make them, without the question who may."""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID

from django.utils import timezone

from audit.models import Stream
from audit.streams.configuration import checked, checked_secret
from audit.streams.secrets import wrapped
from audit.streams.webhook import new_secret


def make_stream(
    log_id: UUID, kind: Stream.Kind, config: dict[str, Any], secret: str = "", next_seq: int = 0
) -> Stream:
    """A stream that begins with `next_seq`."""
    pk = uuid.uuid4()
    secret = new_secret() if kind == Stream.Kind.WEBHOOK else checked_secret(kind, secret)
    return Stream.objects.create(
        pk=pk,
        log_id=log_id,
        name=f"stream {pk}",
        kind=kind,
        config=checked(kind, config),
        wrapped_secret=wrapped(pk, secret),
        next_seq=next_seq,
    )


def make_due(stream: Stream) -> None:
    """As if its pause were over."""
    Stream.objects.filter(pk=stream.pk).update(next_attempt_at=timezone.now())

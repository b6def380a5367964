"""`Idempotency-Key`: a POST that is repeated happens once, and its answer can be had again.

The answer is stored in the transaction of the change, so a crash leaves both or neither. Whoever
repeats a request that is still being carried out waits for it, for a moment; refusals aren't kept,
since nothing came of them. Follows draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from kms import envelope
from kms.envelope import Context, WrappedKey
from kms.installation import provider
from rest.errors import Conflict, InvalidArgument, Unprocessable
from rest.models import Reply
from rest.wording import shown

KEPT_FOR = timedelta(minutes=10)
WAIT_SECONDS = 5
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: status code, body as sent, and the headers that belong to it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def check_key(key: str) -> None:
    """Let a well-formed key pass.

    Raises:
        InvalidArgument: not 1 to 255 visible ASCII characters.
    """
    if not _KEY.fullmatch(key):
        raise InvalidArgument(
            f"Idempotency-Key {shown(key)} can't be used: 1 to 255 visible ASCII characters,"
            " such as a random UUID."
        )


def claim(*, scope: str, request: bytes, key: str) -> Reply:
    """The row under which this request is carried out, or was.

    Inside the transaction of the change. A row with a `status` holds the answer already.

    Args:
        scope: who asks, method and path.
        request: everything else that makes the request what it is.

    Raises:
        Unprocessable: the key was used for another request.
        Conflict: the first request is still being carried out.
    """
    name = hashlib.sha256(json.dumps([scope, key]).encode()).hexdigest()
    digest = hashlib.sha256(request).hexdigest()
    now = timezone.now()
    try:
        with transaction.atomic(), _waiting_at_most(WAIT_SECONDS):
            Reply.objects.filter(scope=name, expires_at__lte=now).delete()
            return Reply.objects.create(scope=name, request=digest, expires_at=now + KEPT_FOR)
    except IntegrityError:
        reply = Reply.objects.get(scope=name)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        raise Conflict(
            "The first request with this Idempotency-Key is still being carried out. Repeat it in a"
            " moment.",
            retry_after=1,
        ) from error
    if reply.request != digest:
        raise Unprocessable(
            f"Idempotency-Key {shown(key)} was used for a request with another body, query or"
            " organization. Take a new key for each request."
        )
    return reply


def keep(reply: Reply, answer: Answer) -> None:
    """Store the answer, in the transaction of `claim`.

    Raises:
        KeyUnavailable: it can't be encrypted now; the change then does not happen.
    """
    reply.status = answer.status
    data_key, context = envelope.new_key(), _context(reply)
    content = json.dumps(
        {"body": answer.body.decode(), "headers": answer.headers}, separators=(",", ":")
    )
    reply.wrapped_key = provider().wrap(data_key, context=context).dump()
    reply.wrapped_answer = envelope.wrap(
        content.encode(), under=data_key, name="reply", context=context
    ).dump()
    reply.save(update_fields=["status", "wrapped_key", "wrapped_answer"])


def recall(reply: Reply) -> Answer:
    """The stored answer.

    Raises:
        KeyUnavailable: it can't be decrypted, or belongs to another row.
    """
    context = _context(reply)
    data_key = provider().unwrap(WrappedKey.load(reply.wrapped_key), context=context)
    stored = WrappedKey.load(reply.wrapped_answer)
    content = json.loads(envelope.unwrap(stored, under=data_key, name="reply", context=context))
    return Answer(reply.status, content["body"].encode(), content["headers"])


def forget_expired() -> int:
    """Delete the answers whose time is over; how many there were."""
    return Reply.objects.filter(expires_at__lte=timezone.now()).delete()[0]


def _context(reply: Reply) -> Context:
    return {
        "purpose": "idempotent-reply",
        "row": str(reply.pk),
        "scope": reply.scope,
        "request": reply.request,
        "status": str(reply.status),
    }


@contextmanager
def _waiting_at_most(seconds: int) -> Iterator[None]:
    """Bound how long PostgreSQL waits for the row of a request that is being carried out.

    SQLite has one writer at a time and a bound of its own.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{seconds}s'")
        yield
        cursor.execute("SET LOCAL lock_timeout TO DEFAULT")

"""Delivery as a signed POST, as the Standard Webhooks specification says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from urllib.parse import urlsplit

from django.utils import timezone

from audit.documents import timestamp
from audit.models import Stream
from audit.signing import verifier_of
from audit.streams import https
from audit.streams.batches import Batch
from audit.streams.targets import DeliveryFailed

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A signing secret as receivers' libraries take it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, seconds: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = hmac.digest(key, f"{message_id}.{seconds}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def deliver(stream: Stream, secret: str, batch: Batch) -> None:
    """POST the batch; any answer of 200 to 299 acknowledges it.

    Raises:
        DeliveryFailed: it was not acknowledged.
    """
    now = timezone.now()
    seconds = int(now.timestamp())
    # The same for every attempt with these events, another one when more have joined them.
    message_id = f"audit_{stream.pk.hex}_{batch.start}_{batch.end}"
    body = json.dumps(
        {
            "type": "audit.events",
            "timestamp": timestamp(now),
            "data": {
                "log_id": str(batch.log_id),
                "from_seq": batch.start,
                "end_seq": batch.end,
                "events": batch.entries,
                "checkpoint": batch.checkpoint,
                "public_key": str(verifier_of(batch.log_id)),
            },
        },
        separators=(",", ":"),
    ).encode()
    url: str = stream.config["url"]
    answer = https.send(
        "POST",
        url,
        headers={
            "Host": urlsplit(url).netloc,
            "Content-Type": "application/json",
            "User-Agent": "Tamarack",
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(secret, message_id, seconds, body),
        },
        body=body,
        ca_pem=stream.config["ca_pem"],
    )
    if not 200 <= answer.status < 300:  # noqa: PLR2004  the class of success
        hint = ", and redirects are not followed" if 300 <= answer.status < 400 else ""  # noqa: PLR2004
        raise DeliveryFailed(f"The webhook answered {answer.status}{hint}.")

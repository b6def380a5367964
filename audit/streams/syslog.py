"""Delivery as syslog messages (RFC 5424) over TCP or TLS, with octet counting (RFC 6587 §3.4.1).

Syslog has no acknowledgement. What comes nearest: after the last message this side ends its half of
the connection and waits until the receiver, having read all, ends the other. A reset or a receiver
that goes silent is a failure, and everything is sent again.
"""

from __future__ import annotations

import json
import socket
import ssl

from django.conf import settings

from audit.canonical import Plain
from audit.models import Stream
from audit.streams.batches import Batch
from audit.streams.targets import DeliveryFailed, Target, connected, tls_context

# Facility 13, log audit; severity 6, informational (RFC 5424 §6.2.1).
PRIORITY = 13 * 8 + 6
MAX_MSGID = 32
MAX_ANSWER = 64 * 1024


def message(entry: dict[str, Plain], checkpoint: str) -> bytes:
    """One event as a message; its text is JSON in ASCII."""
    event = entry["event"]
    told = event if isinstance(event, dict) else {}
    text = json.dumps({**entry, "checkpoint": checkpoint}, separators=(",", ":"))
    header = " ".join(
        [
            f"<{PRIORITY}>1",
            str(told.get("time", "-")),
            settings.TAMARACK_PUBLIC_HOST or "-",
            "tamarack",
            "-",
            str(told.get("type", "-"))[:MAX_MSGID],
            "-",
        ]
    )
    return f"{header} {text}".encode("ascii")


def deliver(stream: Stream, _secret: str, batch: Batch) -> None:
    """Send the batch over a connection of its own.

    Raises:
        DeliveryFailed: the receiver did not take all of it and end the connection in order.
    """
    host, port = stream.config["host"], stream.config["port"]
    tls = tls_context(stream.config["ca_pem"]) if stream.config["tls"] else None
    try:
        with connected(Target(host, port, tls)) as connection:
            for item in batch.entries:
                framed = message(item, batch.checkpoint)
                connection.sendall(b"%d %s" % (len(framed), framed))
            _end(connection)
    except OSError as error:
        raise DeliveryFailed(
            f"{host}:{port} did not take the messages: {type(error).__name__}."
        ) from error


def _end(connection: socket.socket) -> None:
    if isinstance(connection, ssl.SSLSocket):
        # Sends close_notify and waits for the receiver's (RFC 5425 §4.4).
        connection = connection.unwrap()
    connection.shutdown(socket.SHUT_WR)
    read = 0
    while data := connection.recv(4096):
        read += len(data)
        if read > MAX_ANSWER:
            raise DeliveryFailed("The receiver talks instead of ending the connection.")

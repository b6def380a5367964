"""One HTTP request to an address that may be untrusted: no redirects, no proxies, little patience.

The standard library's client: what is needed of HTTP is a single POST or PUT over a connection that
`audit.streams.targets` has made and checked.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from audit.streams.targets import DeliveryFailed, Target, connected, tls_context

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the rest is nobody's business."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


def target_of(url: SplitResult, ca_pem: str = "") -> Target:
    """Where a checked https or http address leads."""
    secure = url.scheme == "https"
    return Target(
        host=url.hostname or "",
        port=url.port or (443 if secure else 80),
        tls=tls_context(ca_pem) if secure else None,
    )


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    ca_pem: str = "",
    limit: int = MAX_ANSWER,
) -> Answer:
    """Send it and read the answer, whatever its status.

    Args:
        headers: complete but for `Content-Length`; `Host` among them.
        limit: bytes of the answer that are read.

    Raises:
        DeliveryFailed: no whole answer came.
    """
    parts = urlsplit(url)
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    try:
        with connected(target_of(parts, ca_pem)) as connection:
            client = _Client(connection)
            client.request(method, path, body=body, headers=dict(headers))
            answer = client.getresponse()
            return Answer(answer.status, answer.read(limit))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryFailed(
            f"{parts.hostname} gave no whole answer: {type(error).__name__}."
        ) from error


class _Client(http.client.HTTPConnection):
    """Over a connection that stands already, and never another."""

    auto_open = 0

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("unused")
        self.sock = connection

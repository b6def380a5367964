"""Keeps the gateway's access log from filling the disk."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from gateway.configuration import GatewaySettings

MAX_BYTES = 64 * 1024 * 1024
KEPT = 3
_ADMIN_SECONDS = 5


def rotate(settings: GatewaySettings | None = None, max_bytes: int = MAX_BYTES) -> bool:
    """Move a log of more than `max_bytes` to `access.json.1`, older ones up to `.3`.

    Envoy writes to the moved file until it is told to open its logs again, so no line is lost.
    Returns whether it moved one.

    Raises:
        OSError: a file can't be renamed, or Envoy does not answer on its socket (the next run
            tells it again, as long as it writes to the moved file).
    """
    settings = settings or GatewaySettings.from_django()
    log = settings.access_log
    moved = log.exists() and log.stat().st_size > max_bytes
    if moved:
        for number in range(KEPT, 0, -1):
            older = _numbered(log, number - 1) if number > 1 else log
            if older.exists():
                older.rename(_numbered(log, number))
    # Also where there is none, in case the last run could not tell.
    if moved or (not log.exists() and _numbered(log, 1).exists()):
        _reopen(settings.admin_socket)
    return moved


def files_oldest_first(log: Path) -> list[Path]:
    """The moved logs and the current one, as far as they are there."""
    numbered = (_numbered(log, number) for number in range(KEPT, 0, -1))
    return [path for path in (*numbered, log) if path.exists()]


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


def _reopen(admin: Path) -> None:
    connection = http.client.HTTPConnection("envoy", timeout=_ADMIN_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(_ADMIN_SECONDS)
        connection.sock.connect(str(admin))
        connection.request("POST", "/reopen_logs")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.client.OK:
        raise OSError(f"Envoy answered {status} to /reopen_logs")

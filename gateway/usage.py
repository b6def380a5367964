"""Who used which key and which index for what: read from the access log, so that no request waits
for a write.

Each line is counted once: how far the log has been read is written down in the transaction that
counts. A log that was rotated meanwhile is read to its end before the next one is begun.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
from django.db import transaction

from gateway.access_log import files_oldest_first
from gateway.configuration import GatewaySettings
from indexes.models import IndexTraffic
from indexes.usage import Call, record_traffic
from keys.usage import Position, Use, record_usage, usage_position
from protos.generated import vector_service_pb2 as pb

BATCH_LINES = 5_000
_WRITES = frozenset({"Upsert", "Update", "Delete", "CreateNamespace", "DeleteNamespace"})
KINDS = {
    method: IndexTraffic.Kind.WRITE if method in _WRITES else IndexTraffic.Kind.READ
    for method in pb.DESCRIPTOR.services_by_name["VectorService"].methods_by_name
}
"""What every method of `VectorService` does, as `lua/authorize.lua` classes them."""
_REFUSED = frozenset({401, 403, 429})
_REFUSED_GRPC = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)

_FAILED_GRPC = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)


def count_new(settings: GatewaySettings | None = None) -> int:
    """Count what was logged since the last time; how many lines were read. Safe to run twice."""
    settings = settings or GatewaySettings.from_django()
    log, read = settings.access_log, 0
    while True:
        before = usage_position(str(log))
        lines, after = _next_lines(log, before)
        if after is None:
            return read  # there is no log yet
        parsed = [fields for line in lines if (fields := _fields(line)) is not None]
        uses = [use for fields in parsed if (use := _use(fields)) is not None]
        calls = [call for fields in parsed if (call := _call(fields)) is not None]
        with transaction.atomic():
            counted = record_usage(uses, source=str(log), before=before, after=after)
            if counted:
                record_traffic(calls)
        if not counted or after == before:
            return read  # another worker counted them at the same time, or there is nothing new
        read += len(lines)


def _next_lines(log: Path, position: Position | None) -> tuple[list[bytes], Position | None]:
    """Up to BATCH_LINES whole lines behind `position`, and the position behind them."""
    unread = list(_unread(log, position))
    for path, inode in unread:
        start = position.offset if position and position.inode == inode else 0
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != inode:
                break  # rotated at this moment: the next run sees the files in their new places
            # Shorter than what was read: a new file got the inode of one that is gone.
            file.seek(start if start <= path.stat().st_size else 0)
            begin = file.tell()
            # The last one may be still being written.
            lines = [line for line in islice(file, BATCH_LINES) if line.endswith(b"\n")]
        if lines:
            return lines, Position(inode=inode, offset=begin + sum(map(len, lines)))
    if position is None and unread:
        position = Position(inode=unread[0][1], offset=0)
    return [], position


def _unread(log: Path, position: Position | None) -> Iterator[tuple[Path, int]]:
    """The log's files from the one that `position` is in; all of them where that is gone."""
    files = [(path, path.stat().st_ino) for path in files_oldest_first(log)]
    inodes = [inode for _, inode in files]
    known = position is not None and position.inode in inodes
    yield from files[inodes.index(position.inode) if position and known else 0 :]


def _fields(line: bytes) -> dict[str, Any] | None:
    """The line's fields; None where it is no such line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _use(fields: dict[str, Any]) -> Use | None:
    """What the line tells about a key; None where it names none."""
    try:
        if not fields["key"] or not fields["secret"]:
            return None
        return Use(
            at=datetime.fromisoformat(fields["time"]),
            key_id=UUID(fields["key"]),
            secret=str(fields["secret"]),
            plane="data" if fields["plane"] == "index" else "control",
            operation=str(fields.get("rpc") or fields.get("http_method") or ""),
            index_id=UUID(fields["index"]) if fields.get("index") else None,
            address=str(fields["client"]),
            client=str(fields.get("user_agent") or ""),
            allowed=not _is_refused(fields),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _call(fields: dict[str, Any]) -> Call | None:
    """What the line tells about an index; None where it names none."""
    try:
        if fields["plane"] != "index" or not fields.get("index"):
            return None
        refused = _is_refused(fields)
        return Call(
            at=datetime.fromisoformat(fields["time"]),
            index_id=UUID(fields["index"]),
            kind=KINDS[fields["rpc"]],
            is_refused=refused,
            is_failed=fields["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR
            or fields.get("grpc_status") in _FAILED_GRPC,
            bytes_in=int(fields.get("bytes_in") or 0),
            bytes_out=int(fields.get("bytes_out") or 0),
            milliseconds=None if refused else float(fields["ms"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_refused(fields: dict[str, Any]) -> bool:
    return fields["status"] in _REFUSED or fields.get("grpc_status") in _REFUSED_GRPC

"""Log lines as JSON objects, one a line."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

current_request: ContextVar[str] = ContextVar("current_request", default="")
"""The id of the request that is being answered; the middleware sets it."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message"}`.

    With `request_id` while a request is answered, and `error` (the traceback) where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line; newlines inside the message are escaped by JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)

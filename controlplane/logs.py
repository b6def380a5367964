"""Log lines as JSON objects, one a line."""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime

current_request: ContextVar[str] = ContextVar("current_request", default="")
"""The id of the request that is being answered; the middleware sets it."""


LINKS = re.compile(r"(/accounts/(?:confirm-email|password/reset/key)/|/invitations/)[^/\s'\"?#]+")
"""Paths of links that let whoever opens them in; Django names paths when it refuses them."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message"}`.

    With `request_id` while a request is answered, and `error` (the traceback) where there is one.
    What lets somebody in is left out of paths.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line; newlines inside the message are escaped by JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _without_links(record.getMessage()),
        }
        if request_id := current_request.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = _without_links(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def _without_links(text: str) -> str:
    return LINKS.sub(r"\1(left out)", text)

"""How a value that somebody sent may stand in a message."""

from __future__ import annotations

import json

_SHOWN = 60


def shown(value: object) -> str:
    """A value as it may stand in a message: JSON in ASCII, cut to 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=repr)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

"""Wording that several pages share."""

from __future__ import annotations


def in_words(count: int, noun: str) -> str:
    """Such as `1 message` and `2 messages`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""The hash chain beside the tree: each event's hash covers all that came before it."""

from __future__ import annotations

import hashlib

START = bytes(32)
"""What the first event of a log is chained to."""


def chained(previous: bytes, leaf: bytes) -> bytes:
    """The chain hash of the event with leaf hash `leaf`."""
    return hashlib.sha256(previous + leaf).digest()

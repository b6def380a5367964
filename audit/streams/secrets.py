"""What a stream signs with, wrapped by the KEK provider."""

from __future__ import annotations

from uuid import UUID

from kms.envelope import Context, WrappedKey
from kms.installation import provider


def wrapped(stream_id: UUID, secret: str) -> str:
    """The secret as it is stored; empty for none.

    Raises:
        KeyUnavailable: the KEK provider can't wrap it.
    """
    if not secret:
        return ""
    return provider().wrap(secret.encode(), context=_context(stream_id)).dump()


def unwrapped(stream_id: UUID, stored: str) -> str:
    """The inverse of `wrapped`.

    Raises:
        KeyUnavailable: the KEK provider can't open it, or it is another stream's.
    """
    if not stored:
        return ""
    return provider().unwrap(WrappedKey.load(stored), context=_context(stream_id)).decode()


def _context(stream_id: UUID) -> Context:
    return {"purpose": "audit-stream-secret", "stream": str(stream_id)}

"""The key that signs checkpoints: made when it is first needed, wrapped by the KEK provider."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import IntegrityError, transaction

from audit import notes
from audit.models import SigningKey
from kms.envelope import Context, KeyUnavailable, WrappedKey, new_key
from kms.installation import provider

FIRST = 1


def origin_of(log_id: UUID) -> str:
    """The log's name in its checkpoints."""
    return f"{settings.TAMARACK_TRUST_DOMAIN}/audit/{log_id}"


def signing_key() -> Ed25519PrivateKey:
    """The key; the first caller makes it, safe under concurrency.

    Raises:
        KeyUnavailable: the KEK provider can't open it or wrap a new one, or the row is damaged.
    """
    row = SigningKey.objects.order_by("-number").first() or _make()
    return _open(row.number, row.wrapped, bytes(row.public_key))


def verifier_of(log_id: UUID) -> notes.Verifier:
    """What the log's checkpoints are verified with.

    Raises:
        KeyUnavailable: as `signing_key`.
    """
    return notes.Verifier(origin_of(log_id), notes.public_bytes(signing_key()))


def _context(number: int) -> Context:
    return {"purpose": "audit-checkpoint-key", "number": str(number)}


def _make() -> SigningKey:
    seed = new_key()
    public = notes.public_bytes(Ed25519PrivateKey.from_private_bytes(seed))
    wrapped = provider().wrap(seed, context=_context(FIRST)).dump()
    try:
        with transaction.atomic():
            return SigningKey.objects.create(number=FIRST, public_key=public, wrapped=wrapped)
    except IntegrityError:
        return SigningKey.objects.get(number=FIRST)


# By what is stored, so that a key whose transaction was rolled back is not remembered.
@lru_cache(maxsize=4)
def _open(number: int, wrapped: str, public: bytes) -> Ed25519PrivateKey:
    seed = provider().unwrap(WrappedKey.load(wrapped), context=_context(number))
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if notes.public_bytes(key) != public:
        raise KeyUnavailable(f"The signing key {number} does not belong to its public key.")
    return key

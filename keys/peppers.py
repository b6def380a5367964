"""Opening the peppers, once per process."""

from __future__ import annotations

from functools import lru_cache

from django.db import IntegrityError, transaction

from keys.models import Pepper
from kms import envelope
from kms.envelope import Context, WrappedKey
from kms.installation import provider


def _context(number: int) -> Context:
    return {"purpose": "api-key-pepper", "number": str(number)}


# By what is stored, not by number alone: a pepper whose transaction was rolled back must not be
# remembered in place of the one that another process then made under the same number.
@lru_cache(maxsize=16)
def _open(number: int, wrapped: str) -> bytes:
    return provider().unwrap(WrappedKey.load(wrapped), context=_context(number))


def pepper_bytes(pepper: Pepper) -> bytes:
    """The pepper's 32 bytes.

    Raises:
        KeyUnavailable: the KEK provider can't open it.
    """
    return _open(pepper.number, pepper.wrapped)


def current_pepper() -> Pepper:
    """The newest pepper. The first one is made when it is first needed, safe under concurrency.

    Raises:
        KeyUnavailable: the KEK provider can't wrap a new one.
    """
    newest = Pepper.objects.order_by("-number").first()
    if newest is not None:
        return newest
    wrapped = provider().wrap(envelope.new_key(), context=_context(1)).dump()
    try:
        with transaction.atomic():
            return Pepper.objects.create(number=1, wrapped=wrapped)
    except IntegrityError:
        return Pepper.objects.get(number=1)

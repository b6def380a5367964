"""What an API key looks like, and how it is kept.

    tmrk_<lookup 10>_<secret 43><checksum 6>        62 characters, base62

The lookup part finds the row, the secret carries 256 random bits, the checksum (CRC32 of everything
before it) lets a scanner tell a real key from a look-alike without asking anybody. Stored are the
lookup part, HMAC-SHA256(pepper, key), which verifies, and SHA-256(key), by which a leaked key can
be reported without sending it: 256 random bits can't be searched for, pepper or not.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from kms.base62 import ALPHABET, CHECKSUM_LENGTH, SECRET_LENGTH, base62, checksum

PREFIX = "tmrk"
LOOKUP_LENGTH = 10
PATTERN = re.compile(r"tmrk_([0-9A-Za-z]{10})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
"""Finds keys in text; a match is a key only where its checksum fits (`parse`)."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A well-formed key: the whole text and its lookup part."""

    text: str
    lookup_id: str

    def __repr__(self) -> str:
        return f"Secret(tmrk_{self.lookup_id}_…)"


def generate() -> Secret:
    """A new random key."""
    lookup_id = "".join(secrets.choice(ALPHABET) for _ in range(LOOKUP_LENGTH))
    body = f"{PREFIX}_{lookup_id}_{base62(secrets.randbits(256), SECRET_LENGTH)}"
    return Secret(text=body + checksum(body), lookup_id=lookup_id)


def parse(text: str) -> Secret | None:
    """The key, or None where the text has not its form or its checksum does not fit."""
    match = PATTERN.fullmatch(text)
    if match is None or not hmac.compare_digest(
        text[-CHECKSUM_LENGTH:], checksum(text[:-CHECKSUM_LENGTH])
    ):
        return None
    return Secret(text=text, lookup_id=match[1])


def digest(pepper: bytes, secret: Secret) -> bytes:
    """The 32 bytes that are stored."""
    return hmac.digest(pepper, secret.text.encode("ascii"), hashlib.sha256)


def sha256(secret: Secret) -> bytes:
    """The 32 bytes by which a reporter may name a leaked key without sending it."""
    return hashlib.sha256(secret.text.encode("ascii")).digest()


def matches(pepper: bytes, secret: Secret, stored: bytes) -> bool:
    """Whether `stored` is the key's digest; takes the same time either way."""
    return hmac.compare_digest(digest(pepper, secret), stored)

"""What a directory's bearer token looks like, and how it is kept.

    tmrk_scim_<lookup 10>_<secret 43><checksum 6>        67 characters, base62

As with API keys the lookup part finds the row, the secret carries 256 random bits, and the checksum
over everything before it lets a scanner tell a real token from a look-alike. Of the secret only
SHA-256 is stored: 256 random bits can't be searched for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from kms.base62 import ALPHABET, CHECKSUM_LENGTH, SECRET_LENGTH, base62, checksum

PREFIX = "tmrk_scim_"
LOOKUP_LENGTH = 10
PATTERN = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{LOOKUP_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})"
    rf"[0-9A-Za-z]{{{CHECKSUM_LENGTH}}}"
)


@dataclass(frozen=True, slots=True)
class TokenText:
    """A well-formed token."""

    text: str
    lookup: str
    digest: str

    def __repr__(self) -> str:
        return f"TokenText({PREFIX}{self.lookup}_…)"


def generate() -> TokenText:
    """A new random token."""
    lookup = "".join(secrets.choice(ALPHABET) for _ in range(LOOKUP_LENGTH))
    secret = base62(secrets.randbits(256), SECRET_LENGTH)
    body = f"{PREFIX}{lookup}_{secret}"
    return TokenText(body + checksum(body), lookup, _digest(secret))


def parse(text: str) -> TokenText | None:
    """The token, or None where the text has not its form or its checksum does not fit."""
    match = PATTERN.fullmatch(text)
    if match is None or not hmac.compare_digest(
        text[-CHECKSUM_LENGTH:], checksum(text[:-CHECKSUM_LENGTH])
    ):
        return None
    return TokenText(text, match[1], _digest(match[2]))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()

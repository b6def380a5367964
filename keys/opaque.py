"""Secrets and tokens of service accounts: a prefix of their own, 256 random bits, a checksum.

    tmrk_sas_<secret 43><checksum 6>        a client secret
    tmrk_at_<secret 43><checksum 6>         an access token

Like API keys (`keys.secrets`) they are base62 with a CRC32 checksum, so that a scanner knows a real
one from a look-alike. Kept are HMAC-SHA256(pepper, secret) of secrets and SHA-256 of tokens, which
are short-lived and looked up by it: with 256 random bits neither can be searched for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from kms.base62 import ALPHABET, CHECKSUM_LENGTH, SECRET_LENGTH, base62, checksum

CLIENT_ID_PREFIX = "tmrk_sa_"
CLIENT_ID_LENGTH = 22
HINT_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of opaque text."""

    prefix: str

    def generate(self) -> str:
        """A new random one."""
        body = self.prefix + base62(secrets.randbits(256), SECRET_LENGTH)
        return body + checksum(body)

    def is_one(self, text: str) -> bool:
        """Whether the text has this kind's form and its checksum fits."""
        pattern = f"{self.prefix}[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
        if re.fullmatch(pattern, text) is None:
            return False
        return hmac.compare_digest(text[-CHECKSUM_LENGTH:], checksum(text[:-CHECKSUM_LENGTH]))


CLIENT_SECRET = Kind("tmrk_sas_")
ACCESS_TOKEN = Kind("tmrk_at_")


def new_client_id() -> str:
    """A new public name of a service account, 131 random bits: no two are alike."""
    return CLIENT_ID_PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(CLIENT_ID_LENGTH))


def is_client_id(text: str) -> bool:
    """Whether the text has a client id's form."""
    pattern = f"{CLIENT_ID_PREFIX}[0-9A-Za-z]{{{CLIENT_ID_LENGTH}}}"
    return re.fullmatch(pattern, text) is not None


def hint(text: str) -> str:
    """What may be shown of a secret: the end of its checksum."""
    return text[-HINT_LENGTH:]


def peppered(pepper: bytes, text: str) -> bytes:
    """The 32 bytes that are stored of a client secret; any text has some."""
    return hmac.digest(pepper, text.encode("utf-8", "replace"), hashlib.sha256)


def digest(token: str) -> bytes:
    """The 32 bytes that are stored of an access token."""
    return hashlib.sha256(token.encode("ascii")).digest()

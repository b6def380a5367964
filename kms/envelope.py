"""Envelope encryption: keys that protect keys.

    KEK provider -> project key (KEK of one project) -> data key (DEK of one index) -> file keys

Every wrapped key is AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. Its context (whose
key, for what purpose) is the additional data, so a wrapped key moved to another row does not open.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
ALGORITHM = "AES-256-GCM"
DAMAGED = "The stored key is damaged: it is not a wrapped key."

Context = Mapping[str, str]


class KeyUnavailable(Exception):
    """A wrapped key can't be opened; the text says which key and why, never its content."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key encrypted under another one.

    Attributes:
        wrapped_by: name of the wrapping key, as `<provider>:<key id>:<version>`.
        algorithm: how it is wrapped; only `AES-256-GCM` is known to this version.
        ciphertext: nonce (12 bytes), ciphertext, tag (16 bytes).
    """

    wrapped_by: str
    algorithm: str
    ciphertext: bytes

    def dump(self) -> str:
        """Text for a database column."""
        return json.dumps(
            {
                "wrapped_by": self.wrapped_by,
                "algorithm": self.algorithm,
                "ciphertext": base64.b64encode(self.ciphertext).decode(),
            }
        )

    @classmethod
    def load(cls, text: str) -> WrappedKey:
        """The inverse of `dump`.

        Raises:
            KeyUnavailable: the text is not one that `dump` wrote.
        """
        try:
            fields = json.loads(text)
            wrapped_by, algorithm = fields["wrapped_by"], fields["algorithm"]
            ciphertext = base64.b64decode(fields["ciphertext"], validate=True)
        except (ValueError, KeyError, TypeError) as error:
            raise KeyUnavailable(DAMAGED) from error
        if not isinstance(wrapped_by, str) or not isinstance(algorithm, str):
            raise KeyUnavailable(DAMAGED)
        return cls(wrapped_by=wrapped_by, algorithm=algorithm, ciphertext=ciphertext)


def new_key() -> bytes:
    """32 random bytes from the operating system."""
    return os.urandom(KEY_BYTES)


def fingerprint(key: bytes) -> str:
    """16 hex digits that name a key without telling anything about it."""
    return hashlib.sha256(b"tamarack key fingerprint\0" + key).hexdigest()[:16]


def _additional_data(context: Context) -> bytes:
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def wrap(key: bytes, *, under: bytes, name: str, context: Context) -> WrappedKey:
    """Encrypt `key` under the 32-byte key `under`, which goes by `name`.

    `context` has to be given again to open it.

    Raises:
        ValueError: `under` has another size; AES would quietly be weaker with a shorter one.
    """
    if len(under) != KEY_BYTES:
        raise ValueError(f"A wrapping key has {KEY_BYTES} bytes, not {len(under)}.")
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(under).encrypt(nonce, key, _additional_data(context))
    return WrappedKey(wrapped_by=name, algorithm=ALGORITHM, ciphertext=nonce + sealed)


def unwrap(wrapped: WrappedKey, *, under: bytes, name: str, context: Context) -> bytes:
    """The key that `wrap` encrypted.

    Raises:
        KeyUnavailable: wrapped by another key or algorithm, moved from another context, or damaged.
    """
    if wrapped.algorithm != ALGORITHM:
        raise KeyUnavailable(
            f"The stored key uses {wrapped.algorithm[:40]!r}, which is not known here."
        )
    if wrapped.wrapped_by != name:
        raise KeyUnavailable(
            f"The stored key was wrapped by {wrapped.wrapped_by[:80]}, but the key at hand is"
            f" {name}. Restore the key that it names."
        )
    nonce, sealed = wrapped.ciphertext[:NONCE_BYTES], wrapped.ciphertext[NONCE_BYTES:]
    try:
        return AESGCM(under).decrypt(nonce, sealed, _additional_data(context))
    except (InvalidTag, ValueError) as error:
        raise KeyUnavailable(
            f"The stored key wrapped by {name} is damaged or belongs to something else."
        ) from error

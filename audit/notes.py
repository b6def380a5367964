"""Checkpoints as signed notes: what an auditor keeps to hold the log to its word.

The forms are those of C2SP signed-note and tlog-checkpoint, so that witnesses and verifiers made
for transparency logs read them:

    <origin>
    <number of events>
    <base64 of the Merkle root>

    — <origin> <base64 of key id (4 bytes) and Ed25519 signature (64 bytes)>
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.merkle import HASH_BYTES

ED25519 = b"\x01"
KEY_ID_BYTES = 4
PUBLIC_BYTES = 32
MAX_NOTE = 10_000
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NAME = re.compile(r"[!-*,-~]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


class NoteError(Exception):
    """A checkpoint or a verifier key that can't be relied on; the text says why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a checkpoint states: the root over the first `size` events of the log `origin`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The part of the note that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key and the name that it signs under, `<name>+<key id>+<key>` when written."""

    name: str
    key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of a hash over name and key."""
        text = self.name.encode() + b"\n" + ED25519 + self.key
        return hashlib.sha256(text).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.key).decode()}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """The inverse of `str`.

        Raises:
            NoteError: it is no verifier key of an Ed25519 key.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if not _NAME.fullmatch(name) or key[:1] != ED25519 or len(key) != PUBLIC_BYTES + 1:
            raise NoteError(
                f"{text[:120]!r} is no verifier key: it has to look like name+key id+base64."
            )
        found = cls(name, key[1:])
        if found.key_id.hex() != key_id.lower():
            raise NoteError(
                f"The verifier key's id is {found.key_id.hex()}, not {key_id[:20]!r}: some part of"
                " it was changed."
            )
        return found


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of its public key."""
    return key.public_key().public_bytes_raw()


def sign(tree: Tree, key: Ed25519PrivateKey) -> str:
    """The signed note. Same tree and key, same note."""
    return _signed(tree.text(), Verifier(tree.origin, public_bytes(key)), key)


def _signed(text: str, verifier: Verifier, key: Ed25519PrivateKey) -> str:
    signature = base64.b64encode(verifier.key_id + key.sign(text.encode())).decode()
    return f"{text}\n— {verifier.name} {signature}\n"


def check_signature(note: str, verifier: Verifier) -> str:
    """The note's text, when the verifier's key signed it. Others may have signed it too.

    Raises:
        NoteError: it is no signed note, or that key did not sign it.
    """
    if len(note) > MAX_NOTE:
        raise NoteError(f"A signed note of {len(note)} characters is too long.")
    text, found, signatures = note.rpartition("\n\n")
    if not found or not signatures.endswith("\n"):
        raise NoteError("It is no signed note: text, an empty line, signature lines.")
    text += "\n"
    for line in signatures.removesuffix("\n").split("\n"):
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise NoteError(f"{line[:120]!r} is no signature line.")
        signature = _decoded(match[2])
        if match[1] != verifier.name or signature[:KEY_ID_BYTES] != verifier.key_id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifier.key).verify(
                signature[KEY_ID_BYTES:], text.encode()
            )
        except (InvalidSignature, ValueError) as error:
            raise NoteError(f"The signature of {verifier.name} is wrong: it was forged.") from error
        return text
    raise NoteError(f"The key {verifier.name}+{verifier.key_id.hex()} did not sign it.")


def read(note: str, verifier: Verifier) -> Tree:
    """What a checkpoint states, when the verifier's key signed it.

    Raises:
        NoteError: it is no checkpoint, or not one signed by that key.
    """
    lines = check_signature(note, verifier).split("\n")
    root = _decoded(lines[2]) if len(lines) > 2 else b""  # noqa: PLR2004  origin, size, root
    if len(root) != HASH_BYTES or not _SIZE.fullmatch(lines[1]):
        raise NoteError("It is no checkpoint: origin, size and root, a line each.")
    if lines[0] != verifier.name:
        raise NoteError(f"It is of the log {lines[0][:120]!r}, not of {verifier.name}.")
    return Tree(lines[0], int(lines[1]), root)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""

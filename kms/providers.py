"""Where the key-encryption key (KEK) lives. `local`: a file on this machine, for its owner."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Protocol

from kms import envelope
from kms.envelope import Context, KeyUnavailable, WrappedKey


class KeyProvider(Protocol):
    """Wraps and unwraps keys under a KEK that never leaves it."""

    def wrap(self, key: bytes, *, context: Context) -> WrappedKey:
        """Encrypt `key`, bound to `context`."""

    def unwrap(self, wrapped: WrappedKey, *, context: Context) -> bytes:
        """The key back, or `KeyUnavailable`."""


class LocalProvider:
    """The KEK is a file of 32 random bytes, mode 0600, that only its owner reads.

    `wrap` and `unwrap` raise `KeyUnavailable` where the file is missing, has another size, or is
    open to others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the key file where there is none; an existing one stays.

        It appears whole or not at all, so a crash leaves no empty key behind.

        Raises:
            OSError: the folder is missing or can't be written.
        """
        if self.path.exists():
            return
        descriptor, aside = tempfile.mkstemp(prefix=".root-key-", dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(envelope.new_key())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        finally:
            os.unlink(aside)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _key(self) -> tuple[bytes, str]:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                key = file.read(envelope.KEY_BYTES + 1)
        except OSError as error:
            raise KeyUnavailable(
                f"The root key {self.path} can't be read: {error.strerror}."
            ) from error
        if stat.S_IMODE(mode) & 0o077:
            raise KeyUnavailable(
                f"The root key {self.path} is open to others (mode {stat.S_IMODE(mode):04o}):"
                " chmod 600 it."
            )
        if len(key) != envelope.KEY_BYTES:
            raise KeyUnavailable(
                f"The root key {self.path} does not have exactly {envelope.KEY_BYTES} bytes:"
                " restore it from a backup."
            )
        return key, f"local:{envelope.fingerprint(key)}:1"

    def wrap(self, key: bytes, *, context: Context) -> WrappedKey:
        """Encrypt `key` under the file's key, bound to `context`."""
        under, name = self._key()
        return envelope.wrap(key, under=under, name=name, context=context)

    def unwrap(self, wrapped: WrappedKey, *, context: Context) -> bytes:
        """The key back; see `kms.envelope.unwrap` for what is refused."""
        under, name = self._key()
        return envelope.unwrap(wrapped, under=under, name=name, context=context)

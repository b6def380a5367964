"""The data key of an index: made, opened for its server, and shredded."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from indexes.models import DataKey, Index
from kms import envelope
from kms.envelope import KeyUnavailable, WrappedKey
from projects.encryption import unwrap_data_key, wrap_data_key

CHECKPOINT_MILLISECONDS = 1000


class StillReadable(Exception):
    """A shredded key's bytes may still lie in a database file: somebody is reading there."""


def make(index: Index) -> None:
    """Give the index its first data key, unless it has one. Repeating it changes nothing.

    Raises:
        KeyUnavailable: the project's key can't be opened.
    """
    if index.data_keys.exists():
        return
    context = _context(index, version=1)
    wrapped = wrap_data_key(index.project, envelope.new_key(), context=context)
    try:
        with transaction.atomic():
            # Under the row's lock, so that no key appears after the index's keys were shredded.
            alive = (
                Index.objects.select_for_update()
                .filter(pk=index.pk, state=Index.State.INITIALIZING)
                .exists()
            )
            if alive:
                DataKey.objects.create(index=index, wrapped=wrapped.dump(), context=context)
    except IntegrityError:
        return  # another worker was faster; its key is the key


def _context(index: Index, version: int) -> dict[str, str]:
    return {
        "purpose": "data-key",
        "organization": str(index.project.organization_id),
        "project": str(index.project_id),
        "index": str(index.pk),
        "version": str(version),
    }


def open_key(key: DataKey) -> bytes:
    """The 32 bytes themselves, for the index's own server and nobody else.

    Raises:
        KeyUnavailable: the key was shredded, is damaged, or its project's key can't be opened.
    """
    if key.shredded_at is not None:
        raise KeyUnavailable(f"The data key of index {key.index_id} was shredded.")
    # Not the stored context: whoever can move a key to another row can move that along.
    context = _context(key.index, key.version)
    return unwrap_data_key(key.index.project, WrappedKey.load(key.wrapped), context=context)


def shred(index_id: UUID) -> int:
    """Empty every data key of the index, in the caller's transaction; how many were not yet."""
    return DataKey.objects.filter(index_id=index_id, shredded_at=None).update(
        wrapped="", shredded_at=timezone.now()
    )


def sweep_copies() -> None:
    """Remove copies of shredded keys from SQLite's write-ahead log; call it after the commit.

    The main file holds none: `secure_delete` overwrites what an update frees. PostgreSQL keeps old
    rows until it vacuums and recycles its own log, which the operator's settings decide.

    Raises:
        StillReadable: a reader holds the log; try again.
    """
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        usual = int(cursor.fetchone()[0])
        cursor.execute(f"PRAGMA busy_timeout={CHECKPOINT_MILLISECONDS}")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy = cursor.fetchone()[0]
        finally:
            cursor.execute(f"PRAGMA busy_timeout={usual}")
    if busy:
        raise StillReadable("The database's log is in use, so old pages could not be removed yet.")

"""A deleted index's key is nowhere any more: not in a row, not in a database file."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.utils import IntegrityError

from indexes import data_keys
from indexes.models import DataKey, Index
from kms.envelope import KeyUnavailable
from tests.indexes.conftest import make_index

pytestmark = pytest.mark.django_db(transaction=True)


def make_key(name: str = "products") -> DataKey:
    """The data key of a new index."""
    index = make_index(name=name)
    data_keys.make(index)
    return index.data_keys.get()


def database_bytes() -> bytes:
    """Everything in SQLite's files: the database itself and its write-ahead log."""
    main = Path(str(connection.settings_dict["NAME"]))
    return b"".join(path.read_bytes() for path in sorted(main.parent.glob(f"{main.name}*")))


def traces(key: DataKey) -> list[bytes]:
    """What would betray a copy: the wrapped key as it is stored, from several places of it."""
    ciphertext = json.loads(key.wrapped)["ciphertext"]
    raw = base64.b64decode(ciphertext)
    return [ciphertext.encode(), ciphertext[:24].encode(), ciphertext[-24:].encode(), raw[:16]]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's files are its operator's")
class FileTests:
    def test_no_copy_is_left_in_any_file(self) -> None:
        keys = [make_key(f"index-{number}") for number in range(12)]
        victim, neighbour = keys[5], keys[6]
        before = database_bytes()
        assert traces(victim)[0] in before  # the positive control: this is how it would be found
        with transaction.atomic():
            assert data_keys.shred(victim.index_id) == 1
        data_keys.sweep_copies()
        after = database_bytes()
        assert [trace for trace in traces(victim) if trace in after] == []
        assert traces(neighbour)[0] in after

    def test_a_copy_lies_in_the_log_until_it_is_swept(self) -> None:
        key = make_key()
        with transaction.atomic():
            data_keys.shred(key.index_id)
        assert traces(key)[0] in database_bytes()
        data_keys.sweep_copies()
        assert traces(key)[0] not in database_bytes()

    def test_a_reader_delays_the_sweep_and_is_told_of(self) -> None:
        key = make_key()
        reader = connection.copy()
        try:
            with reader.cursor() as cursor:
                cursor.execute("BEGIN DEFERRED")
                cursor.execute("SELECT count(*) FROM indexes_datakey")
                cursor.fetchone()
                with transaction.atomic():
                    data_keys.shred(key.index_id)
                with pytest.raises(data_keys.StillReadable):
                    data_keys.sweep_copies()
                cursor.execute("ROLLBACK")
        finally:
            reader.close()
        data_keys.sweep_copies()
        assert traces(key)[0] not in database_bytes()


class RowTests:
    def test_a_shredded_key_does_not_open(self) -> None:
        key = make_key()
        assert len(data_keys.open_key(key)) == 32
        data_keys.shred(key.index_id)
        key.refresh_from_db()
        with pytest.raises(KeyUnavailable, match="shredded"):
            data_keys.open_key(key)

    def test_shredding_again_changes_nothing(self) -> None:
        key = make_key()
        assert data_keys.shred(key.index_id) == 1
        assert data_keys.shred(key.index_id) == 0

    def test_the_database_keeps_no_half_shredded_key(self) -> None:
        key = make_key()
        with pytest.raises(IntegrityError):
            DataKey.objects.filter(pk=key.pk).update(wrapped="")

    def test_no_second_first_key_is_made(self) -> None:
        key = make_key()
        data_keys.make(key.index)
        assert DataKey.objects.count() == 1

    def test_no_key_is_made_after_shredding(self) -> None:
        key = make_key()
        Index.objects.update(state=Index.State.TERMINATING)
        data_keys.shred(key.index_id)
        data_keys.make(key.index)
        assert list(DataKey.objects.values_list("wrapped", flat=True)) == [""]

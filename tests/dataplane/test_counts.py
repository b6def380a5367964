"""Counts and sizes of namespaces are those of their rows, whatever was written or refused."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.errors import Refusal
from dataplane.limits import MAX_METADATA_BYTES
from dataplane.record import Record
from dataplane.recordfile import connect
from dataplane.values import Metadata, Row, SparseVector
from tests.dataplane.support import KEY, local_config, noise

NAMES = ("a", "b")


def row(id: str, *, text: str = "", sparse: int = 0) -> Row:
    entries = SparseVector(array("I", range(sparse)), array("f", [1.0] * sparse))
    metadata: Metadata | None = {"text": text} if text else None
    return Row(id, array("f", [1.0] * 8), entries if sparse else None, metadata)


def counted(record: Record) -> dict[str, tuple[int, int]]:
    """What the record says of each namespace."""
    return {each.name: (each.count, each.size_bytes) for each in record.namespaces()}


def recounted(path: Path) -> dict[str, tuple[int, int]]:
    """The same from the rows themselves."""
    connection = connect(path, KEY, readonly=True)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for name, *parts in connection.execute(
        "SELECT namespace.name, CAST(vector.id AS BLOB), CAST(metadata AS BLOB), sparse, dense"
        " FROM vector JOIN namespace ON namespace.id = vector.namespace"
    ):
        counts[name] += 1
        sizes[name] += sum(len(part or b"") for part in parts)
    connection.close()
    return {name: (counts[name], sizes[name]) for name in counts}


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    config = local_config(tmp_path, tmp_path, metric="dotproduct")
    opened = Record(config.record, KEY, config)
    yield opened
    opened.close()


class CountTests:
    @pytest.mark.parametrize("seed", range(3))
    def test_follow_every_kind_of_change(self, record: Record, tmp_path: Path, seed: int) -> None:
        draw = noise(seed)
        ids = [f"v{i}" for i in range(40)]
        for _ in range(60):
            name = draw.choice(NAMES)
            some = draw.sample(ids, 10)
            action = draw.randrange(6)
            if action < 2:
                rows = [
                    row(id, text="é" * draw.randrange(9), sparse=draw.randrange(3)) for id in some
                ]
                record.upsert(name, rows)
            elif action == 2:
                record.update(name, some[0], metadata={"more": "x" * draw.randrange(1, 99)})
            elif action == 3:
                record.delete_ids(name, some)
            elif action == 4:
                found = record.namespace(name)
                rows_there = record.fetch(found.id, some) if found else []
                record.set_metadata([each.pk for each in rows_there], {"flag": True})
            elif draw.random() < 0.3:
                record.delete_all(name, forget=draw.random() < 0.5)
            assert counted(record) == recounted(tmp_path / "record.db")

    def test_stay_when_a_change_is_refused_half_way(self, record: Record, tmp_path: Path) -> None:
        record.upsert("a", [row(f"v{i:04d}") for i in range(700)])
        record.upsert("a", [row("v0650", text="x" * (MAX_METADATA_BYTES - 50))])
        before = counted(record)
        found = record.namespace("a")
        assert found is not None
        pks = [each.pk for each in record.fetch(found.id, record.list_ids(found.id, "", "", 700))]
        with pytest.raises(Refusal):
            record.set_metadata(sorted(pks), {"more": "y" * 100})
        assert counted(record) == before == recounted(tmp_path / "record.db")

    def test_stay_when_an_error_ends_the_transaction(self, record: Record, tmp_path: Path) -> None:
        record.upsert("a", [row("x"), row("y")])
        before = counted(record)
        with pytest.raises(Refusal):
            record.upsert("a", [row("x", text="longer"), row("z"), Row("bare", None, None, None)])
        assert counted(record) == before == recounted(tmp_path / "record.db")

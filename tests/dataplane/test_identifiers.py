"""Ids beside the shard: every key finds its own, in whatever order keys came."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

import pytest

from dataplane.identifiers import Identifiers
from dataplane.values import Row
from tests.dataplane.support import DIMENSION, local_index, noise, rebuild


class IdentifierTests:
    def test_any_order_of_keys_finds_every_id(self) -> None:
        draw = noise(1)
        keys = draw.sample(range(1, 10**12), 2_000)
        ids = Identifiers()
        for key in keys:
            ids.add(key, f"é{key}")
        for key in keys[::3]:
            ids.add(key, f"é{key}")
        assert [ids[key] for key in keys] == [f"é{key}" for key in keys]
        for absent in (0, max(keys) + 1, next(key for key in range(1, 10**6) if key not in keys)):
            with pytest.raises(KeyError):
                ids[absent]

    @pytest.mark.parametrize("count", [0, 1, 1_000])
    def test_saved_ones_come_back_and_grow(self, tmp_path: Path, count: int) -> None:
        ids = Identifiers()
        for key in range(10, 10 + 3 * count, 3):
            ids.add(key, "x" * (key % 7) + str(key))
        ids.save(tmp_path)
        found = Identifiers.take(tmp_path)
        assert list(tmp_path.iterdir()) == []
        found.add(10**9, "last")
        found.add(11, "late")
        for key in range(10, 10 + 3 * count, 3):
            assert found[key] == "x" * (key % 7) + str(key)
        assert (found[10**9], found[11]) == ("last", "late")

    def test_a_reader_never_sees_half_an_id(self) -> None:
        ids = Identifiers()
        last, done, wrong = [0], threading.Event(), []

        def read() -> None:
            while not done.is_set():
                key = last[0]
                if key and ids[key] != "i" * (key % 50) + str(key):
                    wrong.append(key)

        reader = threading.Thread(target=read)
        reader.start()
        for key in range(1, 100_000):
            ids.add(key, "i" * (key % 50) + str(key))
            last[0] = key
        done.set()
        reader.join()
        assert wrong == []


class ReplayTests:
    def test_rows_rewritten_and_replaced_keep_their_ids_through_restart_and_build(
        self, tmp_path: Path
    ) -> None:
        def row(number: int) -> Row:
            return Row(f"v{number}", array("f", [float(number)] * DIMENSION), None, None)

        draw = noise(3)
        with local_index(tmp_path) as index:
            index.upsert("n", [row(i) for i in range(300)])
            for number in draw.sample(range(300), 60):  # from here, order of change is not of keys
                index.upsert("n", [row(number)])
            for number in draw.sample(range(300), 60):
                index.delete_ids("n", [f"v{number}"])
                index.upsert("n", [row(number)])
        with local_index(tmp_path) as index:
            for _ in range(2):  # replayed, then built
                namespace = index.record.namespace("n")
                assert namespace is not None
                for number in range(300):
                    near = array("f", [number + 0.1] * DIMENSION)
                    (hit,) = index.query(namespace, near, None, None, 1, 1.0)
                    assert hit.id == f"v{number}"
                rebuild(index)

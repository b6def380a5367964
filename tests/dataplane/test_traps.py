"""One regression test for each trap that measuring the engine and the cipher has shown.

Those about filters at 100,000 vectors are in `test_scale.py`, bad input (05) in
`test_validation.py`, memory that could be swapped or dumped (16) in `test_process.py`.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from dataplane import engine
from dataplane.engine import EdgeIndex, Space
from dataplane.filters import Compare
from dataplane.index import VectorIndex
from dataplane.recordfile import connect
from dataplane.values import Row
from tests.dataplane.messages import Client, plain
from tests.dataplane.support import KEY, ROOT, IndexServer, local_index, rebuild

GOOD = [1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def ns(request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    return str(request.node.name)[:200]


def rows(count: int) -> list[Row]:
    return [Row(f"v{i}", array("f", [i, *[1.0] * 7]), None, {"n": float(i)}) for i in range(count)]


class EngineTrapTests:
    def test_01_the_serving_process_never_optimizes(
        self, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def optimize(self: EdgeIndex) -> None:
            raise AssertionError("every call would wait until it is done")

        index.upsert("n", rows(500))
        monkeypatch.setattr(EdgeIndex, "optimize", optimize)
        rebuild(index)
        assert index._ann is not None
        assert index._ann.count() == 500

    def test_02_a_build_leaves_a_graph(self, index: VectorIndex) -> None:
        index.upsert("n", rows(2000))
        assert index._ann is not None
        assert index._ann._shard.info().indexed_vectors_count == 0
        rebuild(index)
        assert index._ann._shard.info().indexed_vectors_count == 2000

    def test_03_a_boolean_is_neither_an_integer_nor_a_string(self, client: Client, ns: str) -> None:
        values: dict[str, Any] = {
            "yes": True,
            "one": 1,
            "string": "1",
            "word": "true",
            "no": False,
        }
        client.upsert(
            *({"id": id, "values": GOOD, "metadata": {"f": f}} for id, f in values.items()),
            namespace=ns,
        )
        for id, value in values.items():
            for condition in ({"f": value}, {"f": {"$in": [value]}}):
                assert client.ids(GOOD, namespace=ns, filter=condition) == [id]
        client.delete(filter={"f": True}, namespace=ns)
        assert set(client.list_ids(namespace=ns)) == values.keys() - {"yes"}

    def test_04_values_come_back_as_sent_under_cosine(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [3, 4, 0, 0]}, namespace=ns)
        assert list(client.fetch("a", namespace=ns)["a"].values) == [3, 4, 0, 0]
        (match,) = client.query([3, 4, 0, 0], include_values=True, namespace=ns).matches
        assert list(match.values) == [3, 4, 0, 0]

    def test_06_any_id_will_do(self, client: Client, ns: str) -> None:
        ids = ["1", "01", "550e8400-e29b-41d4-a716-446655440000", "a b", "A", "a", "\n", "/", "%2F"]
        client.upsert(*({"id": id, "values": GOOD} for id in ids), namespace=ns)
        client.upsert({"id": "1", "values": [0, 1, 0, 0]}, namespace=ns + "2")
        assert sorted(client.ids(GOOD, namespace=ns)) == sorted(ids)
        assert list(client.fetch("1", namespace=ns)["1"].values) == GOOD

    def test_07_ids_are_listed_in_byte_order(self, client: Client, ns: str) -> None:
        ids = [f"{i:x}" for i in range(300)]
        client.upsert(*({"id": id, "values": GOOD} for id in reversed(ids)), namespace=ns)
        assert client.list_ids(namespace=ns) == sorted(ids)

    def test_08_nothing_in_memory_is_needed_to_come_back(
        self, start: Callable[..., IndexServer]
    ) -> None:
        server = start()
        server.client().upsert({"id": "a", "values": GOOD, "metadata": {"x": True}})
        server.kill()
        shutil.rmtree(server.config["ram_dir"])
        assert server.start().client().ids(GOOD, filter={"x": True}) == ["a"]

    def test_10_the_scan_threshold_counts_vectors_whatever_their_size(self, tmp_path: Path) -> None:
        for dimension in (2, 384, 1536):
            folder = Path("/dev/shm") / f"{tmp_path.name}-{dimension}-{os.getpid()}"  # noqa: S108  memory
            EdgeIndex.create(folder, Space(dimension, "cosine"), {})
            try:
                config = (folder / "edge_config.json").read_text()
            finally:
                shutil.rmtree(folder)
            found = re.search(r'"full_scan_threshold":\s*(\d+)', config)
            assert found is not None
            vectors = int(found[1]) * 1024 / (dimension * 4)
            assert vectors == pytest.approx(engine.FULL_SCAN_VECTORS, rel=0.01)

    def test_11_an_empty_list_exists(self, client: Client, ns: str) -> None:
        client.upsert(
            {"id": "empty", "values": GOOD, "metadata": {"f": []}},
            {"id": "none", "values": GOOD},
            namespace=ns,
        )
        assert client.ids(GOOD, namespace=ns, filter={"f": {"$exists": True}}) == ["empty"]
        assert client.ids(GOOD, namespace=ns, filter={"f": {"$exists": False}}) == ["none"]
        assert plain(client.fetch("empty", namespace=ns)["empty"].metadata) == {"f": []}

    def test_11_metadata_of_an_unknown_id_is_no_error(self, client: Client, ns: str) -> None:
        client.update("nobody", set_metadata={"x": 1}, namespace=ns)
        assert client.list_ids(namespace=ns) == []

    def test_12_an_empty_index_takes_little_memory(self, start: Callable[..., IndexServer]) -> None:
        folder = Path(start().config["ram_dir"])
        taken = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
        assert taken < 16 * 2**20

    def test_13_the_engine_is_pinned(self) -> None:
        pins = (ROOT / "requirements.txt").read_text().splitlines()
        for package in ("qdrant-edge-py", "sqlcipher3"):
            assert f"{package}=={importlib.metadata.version(package)}" in pins

    def test_14_integers_and_floats_are_one(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": GOOD, "metadata": {"f": 1}}, namespace=ns)
        for condition in ({"f": 1.0}, {"f": {"$in": [1.0, 2.5]}}, {"f": {"$nin": [1.5]}}):
            assert client.ids(GOOD, namespace=ns, filter=condition) == ["a"]
        assert client.ids(GOOD, namespace=ns, filter={"f": {"$ne": 1.0}}) == []


class CipherTrapTests:
    def test_17_one_connection_writes(self, index: VectorIndex, tmp_path: Path) -> None:
        index.upsert("n", rows(1))
        other = connect(tmp_path / "record.db", KEY, readonly=True)
        with pytest.raises(sqlcipher.OperationalError, match="readonly"):
            other.execute("DELETE FROM vector")
        with pytest.raises(sqlcipher.OperationalError, match="readonly"):
            index.record._reader.execute("DELETE FROM vector")
        other.close()

    def test_18_a_wrong_key_prints_nothing_else(self, start: Callable[..., IndexServer]) -> None:
        server = start()
        server.stop()
        owner, _ = server.stack.key_service.keys[server.deployment]
        server.stack.key_service.keys[server.deployment] = (owner, bytes(32))
        server.run_to_end()
        assert "ERROR CORE" not in server.log.read_text()
        assert all(line.startswith("{") for line in server.log.read_text().splitlines())

    def test_19_the_key_is_used_as_it_is(self, tmp_path: Path) -> None:
        with local_index(tmp_path) as index:
            index.upsert("n", rows(3))
        raw = sqlcipher.connect(tmp_path / "record.db")
        raw.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
        raw.execute("PRAGMA cipher_page_size = 16384")
        assert raw.execute("SELECT count(*) FROM vector").fetchone() == (3,)
        raw.close()

    def test_20_no_extension_can_be_loaded(self, index: VectorIndex) -> None:
        with pytest.raises(sqlcipher.OperationalError, match="not authorized"):
            index.record._writer.execute("SELECT load_extension('libm.so.6')")


class MixedFieldTests:
    """Fields beyond those with an index, or with texts only: slower, and still exact."""

    def test_fields_past_the_indexed_ones_filter_exactly(
        self, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "MAX_INDEXED_FIELDS", 3)
        many = [
            Row(f"v{i}", array("f", [i, *[1.0] * 7]), None, {f"f{i % 10}": float(i), "all": "x"})
            for i in range(2000)
        ]
        index.upsert("n", many[:1000])
        index.upsert("n", many[1000:])
        rebuild(index)
        self.check(index, "f9", 1999.0, "v1999")

    def test_long_texts_can_be_matched(self, index: VectorIndex) -> None:
        many = [
            Row(f"v{i}", array("f", [i, *[1.0] * 7]), None, {"text": f"{i} " * 300})
            for i in range(1000)
        ]
        index.upsert("n", many)
        rebuild(index)
        self.check(index, "text", "777 " * 300, "v777")

    def check(self, index: VectorIndex, field: str, value: Any, id: str) -> None:
        namespace = index.record.namespace("n")
        assert namespace is not None
        query = array("f", [0.0, *[1.0] * 7])
        hits = index.query(namespace, query, None, Compare(field, "$eq", value), 10, 1.0)
        assert [hit.id for hit in hits] == [id]

"""Rebuilding: answers and writes stay right while a child builds and its shard is swapped in."""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataplane import builder
from dataplane import index as index_module
from dataplane.errors import Refusal
from dataplane.filters import Compare
from dataplane.index import VectorIndex
from dataplane.values import Row
from tests.dataplane import oracle
from tests.dataplane.support import (
    DIMENSION,
    KEY,
    IndexServer,
    Stack,
    noise,
    rebuild,
    start_index_server,
    wait_until,
)

NAMESPACE = "n"


def row(number: int, shift: float = 0.0, **metadata: Any) -> Row:
    values = array("f", [number + shift, *[1.0] * (DIMENSION - 1)])
    return Row(f"v{number}", values, None, {"n": float(number), **metadata})


def everything(index: VectorIndex) -> dict[str, float]:
    """All ids that a search finds, with their squared distance from the origin of the numbers."""
    namespace = index.record.namespace(NAMESPACE)
    assert namespace is not None
    query = array("f", [0.0, *[1.0] * (DIMENSION - 1)])
    hits = index.query(namespace, query, None, None, 10_000, 1.0)
    assert len({hit.pk for hit in hits}) == len(hits)
    return {hit.id: hit.score for hit in hits}


class RaceTests:
    """Writes at the one moment where they could get lost: after the snapshot, before the swap."""

    @pytest.fixture
    def between(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
        """Run something when the real child has finished, before its shard is loaded."""
        real = builder.run

        def arrange(action: Callable[[], None]) -> None:
            def run(order: builder.Order, stopping: Callable[[], bool]) -> builder.Report | None:
                report = real(order, stopping)
                action()
                return report

            monkeypatch.setattr(builder, "run", run)

        return arrange

    def test_upserts_updates_and_deletes_survive_the_swap(
        self, index: VectorIndex, between: Callable[[Callable[[], None]], None]
    ) -> None:
        index.upsert(NAMESPACE, [row(i) for i in range(500)])

        def meanwhile() -> None:
            index.upsert(NAMESPACE, [row(i) for i in range(500, 700)])
            index.upsert(NAMESPACE, [row(10, shift=0.5)])
            index.update(NAMESPACE, "v20", None, None, {"colour": "red"})
            index.delete_ids(NAMESPACE, ["v30", "v650"])
            index.delete_ids(NAMESPACE, ["v40"])
            index.upsert(NAMESPACE, [row(40, shift=0.25)])
            index.upsert(NAMESPACE, [row(50)])
            index.delete_ids(NAMESPACE, ["v50"])

        between(meanwhile)
        rebuild(index)
        expected = {f"v{i}": float(i * i) for i in range(700) if i not in {30, 50, 650}}
        expected["v10"], expected["v40"] = 10.5**2, 40.25**2
        assert everything(index) == pytest.approx(expected, rel=1e-5)
        namespace = index.record.namespace(NAMESPACE)
        assert namespace is not None
        red = index.matching(namespace, Compare("colour", "$eq", "red"), 0, 10)
        assert [each.id for each in index.record.by_pks(red)] == ["v20"]

    def test_deleting_everything_survives_the_swap(
        self, index: VectorIndex, between: Callable[[Callable[[], None]], None]
    ) -> None:
        index.upsert(NAMESPACE, [row(i) for i in range(300)])
        index.upsert("other", [row(1)])

        def meanwhile() -> None:
            index.delete_all(NAMESPACE, forget=True)
            index.upsert(NAMESPACE, [row(7)])

        between(meanwhile)
        rebuild(index)
        assert everything(index) == {"v7": 49.0}

    def test_by_filter_survives_the_swap(
        self, index: VectorIndex, between: Callable[[Callable[[], None]], None]
    ) -> None:
        index.upsert(NAMESPACE, [row(i) for i in range(300)])

        def meanwhile() -> None:
            index.delete_matching(NAMESPACE, Compare("n", "$lt", 100.0))
            matched = index.update_matching(
                NAMESPACE, Compare("n", "$gte", 200.0), {"high": True}, dry_run=False
            )
            assert matched == 100

        between(meanwhile)
        rebuild(index)
        assert everything(index).keys() == {f"v{i}" for i in range(100, 300)}
        namespace = index.record.namespace(NAMESPACE)
        assert namespace is not None
        high = index.matching(namespace, Compare("high", "$eq", True), 0, 1000)
        assert len(high) == 100

    def test_a_field_first_seen_meanwhile_can_be_filtered_by(
        self, index: VectorIndex, between: Callable[[Callable[[], None]], None]
    ) -> None:
        index.upsert(NAMESPACE, [row(i) for i in range(300)])
        between(lambda: (index.upsert(NAMESPACE, [row(5, fresh="yes")]), None)[1])
        rebuild(index)
        namespace = index.record.namespace(NAMESPACE)
        assert namespace is not None
        assert len(index.matching(namespace, Compare("fresh", "$eq", "yes"), 0, 10)) == 1

    def test_a_failed_build_leaves_the_old_engine_serving(
        self, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index.upsert(NAMESPACE, [row(i) for i in range(50)])
        failed = threading.Event()

        def run(*_: Any) -> None:
            failed.set()
            raise builder.BuildError("out of memory")

        monkeypatch.setattr(builder, "run", run)
        before = index._ann
        index._wants_build = True
        index._wake.set()
        assert failed.wait(10)
        index.upsert(NAMESPACE, [row(50)])
        assert index._ann is before
        assert len(everything(index)) == 51


class ReconcileTests:
    def test_an_engine_that_refuses_a_committed_change_is_replaced(
        self, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index.upsert(NAMESPACE, [row(i) for i in range(200)])
        broken = index._ann
        assert broken is not None

        def refuse(*_: Any) -> None:
            raise RuntimeError("no")

        monkeypatch.setattr(broken, "apply", refuse)
        seq = index.upsert(NAMESPACE, [row(200)])
        assert seq == index.seq
        wait_until(lambda: index._ann not in {None, broken}, "a new engine")
        assert len(everything(index)) == 201

    def test_no_memory_is_refused_before_anything_changes(
        self, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(index_module, "RESERVED_MEMORY", 2**60)
        with pytest.raises(Refusal, match="memory for this index is used up"):
            index.upsert(NAMESPACE, [row(1)])
        assert index.seq == 0
        assert index.record.namespace(NAMESPACE) is None


class BuilderTests:
    def test_a_wrong_key_is_reported(self, index: VectorIndex, tmp_path: Path) -> None:
        index.upsert(NAMESPACE, [row(1)])
        order = builder.Order(
            parent=os.getpid(),
            record=str(tmp_path / "record.db"),
            key="00" * 32,
            folder=str(tmp_path / "shard"),
            dimension=DIMENSION,
            metric="euclidean",
            threads=1,
        )
        with pytest.raises(builder.BuildError, match="not a database"):
            builder.run(order, lambda: False)

    def test_stopping_ends_it(self, index: VectorIndex, tmp_path: Path) -> None:
        order = builder.Order(
            os.getpid(), str(tmp_path / "record.db"), KEY.hex(), str(tmp_path / "x"), 8, "cosine", 1
        )
        assert builder.run(order, lambda: True) is None


@pytest.mark.slow
class ServingTests:
    """A whole server under writes, searched all the while; builds come and go by themselves."""

    DIMENSION = 256
    ROWS = 24_000

    def test_searches_and_writes_stay_right(self, stack: Stack, tmp_path: Path) -> None:
        server = start_index_server(
            stack, tmp_path / "index", dimension=self.DIMENSION, metric="euclidean"
        )
        draw = noise(4)
        centres = [[draw.gauss(0, 4) for _ in range(self.DIMENSION)] for _ in range(50)]

        def values(number: int) -> list[float]:
            own = noise(number)
            return [round(x + own.gauss(0, 1), 3) for x in centres[number % 50]]

        client = server.client()
        kept = {f"keep{i}": values(i) for i in range(40)}
        client.upsert(*({"id": id, "values": kept[id], "metadata": {"kept": True}} for id in kept))
        stop = threading.Event()
        wrong: list[str] = []
        searched = [0]
        searcher = threading.Thread(target=self.search, args=(server, kept, stop, wrong, searched))
        searcher.start()
        try:
            for start in range(0, self.ROWS, 200):
                client.upsert(
                    *(
                        {"id": f"v{i}", "values": values(i + 100), "metadata": {"n": i % 10}}
                        for i in range(start, start + 200)
                    )
                )
                client.delete(*(f"v{i}" for i in range(start, start + 200, 10)))
                client.update(f"v{start + 1}", set_metadata={"touched": True})
            expected = self.ROWS * 9 // 10 + 40
            # What a quiet index leaves unbuilt; a build that began just before the last writes is
            # followed by another one only if more than that came after it.
            left = index_module.SMALL_BYTES // (4 * self.DIMENSION)
            wait_until(
                lambda: any(count >= expected - left for count in self.built(server)),
                "the last build",
                120,
            )
            before = searched[0]
            wait_until(lambda: searched[0] > before + 20, "searches after it")
        finally:
            stop.set()
            searcher.join()
        assert wrong == []
        assert len(self.built(server)) >= 2
        assert client.stats().total_vector_count == expected
        touched = client.ids([0.0] * self.DIMENSION, top_k=1000, filter={"touched": True})
        assert len(touched) == self.ROWS // 200
        low = client.update(filter={"n": 0}, dry_run=True)
        assert low.matched_records == 0  # every tenth was deleted
        server.stop()

    def built(self, server: IndexServer) -> list[int]:
        """How many vectors each build so far had."""
        messages = (line["message"] for line in server.log_lines())
        return [int(each.split()[1]) for each in messages if each.startswith("built ")]

    def search(
        self,
        server: IndexServer,
        kept: dict[str, list[float]],
        stop: threading.Event,
        wrong: list[str],
        searched: list[int],
    ) -> None:
        """Every row kept is found by its own vector, filtered and not, and fetched as sent."""
        client = server.client()
        while not stop.is_set():
            for id, values in kept.items():
                if client.ids(values, top_k=1) != [id]:
                    wrong.append(f"{id} not nearest to itself")
                filtered = client.ids(values, top_k=5, filter={"kept": True})
                if filtered != oracle.nearest("euclidean", values, kept)[:5]:
                    wrong.append(f"{id}: wrong among the kept")
                searched[0] += 1
                if stop.is_set():
                    return

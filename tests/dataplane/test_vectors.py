"""The vector methods of `VectorService`, over the wire: upsert, query, fetch, update, delete, list,
stats.
"""

from __future__ import annotations

import struct as binary
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from protos.generated import vector_service_pb2 as pb
from tests.dataplane import oracle
from tests.dataplane.messages import Client, plain, sparse
from tests.dataplane.support import IndexServer, noise


def float32(value: float) -> float:
    """`value` as the wire carries it."""
    return float(binary.unpack("f", binary.pack("f", value))[0])


@pytest.fixture
def ns(request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    return str(request.node.name)[:200]


class UpsertTests:
    def test_counts_what_was_sent(self, client: Client, ns: str) -> None:
        rows = [{"id": f"v{i}", "values": [1.0, i, 0, 0]} for i in range(3)]
        assert client.upsert(*rows, namespace=ns) == 3
        assert client.stats().namespaces[ns].vector_count == 3

    def test_replaces_the_whole_record(self, client: Client, ns: str) -> None:
        client.upsert(
            {"id": "a", "values": [1, 0, 0, 0], "metadata": {"x": 1, "y": 2}}, namespace=ns
        )
        client.upsert({"id": "a", "values": [0, 1, 0, 0], "metadata": {"y": 3}}, namespace=ns)
        found = client.fetch("a", namespace=ns)["a"]
        assert list(found.values) == [0, 1, 0, 0]
        assert plain(found.metadata) == {"y": 3}
        assert client.ids([1, 0, 0, 0], namespace=ns, filter={"x": 1}) == []
        client.upsert({"id": "a", "values": [0, 1, 0, 0]}, namespace=ns)
        assert not client.fetch("a", namespace=ns)["a"].HasField("metadata")

    def test_the_last_of_several_with_one_id_wins(self, client: Client, ns: str) -> None:
        sent = client.upsert(
            {"id": "a", "values": [1, 0, 0, 0]}, {"id": "a", "values": [0, 0, 1, 0]}, namespace=ns
        )
        assert sent == 2
        assert list(client.fetch("a", namespace=ns)["a"].values) == [0, 0, 1, 0]
        assert client.stats().namespaces[ns].vector_count == 1

    def test_a_refused_vector_leaves_its_batch_out(self, client: Client, ns: str) -> None:
        with pytest.raises(grpc.RpcError):
            client.upsert(
                {"id": "a", "values": [1, 0, 0, 0]}, {"id": "b", "values": [1]}, namespace=ns
            )
        assert client.fetch("a", namespace=ns) == {}

    def test_takes_a_thousand_vectors_and_the_largest_ids(self, client: Client, ns: str) -> None:
        rows = [{"id": f"{i:0512d}", "values": [1, i, 0, 0]} for i in range(1000)]
        assert client.upsert(*rows, namespace=ns) == 1000
        assert len(client.list_ids(namespace=ns)) == 1000

    def test_default_namespace_has_two_names(self, client: Client) -> None:
        client.upsert({"id": "dflt", "values": [1, 0, 0, 0]}, namespace="__default__")
        assert "dflt" in client.fetch("dflt", namespace="")
        assert client.ids([1, 0, 0, 0], namespace="__default__") == client.ids([1, 0, 0, 0])
        assert "__default__" in client.stats().namespaces

    def test_answers_with_a_sequence_number_that_grows(self, client: Client, ns: str) -> None:
        def lsn(method: str, request: Any, name: str) -> int:
            call = getattr(client.stub, method).with_call(request, metadata=client.metadata)[1]
            seq = int(dict(call.trailing_metadata())[name])
            rest = [*client.metadata, ("x-tamarack-protocol", "rest")]
            call = getattr(client.stub, method).with_call(request, metadata=rest)[1]
            assert int(dict(call.initial_metadata())[name]) >= seq
            return seq

        upsert = pb.UpsertRequest(namespace=ns, vectors=[pb.Vector(id="a", values=[1, 0, 0, 0])])
        first = lsn("Upsert", upsert, "x-pinecone-request-lsn")
        second = lsn("Upsert", upsert, "x-pinecone-request-lsn")
        assert second > first
        query = pb.QueryRequest(namespace=ns, vector=[1, 0, 0, 0], top_k=1)
        assert lsn("Query", query, "x-pinecone-max-indexed-lsn") >= second


class QueryTests:
    @pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
    def test_orders_and_scores_as_the_metric_says(
        self, start: Callable[..., IndexServer], metric: str
    ) -> None:
        client = start(dimension=8, metric=metric).client()
        draw = noise(5)
        rows = {f"v{i}": [float32(draw.gauss(0, 2)) for _ in range(8)] for i in range(200)}
        client.upsert(*({"id": id, "values": values} for id, values in rows.items()))
        for _ in range(10):
            query = [float32(draw.gauss(0, 2)) for _ in range(8)]
            found = client.query(query, top_k=20).matches
            assert [match.id for match in found] == oracle.nearest(metric, query, rows)[:20]
            for match in found:
                expected = oracle.score(metric, query, rows[match.id])
                assert match.score == pytest.approx(expected, rel=1e-4, abs=1e-5)

    def test_leaves_out_values_and_metadata_unless_asked(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 2, 0, 0], "metadata": {"x": "y"}}, namespace=ns)
        (match,) = client.query([1, 0, 0, 0], namespace=ns).matches
        assert (list(match.values), match.HasField("metadata")) == ([], False)
        (match,) = client.query([1, 0, 0, 0], namespace=ns, include_values=True).matches
        assert (list(match.values), match.HasField("metadata")) == ([1, 2, 0, 0], False)
        (match,) = client.query([1, 0, 0, 0], namespace=ns, include_metadata=True).matches
        assert (list(match.values), plain(match.metadata)) == ([], {"x": "y"})

    def test_by_id_uses_that_record_s_vector(self, client: Client, ns: str) -> None:
        client.upsert(
            {"id": "a", "values": [1, 0, 0, 0]},
            {"id": "b", "values": [1, 1, 0, 0]},
            {"id": "c", "values": [0, 1, 0, 0]},
            namespace=ns,
        )
        assert client.ids(id="c", top_k=2, namespace=ns) == ["c", "b"]

    def test_by_an_unknown_id_or_in_an_unknown_namespace_finds_nothing(
        self, client: Client, ns: str
    ) -> None:
        client.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace=ns)
        assert client.ids(id="nobody", namespace=ns) == []
        assert client.ids([1, 0, 0, 0], namespace=ns + "-unknown") == []
        assert client.ids(id="a", namespace=ns + "-unknown") == []

    def test_namespaces_do_not_see_each_other(self, client: Client, ns: str) -> None:
        for each in ("1", "2"):
            client.upsert({"id": f"a{each}", "values": [1, 0, 0, 0]}, namespace=ns + each)
        assert client.ids([1, 0, 0, 0], namespace=ns + "1") == ["a1"]
        assert client.ids([1, 0, 0, 0], namespace=ns + "2") == ["a2"]

    def test_an_empty_filter_is_no_filter(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace=ns)
        assert client.ids([1, 0, 0, 0], namespace=ns, filter={}) == ["a"]

    def test_top_k_may_exceed_what_there_is(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace=ns)
        assert client.ids([1, 0, 0, 0], namespace=ns, top_k=10_000) == ["a"]

    def test_counts_read_units(self, client: Client, ns: str) -> None:
        assert client.query([1, 0, 0, 0], namespace=ns).usage.read_units == 1

    def test_search_width_may_be_tuned(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace=ns)
        found = client.ids([1, 0, 0, 0], namespace=ns, scan_factor=4, max_candidates=10_000)
        assert found == ["a"]


class FetchTests:
    def test_returns_the_bytes_that_were_sent(self, client: Client, ns: str) -> None:
        values = [float32(value) for value in (0.1, -123.456, 1e-30, 7e8)]
        metadata = {
            "s": "é🙂\n",
            "i": 7,
            "f": -1.5e300,
            "t": True,
            "n": False,
            "l": ["b", "a", "b"],
            "e": [],
            "": "x",
        }
        del metadata[""]
        client.upsert({"id": "a", "values": values, "metadata": metadata}, namespace=ns)
        found = client.fetch("a", "missing", namespace=ns)
        assert found.keys() == {"a"}
        assert list(found["a"].values) == values
        assert found["a"].id == "a"
        assert plain(found["a"].metadata) == metadata

    def test_repeated_ids_come_once(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace=ns)
        assert client.fetch("a", "a", namespace=ns).keys() == {"a"}

    def test_an_unknown_namespace_is_empty(self, client: Client) -> None:
        assert client.fetch("a", namespace="nowhere") == {}


class FetchByMetadataTests:
    def test_pages_through_all_matches_once(self, client: Client, ns: str) -> None:
        client.upsert(
            *(
                {"id": f"v{i}", "values": [1, 0, 0, 0], "metadata": {"even": i % 2 == 0, "i": i}}
                for i in range(50)
            ),
            namespace=ns,
        )
        seen: list[str] = []
        token = ""
        while True:
            page = client.fetch_by_metadata(
                {"even": True}, namespace=ns, limit=10, pagination_token=token
            )
            assert len(page.vectors) <= 10
            assert all(plain(each.metadata)["even"] is True for each in page.vectors.values())
            seen.extend(page.vectors)
            token = page.pagination.next
            if not token:
                break
        assert sorted(seen) == sorted(f"v{i}" for i in range(0, 50, 2))
        assert page.usage.read_units >= 1

    def test_a_hundred_come_unless_asked_for_more(self, client: Client, ns: str) -> None:
        rows = [{"id": f"v{i}", "values": [1, 0, 0, 0], "metadata": {"x": 1}} for i in range(150)]
        client.upsert(*rows, namespace=ns)
        assert len(client.fetch_by_metadata({"x": 1}, namespace=ns).vectors) == 100
        page = client.fetch_by_metadata({"x": 1}, namespace=ns, limit=10_000)
        assert len(page.vectors) == 150
        assert not page.HasField("pagination")


class UpdateTests:
    def test_by_id_replaces_values_and_merges_metadata(self, client: Client, ns: str) -> None:
        client.upsert(
            {"id": "a", "values": [1, 0, 0, 0], "metadata": {"x": 1, "y": "k"}}, namespace=ns
        )
        client.update("a", values=[0, 1, 0, 0], set_metadata={"x": "one", "z": ["p"]}, namespace=ns)
        found = client.fetch("a", namespace=ns)["a"]
        assert list(found.values) == [0, 1, 0, 0]
        assert plain(found.metadata) == {"x": "one", "y": "k", "z": ["p"]}
        assert client.ids([0, 1, 0, 0], namespace=ns, filter={"x": "one", "y": "k", "z": "p"}) == [
            "a"
        ]
        assert client.ids([0, 1, 0, 0], namespace=ns, filter={"x": 1}) == []
        (match,) = client.query([0, 1, 0, 0], namespace=ns).matches
        assert match.score == pytest.approx(1)

    def test_metadata_alone_keeps_values(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 2, 3, 4]}, namespace=ns)
        client.update("a", set_metadata={"x": 1}, namespace=ns)
        found = client.fetch("a", namespace=ns)["a"]
        assert (list(found.values), plain(found.metadata)) == ([1, 2, 3, 4], {"x": 1})

    def test_an_unknown_id_is_accepted_and_changes_nothing(self, client: Client, ns: str) -> None:
        client.update("nobody", values=[1, 0, 0, 0], namespace=ns)
        assert client.fetch("nobody", namespace=ns) == {}

    def test_by_filter_sets_metadata_of_all_matches(self, client: Client, ns: str) -> None:
        rows = [{"id": f"v{i}", "values": [1, i, 0, 0], "metadata": {"i": i}} for i in range(1500)]
        client.upsert(*rows[:1000], namespace=ns)
        client.upsert(*rows[1000:], namespace=ns)
        dry = client.update(filter={"i": {"$lt": 1200}}, dry_run=True, namespace=ns)
        assert dry.matched_records == 1200
        assert client.ids([1, 0, 0, 0], namespace=ns, filter={"low": True}) == []
        done = client.update(filter={"i": {"$lt": 1200}}, set_metadata={"low": True}, namespace=ns)
        assert done.matched_records == 1200
        found = client.ids([1, 0, 0, 0], top_k=10_000, namespace=ns, filter={"low": True})
        assert sorted(found) == sorted(f"v{i}" for i in range(1200))
        assert plain(client.fetch("v7", namespace=ns)["v7"].metadata) == {"i": 7, "low": True}

    def test_by_filter_is_all_or_nothing(self, client: Client, ns: str) -> None:
        client.upsert(
            {"id": "small", "values": [1, 0, 0, 0], "metadata": {"x": 1}},
            {"id": "big", "values": [1, 0, 0, 0], "metadata": {"x": 1, "t": "y" * 40_000}},
            namespace=ns,
        )
        with pytest.raises(grpc.RpcError) as refused:
            client.update(filter={"x": 1}, set_metadata={"more": "z" * 2000}, namespace=ns)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "'big'" in str(refused.value.details())
        assert plain(client.fetch("small", namespace=ns)["small"].metadata) == {"x": 1}
        assert client.ids([1, 0, 0, 0], namespace=ns, filter={"more": {"$exists": True}}) == []

    def test_by_filter_in_an_unknown_namespace_matches_none(self, client: Client) -> None:
        answer = client.update(filter={"x": 1}, set_metadata={"y": 1}, namespace="nowhere")
        assert answer.HasField("matched_records")
        assert answer.matched_records == 0


class DeleteTests:
    def test_by_ids_ignores_unknown_ones(self, client: Client, ns: str) -> None:
        rows = [{"id": id, "values": [1, 0, 0, 0]} for id in "abc"]
        client.upsert(*rows, namespace=ns)
        client.delete("a", "nobody", namespace=ns)
        assert client.list_ids(namespace=ns) == ["b", "c"]
        assert sorted(client.ids([1, 0, 0, 0], namespace=ns)) == ["b", "c"]

    def test_by_filter(self, client: Client, ns: str) -> None:
        rows = [
            {"id": f"v{i}", "values": [1, 0, 0, 0], "metadata": {"i": i, "odd": i % 2 == 1}}
            for i in range(1000)
        ]
        client.upsert(*rows, namespace=ns)
        client.delete(filter={"odd": True}, namespace=ns)
        assert client.stats().namespaces[ns].vector_count == 500
        found = client.ids([1, 0, 0, 0], top_k=1000, namespace=ns)
        assert sorted(found) == sorted(f"v{i}" for i in range(0, 1000, 2))

    def test_all_of_a_namespace_and_no_other(self, client: Client, ns: str) -> None:
        for each in ("1", "2"):
            client.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace=ns + each)
        client.delete(delete_all=True, namespace=ns + "1")
        assert client.fetch("a", namespace=ns + "1") == {}
        assert client.ids([1, 0, 0, 0], namespace=ns + "1") == []
        assert client.ids([1, 0, 0, 0], namespace=ns + "2") == ["a"]
        assert ns + "1" not in client.stats().namespaces

    def test_in_an_unknown_namespace_is_no_error(self, client: Client) -> None:
        client.delete("a", namespace="nowhere")
        client.delete(delete_all=True, namespace="nowhere")
        client.delete(filter={"x": 1}, namespace="nowhere")

    def test_an_id_can_come_back(self, client: Client, ns: str) -> None:
        client.upsert({"id": "a", "values": [1, 0, 0, 0], "metadata": {"x": 1}}, namespace=ns)
        client.delete("a", namespace=ns)
        client.upsert({"id": "a", "values": [0, 1, 0, 0]}, namespace=ns)
        assert client.ids([0, 1, 0, 0], namespace=ns) == ["a"]
        assert client.ids([0, 1, 0, 0], namespace=ns, filter={"x": 1}) == []


class ListTests:
    def test_orders_bytewise_by_prefix_and_page(self, client: Client, ns: str) -> None:
        ids = ["a", "B", "a#1", "a#10", "a#2", "a~", "b", "~", "a#"]
        client.upsert(*({"id": id, "values": [1, 0, 0, 0]} for id in ids), namespace=ns)
        assert client.list_ids(namespace=ns) == sorted(ids)
        assert client.list_ids(namespace=ns, prefix="a#") == ["a#", "a#1", "a#10", "a#2"]
        assert client.list_ids(namespace=ns, prefix="zz") == []
        page = client.list_page(namespace=ns, prefix="a", limit=2)
        assert [item.id for item in page.vectors] == ["a", "a#"]
        assert client.list_ids(namespace=ns, limit=1) == sorted(ids)

    def test_a_full_last_page_promises_no_other(self, client: Client, ns: str) -> None:
        client.upsert(*({"id": id, "values": [1, 0, 0, 0]} for id in "ab"), namespace=ns)
        assert not client.list_page(namespace=ns, limit=2).HasField("pagination")

    def test_the_last_byte_is_no_exception_as_prefix(self, client: Client, ns: str) -> None:
        ids = ["~", "~~", "\x7f", "\x7f\x7f"]
        client.upsert(*({"id": id, "values": [1, 0, 0, 0]} for id in ids), namespace=ns)
        assert client.list_ids(namespace=ns, prefix="\x7f") == ["\x7f", "\x7f\x7f"]


class StatsTests:
    def test_describe_the_index(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=3, metric="euclidean").client()
        stats = client.stats()
        assert (stats.dimension, stats.metric, stats.vector_type) == (3, "euclidean", "dense")
        assert (stats.total_vector_count, dict(stats.namespaces)) == (0, {})
        client.upsert({"id": "a", "values": [1, 0, 0]}, {"id": "b", "values": [1, 0, 0]})
        client.upsert({"id": "a", "values": [1, 0, 0]}, namespace="n")
        stats = client.stats()
        assert stats.total_vector_count == 3
        counts = {name: each.vector_count for name, each in stats.namespaces.items()}
        assert counts == {"__default__": 2, "n": 1}

    def test_sparse_indexes_have_no_dimension(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=None, metric="dotproduct", vector_type="sparse").client()
        stats = client.stats()
        assert not stats.HasField("dimension")
        assert stats.vector_type == "sparse"


class SparseTests:
    def test_an_index_of_sparse_vectors(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=None, metric="dotproduct", vector_type="sparse").client()
        client.upsert(
            {"id": "a", "sparse": {1: 0.5, 4294967295: 2.0}, "metadata": {"x": 1}},
            {"id": "b", "sparse": {1: 3.0}},
            {"id": "c", "sparse": {7: 1.0}},
        )
        found = client.query(sparse={1: 1.0, 4294967295: 2.0}).matches
        assert [(match.id, match.score) for match in found] == [("a", 4.5), ("b", 3.0)]
        assert client.ids(sparse={1: 1.0}, filter={"x": 1}) == ["a"]
        assert client.ids(id="c") == ["c"]
        stored = client.fetch("a")["a"]
        assert list(stored.values) == []
        assert dict(
            zip(stored.sparse_values.indices, stored.sparse_values.values, strict=True)
        ) == {
            1: 0.5,
            4294967295: 2.0,
        }
        client.update("c", sparse={1: 100.0})
        assert client.ids(sparse={1: 1.0}, top_k=1) == ["c"]

    def test_entries_need_no_order(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=None, metric="dotproduct", vector_type="sparse").client()
        client.upsert({"id": "a", "sparse": {9: 1.0, 2: 2.0, 5: 4.0}})
        (match,) = client.query(sparse={5: 1.0, 2: 10.0, 9: 100.0}).matches
        assert match.score == 124.0
        stored = client.fetch("a")["a"].sparse_values
        assert stored == sparse({9: 1.0, 2: 2.0, 5: 4.0})


class HybridTests:
    def test_scores_are_the_sum_of_both_products(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=6, metric="dotproduct").client()
        draw = noise(3)
        rows: dict[str, tuple[list[float], dict[int, float]]] = {}
        for i in range(600):
            dense = [float32(draw.gauss(0, 1)) for _ in range(6)]
            entries = {draw.randrange(40): float32(draw.gauss(0, 1)) for _ in range(4)}
            rows[f"v{i}"] = (dense, entries if i % 3 else {})
        client.upsert(
            *(
                {"id": id, "values": dense, "sparse": entries or None, "metadata": {"i": i}}
                for i, (id, (dense, entries)) in enumerate(rows.items())
            )
        )

        def expected(query: list[float], entries: dict[int, float], low: int) -> list[str]:
            scored = [
                (
                    oracle.score("dotproduct", query, dense)
                    + sum(value * stored.get(index, 0) for index, value in entries.items()),
                    id,
                )
                for i, (id, (dense, stored)) in enumerate(rows.items())
                if i >= low
            ]
            return [id for _, id in sorted(scored, reverse=True)[:15]]

        for weight in (0.0, 0.1, 1.0, 30.0):
            for low in (0, 450):
                query = [float32(draw.gauss(0, 1)) for _ in range(6)]
                entries = {draw.randrange(40): float32(weight * draw.gauss(0, 1)) for _ in range(5)}
                found = client.ids(query, top_k=15, sparse=entries, filter={"i": {"$gte": low}})
                assert found == expected(query, entries, low)

    def test_zeros_leave_the_ranking_to_the_sparse_part(
        self, start: Callable[..., IndexServer]
    ) -> None:
        client = start(dimension=2, metric="dotproduct").client()
        client.upsert(
            {"id": "a", "values": [5, 5], "sparse": {1: 1.0}},
            {"id": "b", "values": [1, 1], "sparse": {1: 2.0}},
        )
        found = client.query([0, 0], sparse={1: 3.0}).matches
        assert [(match.id, match.score) for match in found] == [("b", 6), ("a", 3)]

    def test_by_id_uses_both_vectors(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=2, metric="dotproduct").client()
        client.upsert(
            {"id": "a", "values": [1, 0], "sparse": {1: 2.0}},
            {"id": "b", "values": [1, 0], "sparse": {1: 5.0}},
            {"id": "c", "values": [1, 0]},
        )
        found = client.query(id="a").matches
        assert [(match.id, match.score) for match in found] == [("b", 11), ("a", 5), ("c", 1)]

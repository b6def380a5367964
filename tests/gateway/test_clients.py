"""The official client through the gateway: REST, gRPC and async, and the JSON that others read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pinecone
import pytest
from pinecone import AsyncPinecone, Pinecone
from pinecone.errors import exceptions as errors

from tests.gateway.support import KEY, OTHER_KEY, READ_KEY, Gateway
from tests.gateway.upstream import IndexServer

VECTORS = [
    {"id": "a", "values": [0.5, 1.0], "metadata": {"genre": "drama", "year": 2020}},
    {"id": "b", "values": [1.5, 0.0], "sparse_values": {"indices": [1, 7], "values": [0.5, 0.25]}},
]


@pytest.fixture
def trusting(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The gRPC part of the official client takes its roots from the environment alone."""
    monkeypatch.setenv("SSL_CERT_FILE", str(gateway.ca))
    return gateway


def client(gateway: Gateway, key: str = KEY) -> Pinecone:
    """The official client with nothing but its documented settings."""
    return Pinecone(api_key=key, host=gateway.control_url, ssl_ca_certs=str(gateway.ca))


def host(gateway: Gateway, number: int = 0) -> str:
    """What describe_index would have returned."""
    return gateway.url(number).removeprefix("https://")


@pytest.fixture(params=[False, True], ids=["rest", "grpc"])
def connected(request: pytest.FixtureRequest, trusting: Gateway) -> Iterator[pinecone.Index]:
    """Index 0 over each transport."""
    with client(trusting).index(host=host(trusting), grpc=request.param) as index:
        yield index


class PineconeClientTests:
    def test_version_is_the_one_that_the_shapes_were_measured_with(self) -> None:
        assert pinecone.__version__ == "10.2.0"

    def test_every_vector_method(self, connected: pinecone.Index, index: IndexServer) -> None:
        space = f"methods-{type(connected).__name__}"
        assert connected.upsert(vectors=VECTORS, namespace=space).upserted_count == 2
        found = connected.query(
            vector=[1.0, 0.0],
            top_k=2,
            namespace=space,
            include_values=True,
            include_metadata=True,
            filter={"genre": {"$in": ["drama"]}},
        )
        assert [(m.id, m.score) for m in found.matches] == [("a", 0.0), ("b", 0.0)]
        assert list(found.matches[0].values) == [0.5, 1.0]
        assert found.matches[0].metadata == {"genre": "drama", "year": 2020}
        bare = connected.query(vector=[1.0, 0.0], top_k=1, namespace=space)
        assert bare.matches[0].id == "a"
        fetched = connected.fetch(ids=["a", "b", "missing"], namespace=space)
        assert sorted(fetched.vectors) == ["a", "b"]
        sparse = fetched.vectors["b"].sparse_values
        assert sparse is not None
        assert list(sparse.indices) == [1, 7]
        by_metadata = connected.fetch_by_metadata(filter={"genre": "drama"}, namespace=space)
        assert sorted(by_metadata.vectors) == ["a", "b"]
        connected.update(id="a", values=[2.0, 2.0], namespace=space)
        assert list(connected.fetch(ids=["a"], namespace=space).vectors["a"].values) == [2.0, 2.0]
        stats = connected.describe_index_stats()
        assert (stats.dimension, stats.metric) == (2, "cosine")
        assert stats.namespaces[space].vector_count == 2
        assert [[v.id for v in page.vectors] for page in connected.list(namespace=space)] == [
            ["a", "b"]
        ]
        connected.delete(ids=["a", "b"], namespace=space)
        assert dict(connected.fetch(ids=["a"], namespace=space).vectors) == {}
        filters = [
            c.request.filter for c in index.calls if c.method in {"Query", "FetchByMetadata"}
        ]
        assert filters[0]["genre"]["$in"][0] == "drama"
        assert filters[2]["genre"] == "drama"

    def test_every_namespace_method(self, connected: pinecone.Index, index: IndexServer) -> None:
        space = f"spaces/{type(connected).__name__} + more"
        connected.upsert(vectors=VECTORS, namespace=space)
        described = connected.describe_namespace(name=space)
        assert (described.name, int(described.record_count)) == (space, 2)
        assert int(described.size_bytes) == 5_000_000_000
        listed = [ns for page in connected.list_namespaces() for ns in page.namespaces]
        assert (space, 2) in [(ns.name, int(ns.record_count)) for ns in listed]
        created = connected.create_namespace(
            name=f"{space} new", schema={"fields": {"genre": {"filterable": True}}}
        )
        assert created.name == f"{space} new"
        (request,) = [c.request for c in index.calls if c.method == "CreateNamespace"]
        assert request.schema.fields["genre"].filterable
        connected.delete_namespace(name=space)
        with pytest.raises(errors.NotFoundError):
            connected.describe_namespace(name=space)

    def test_odd_ids_arrive_as_they_are(
        self, connected: pinecone.Index, index: IndexServer
    ) -> None:
        ids = ["b+c", "a b", "50%", "x&y=z", "what?", "#1", "a/b"]
        connected.fetch(ids=ids, namespace="odd")
        assert list(index.calls[-1].request.ids) == ids

    def test_refusals_are_the_exceptions_that_users_know(self, trusting: Gateway) -> None:
        for grpc in (False, True):
            for key, expected in (
                ("tmrk_unknown_9999", errors.UnauthorizedError),
                (OTHER_KEY, errors.ForbiddenError),
            ):
                with (
                    client(trusting, key).index(host=host(trusting), grpc=grpc) as index,
                    pytest.raises(expected, match="API key"),
                ):
                    index.describe_index_stats()
            with client(trusting, READ_KEY).index(host=host(trusting), grpc=grpc) as index:
                index.describe_index_stats()
                with pytest.raises(errors.ForbiddenError, match="data:write"):
                    index.upsert(vectors=VECTORS)
            with (
                client(trusting).index(host=host(trusting, 3), grpc=grpc) as index,
                pytest.raises(errors.NotFoundError, match="No index answers"),
            ):
                index.describe_index_stats()

    def test_a_grpc_index_can_use_rest_on_the_same_port(self, trusting: Gateway) -> None:
        with client(trusting).index(host=host(trusting), grpc=True) as index:
            index.describe_index_stats()
            with pytest.raises(errors.NotFoundError, match="No such operation"):
                index.search(namespace="n", top_k=1, inputs={"text": "no such method yet"})

    def test_the_async_client(self, trusting: Gateway) -> None:
        async def use() -> int:
            async with (
                AsyncPinecone(
                    api_key=KEY, host=trusting.control_url, ssl_ca_certs=str(trusting.ca)
                ) as opened,
                await opened.index(host=host(trusting)) as index,
            ):
                await index.upsert(vectors=VECTORS, namespace="async")
                answer = await index.query(vector=[1.0, 0.0], top_k=2, namespace="async")
                return len(answer.matches)

        assert asyncio.run(use()) == 2


class JsonTests:
    """What clients in other languages read, byte for byte where it matters."""

    def test_zeros_and_empty_lists_are_written_out(self, gateway: Gateway) -> None:
        with gateway.http() as rest:
            rest.post("/vectors/upsert", json={"vectors": VECTORS, "namespace": "json"})
            answer = rest.post("/query", json={"topK": 1, "vector": [1, 2], "namespace": "json"})
            assert answer.json() == {
                "results": [],
                "matches": [{"id": "a", "score": 0, "values": []}],
                "namespace": "json",
                "usage": {"readUnits": 1},
            }
            assert rest.post("/vectors/upsert", json={"vectors": []}).json() == {"upsertedCount": 0}
            assert rest.post("/vectors/delete", json={"ids": ["a"]}).json() == {}

    def test_vector_methods_are_camel_case_and_namespaces_snake_case(
        self, gateway: Gateway
    ) -> None:
        with gateway.http() as rest:
            rest.post("/vectors/upsert", json={"vectors": VECTORS, "namespace": "cases"})
            stats = rest.get("/describe_index_stats").json()
            assert stats["namespaces"]["cases"] == {"vectorCount": 2}
            assert isinstance(stats["totalVectorCount"], int)
            described = rest.get("/namespaces/cases").json()
            assert described == {
                "name": "cases",
                "record_count": 2,
                "size_bytes": "5000000000",
                "indexed_fields": {"fields": ["genre"]},
            }
            assert isinstance(rest.get("/namespaces").json()["total_count"], int)

    def test_requests_are_read_in_either_case(self, gateway: Gateway, index: IndexServer) -> None:
        with gateway.http() as rest:
            for body in ({"topK": 3, "includeValues": True}, {"top_k": 3, "include_values": True}):
                assert rest.post("/query", json=body).status_code == 200
            rest.get("/vectors/list?paginationToken=t&limit=7&prefix=p")
            rest.get("/vectors/list?pagination_token=t&limit=7&prefix=p")
        queries = [c.request for c in index.calls]
        assert [(q.top_k, q.include_values) for q in queries[:2]] == [(3, True)] * 2
        assert [(q.pagination_token, q.limit, q.prefix) for q in queries[2:]] == [("t", 7, "p")] * 2

    def test_metadata_keeps_its_types(self, gateway: Gateway) -> None:
        metadata = {"s": "x", "n": 1.5, "i": 3, "b": True, "l": ["a", "b"], "ü": "ß", "e": ""}
        vector = {"id": "types", "values": [1, 2], "metadata": metadata}
        with gateway.http() as rest:
            rest.post("/vectors/upsert", json={"vectors": [vector]})
            answer = rest.get("/vectors/fetch?ids=types")
        assert answer.json()["vectors"]["types"]["metadata"] == metadata
        assert json.loads(answer.text)["vectors"]["types"]["metadata"]["b"] is True

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"null",
            b'{"topK": "many"}',
            b'{"topK": -1}',
            b'{"topK": 1.5}',
            b'{"topK": 1, "vector": [1, "x"]}',
            b'{"topK": 1, "vector": [NaN]}',
            b'{"topK": 1, "vector": [1e39]}',
            b'{"topK": 1, "vector": "abc"}',
            b'{"topK": 1}{"topK": 2}',
            b'{"namespace": "\xff"}',
            b'{"filter": []}',
            b"topK=1",
            b"[" * 5000,
            b'{"filter":' * 2000,
        ],
        ids=lambda body: repr(body[:30]),
    )
    def test_bad_json_is_400_and_says_why(
        self, gateway: Gateway, index: IndexServer, body: bytes
    ) -> None:
        with gateway.http() as rest:
            answer = rest.post("/query", content=body)
        assert_invalid(answer)
        assert index.calls == []

    @pytest.mark.parametrize(
        "query", ["limit=abc", "limit=-1", "limit=99999999999", "limit=1&limit=2", "namspace=typo"]
    )
    def test_bad_query_parameters_are_400_and_named(
        self, gateway: Gateway, index: IndexServer, query: str
    ) -> None:
        with gateway.http() as rest:
            answer = rest.get(f"/vectors/list?{query}")
        assert_invalid(answer)
        assert query.partition("=")[0] in answer.json()["message"]
        assert index.calls == []


def assert_invalid(answer: httpx.Response) -> None:
    """400 in the data plane's shape, with some words about it."""
    assert answer.status_code == 400
    content = answer.json()
    assert sorted(content) == ["code", "details", "message"]
    assert content["code"] == 3
    assert content["message"].strip(" :")

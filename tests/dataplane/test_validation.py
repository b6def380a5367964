"""Bad input to every method: a status, and a sentence with the value, the rule, the way out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from protos.generated import vector_service_pb2 as pb
from tests.dataplane.messages import Client, query_request, sparse, struct, vector
from tests.dataplane.support import IndexServer, Stack, start_index_server

GOOD = [1.0, 0.0, 0.0, 0.0]
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def upsert(*vectors: pb.Vector, namespace: str = "") -> pb.UpsertRequest:
    return pb.UpsertRequest(vectors=vectors, namespace=namespace)


def meta(value: Any, key: str = "x") -> pb.UpsertRequest:
    return upsert(vector("a", GOOD, {key: value}))


def update(**more: Any) -> pb.UpdateRequest:
    for name in ("set_metadata", "filter"):
        if name in more:
            more[name] = struct(more[name])
    return pb.UpdateRequest(**more)


def filtered(condition: dict[str, Any]) -> pb.QueryRequest:
    return query_request(GOOD, filter=condition)


def nested(depth: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"x": 1}
    for _ in range(depth):
        condition = {"$and": [condition]}
    return condition


CASES: dict[str, tuple[str, Any, list[str]]] = {
    # Upsert
    "no vectors": ("Upsert", upsert(), ["No vectors", "1-1000"]),
    "too many vectors": ("Upsert", upsert(*[vector("a", GOOD)] * 1001), ["1001", "1000"]),
    "no id": ("Upsert", upsert(vector("", GOOD)), ["ID is empty", "1-512"]),
    "long id": ("Upsert", upsert(vector("x" * 513, GOOD)), ["513", "512"]),
    "id not ascii": ("Upsert", upsert(vector("é", GOOD)), ["'é'", "ASCII"]),
    "id with nul": ("Upsert", upsert(vector("a\0", GOOD)), ["a\\x00", "NUL"]),
    "short vector": (
        "Upsert",
        upsert(vector("a", [1, 2, 3])),
        ["Vector dimension 3 does not match the dimension of the index 4", "'a'"],
    ),
    "long vector": ("Upsert", upsert(vector("a", [1] * 5)), ["Vector dimension 5 does not match"]),
    "no values": ("Upsert", upsert(vector("a")), ["'a' has no values", "dimension 4"]),
    "nan": ("Upsert", upsert(vector("a", [1, math.nan, 0, 0])), ["values[1] is nan", "finite"]),
    "infinity": ("Upsert", upsert(vector("a", [0, 0, math.inf, 0])), ["values[2] is inf"]),
    "both infinities": (
        "Upsert",
        upsert(vector("a", [math.inf, -math.inf, 0, 0])),
        ["values[0] is inf"],
    ),
    "zeros": ("Upsert", upsert(vector("a", [0, 0, 0, 0])), ["at least one non-zero value"]),
    "nearly zeros": ("Upsert", upsert(vector("a", [1e-9, 0, 0, 0])), ["1e-08"]),
    "overflow": ("Upsert", upsert(vector("a", [3e38, 0, 0, 0])), ["float32", "scale"]),
    "sparse under cosine": (
        "Upsert",
        upsert(vector("a", GOOD, sparse={1: 1.0})),
        ["cosine", "dotproduct"],
    ),
    "long namespace": ("Upsert", upsert(vector("a", GOOD), namespace="n" * 513), ["513", "512"]),
    "namespace not ascii": ("Upsert", upsert(vector("a", GOOD), namespace="ñ"), ["'ñ'", "ASCII"]),
    # Metadata
    "null": ("Upsert", meta(None), ["'x' is null", "string, number, boolean or list of strings"]),
    "object": ("Upsert", meta({"y": 1}), ["'x' is an object", "flatten"]),
    "list of numbers": ("Upsert", meta([1, 2]), ["other items than strings"]),
    "mixed list": ("Upsert", meta(["a", 1]), ["other items than strings"]),
    "metadata nan": ("Upsert", meta(math.nan), ["'x' is nan", "finite"]),
    "key with dollar": ("Upsert", meta(1, "$x"), ["'$x'", "'$'"]),
    "empty key": ("Upsert", meta(1, ""), ["''", "empty"]),
    "large metadata": ("Upsert", meta("y" * 41_000), ["41008 bytes", "40960"]),
    "large in bytes": ("Upsert", meta("é" * 20_500), ["41008 bytes", "40960"]),
    # Query
    "no vector": ("Query", pb.QueryRequest(top_k=1), ["either `id`, or `vector`"]),
    "id and vector": ("Query", query_request(GOOD, id="a"), ["either `id`, or `vector`"]),
    "top_k 0": ("Query", query_request(GOOD, 0), ["top_k is 0", "1-10000"]),
    "top_k 10001": ("Query", query_request(GOOD, 10_001), ["top_k is 10001", "1-10000"]),
    "query dimension": ("Query", query_request([1, 2]), ["Vector dimension 2 does not match"]),
    "query nan": ("Query", query_request([math.nan, 0, 0, 0]), ["values[0] is nan"]),
    "query zeros": ("Query", query_request([0, 0, 0, 0]), ["all zeros", "cosine"]),
    "query id": ("Query", pb.QueryRequest(id="ü", top_k=1), ["'ü'", "ASCII"]),
    "query sparse": ("Query", query_request(GOOD, sparse={1: 1.0}), ["dotproduct"]),
    "queries": (
        "Query",
        pb.QueryRequest(queries=[pb.QueryVector(values=GOOD)], top_k=1),
        ["`queries` is no longer supported"],
    ),
    "scan_factor": ("Query", query_request(GOOD, scan_factor=9), ["scan_factor is 9", "0.5-4"]),
    "max_candidates": ("Query", query_request(GOOD, 10, max_candidates=9), ["max_candidates is 9"]),
    # Filters
    "unknown operator": ("Query", filtered({"x": {"$regex": "a"}}), ["'$regex'", "$exists"]),
    "nested metadata": ("Query", filtered({"x": {"y": 1}}), ["'y'", "Nested"]),
    "lone operator": ("Query", filtered({"$eq": 1}), ["'$eq'", "stand alone"]),
    "$and of an object": ("Query", filtered({"$and": {"x": 1}}), ["$and takes a list"]),
    "empty $or": ("Query", filtered({"$or": []}), ["$or takes a list of at least one"]),
    "$and of scalars": ("Query", filtered({"$and": [1]}), ["$and takes a list"]),
    "empty object in $or": ("Query", filtered({"$or": [{}]}), ["empty object"]),
    "empty condition": ("Query", filtered({"x": {}}), ["'x' is empty"]),
    "null filter": ("Query", filtered({"x": None}), ["'x'", "null"]),
    "$eq list": ("Query", filtered({"x": {"$eq": ["a"]}}), ["a list", "$in"]),
    "bare list": ("Query", filtered({"x": ["a"]}), ["a list", "$in"]),
    "$gt string": ("Query", filtered({"x": {"$gt": "a"}}), ["takes a number, not a string"]),
    "$gt boolean": ("Query", filtered({"x": {"$gt": True}}), ["takes a number, not a boolean"]),
    "$in scalar": ("Query", filtered({"x": {"$in": "a"}}), ["takes a list, not a string"]),
    "$in of lists": ("Query", filtered({"x": {"$in": [["a"]]}}), ["a list"]),
    "$exists number": ("Query", filtered({"x": {"$exists": 1}}), ["true or false, not a number"]),
    "filter nan": ("Query", filtered({"x": math.nan}), ["nan is not a finite number"]),
    "deep filter": ("Query", filtered(nested(17)), ["16 levels"]),
    "very deep filter": ("Query", filtered(nested(40)), ["can't be decoded", "16 levels"]),
    "large filter": (
        "Query",
        filtered({"x": {"$in": [str(i) for i in range(10_001)]}}),
        ["10000 values"],
    ),
    # Fetch
    "fetch nothing": ("Fetch", pb.FetchRequest(), ["No IDs to fetch"]),
    "fetch many": ("Fetch", pb.FetchRequest(ids=["a"] * 1001), ["1001", "1000"]),
    "fetch empty id": ("Fetch", pb.FetchRequest(ids=[""]), ["ID is empty"]),
    "fetch by no filter": ("FetchByMetadata", pb.FetchByMetadataRequest(), ["filter", "empty"]),
    "fetch limit": (
        "FetchByMetadata",
        pb.FetchByMetadataRequest(filter=struct({"x": 1}), limit=10_001),
        ["10001", "1-10000"],
    ),
    "fetch token": (
        "FetchByMetadata",
        pb.FetchByMetadataRequest(filter=struct({"x": 1}), pagination_token="dDE6YWJj"),
        ["dDE6YWJj", "another listing"],
    ),
    # Update
    "update what": ("Update", update(set_metadata={"x": 1}), ["either `id` or `filter`"]),
    "update both": (
        "Update",
        update(id="a", filter={"x": 1}, set_metadata={"y": 1}),
        ["either `id` or `filter`"],
    ),
    "update nothing": ("Update", update(id="a"), ["changes nothing"]),
    "update dimension": ("Update", update(id="a", values=[1.0]), ["Vector dimension 1"]),
    "update nan": ("Update", update(id="a", values=[math.nan, 0, 0, 0]), ["values[0] is nan"]),
    "update zeros": ("Update", update(id="a", values=[0, 0, 0, 0]), ["non-zero"]),
    "update sparse": (
        "Update",
        update(id="a", sparse_values=sparse({1: 1.0})),
        ["dotproduct"],
    ),
    "update null": ("Update", update(id="a", set_metadata={"x": None}), ["'x' is null"]),
    "update dry run by id": (
        "Update",
        update(id="a", set_metadata={"x": 1}, dry_run=True),
        ["dry_run"],
    ),
    "update by empty filter": (
        "Update",
        update(filter={}, set_metadata={"x": 1}),
        ["filter to update by is empty"],
    ),
    "update values by filter": (
        "Update",
        update(filter={"x": 1}, values=GOOD, set_metadata={"y": 1}),
        ["can't set values"],
    ),
    "update nothing by filter": ("Update", update(filter={"x": 1}), ["needs set_metadata"]),
    # Delete
    "delete what": ("Delete", pb.DeleteRequest(), ["exactly one", "none was sent"]),
    "delete two ways": (
        "Delete",
        pb.DeleteRequest(ids=["a"], filter=struct({"x": 1})),
        ["exactly one", "more than one"],
    ),
    "delete ids and all": ("Delete", pb.DeleteRequest(ids=["a"], delete_all=True), ["exactly one"]),
    "delete many": ("Delete", pb.DeleteRequest(ids=["a"] * 1001), ["1001", "1000"]),
    "delete by empty filter": (
        "Delete",
        pb.DeleteRequest(filter=struct({})),
        ["filter to delete by is empty"],
    ),
    # List
    "list limit 0": ("List", pb.ListRequest(limit=0), ["limit is 0", "1-100"]),
    "list limit 101": ("List", pb.ListRequest(limit=101), ["limit is 101", "1-100"]),
    "list prefix": ("List", pb.ListRequest(prefix="é"), ["'é'", "ASCII"]),
    "list token": ("List", pb.ListRequest(pagination_token="???"), ["'???'", "first page"]),
    "foreign token": ("List", pb.ListRequest(pagination_token="YWJj"), ["'YWJj'", "first page"]),
    # Stats and namespaces
    "stats filter": (
        "DescribeIndexStats",
        pb.DescribeIndexStatsRequest(filter=struct({"x": 1})),
        ["can't be filtered"],
    ),
    "namespaces limit": ("ListNamespaces", pb.ListNamespacesRequest(limit=101), ["101", "1-100"]),
    "create unnamed": ("CreateNamespace", pb.CreateNamespaceRequest(), ["''", "can't be created"]),
    "create default": (
        "CreateNamespace",
        pb.CreateNamespaceRequest(name="__default__"),
        ["'__default__' can't be created"],
    ),
    "create long": ("CreateNamespace", pb.CreateNamespaceRequest(name="n" * 513), ["513", "512"]),
    "schema size": (
        "CreateNamespace",
        pb.CreateNamespaceRequest(
            name="n",
            schema=pb.MetadataSchema(
                fields={f"f{i}": pb.MetadataFieldProperties(filterable=True) for i in range(51)}
            ),
        ),
        ["51 fields", "50"],
    ),
    "schema not filterable": (
        "CreateNamespace",
        pb.CreateNamespaceRequest(
            name="n", schema=pb.MetadataSchema(fields={"f": pb.MetadataFieldProperties()})
        ),
        ["'f' is not filterable"],
    ),
    "describe long": (
        "DescribeNamespace",
        pb.DescribeNamespaceRequest(namespace="n" * 600),
        ["600", "512"],
    ),
    "delete long": ("DeleteNamespace", pb.DeleteNamespaceRequest(namespace="ü"), ["ASCII"]),
}

UNEVEN = pb.SparseValues(indices=[1, 2], values=[1.0])
REPEATED = pb.SparseValues(indices=[7, 7], values=[1.0, 2.0])
MANY = sparse(dict.fromkeys(range(2049), 1.0))

SPARSE_CASES: dict[str, tuple[str, Any, list[str]]] = {
    "dense values": (
        "Upsert",
        upsert(vector("a", [1.0], sparse={1: 1.0})),
        ["sparse vectors only"],
    ),
    "no sparse values": ("Upsert", upsert(vector("a")), ["no sparse values"]),
    "uneven": (
        "Upsert",
        upsert(pb.Vector(id="a", sparse_values=UNEVEN)),
        ["2 sparse indices", "1"],
    ),
    "repeated index": ("Upsert", upsert(pb.Vector(id="a", sparse_values=REPEATED)), ["index 7"]),
    "too many": ("Upsert", upsert(pb.Vector(id="a", sparse_values=MANY)), ["2049", "2048"]),
    "sparse nan": (
        "Upsert",
        upsert(vector("a", sparse={1: math.nan})),
        ["sparse_values[0] is nan"],
    ),
    "sparse overflow": ("Upsert", upsert(vector("a", sparse={1: 3e38})), ["float32"]),
    "dense query": ("Query", query_request([1.0]), ["sparse vectors only"]),
    "query repeated": ("Query", pb.QueryRequest(sparse_vector=REPEATED, top_k=1), ["index 7"]),
    "update dense": ("Update", update(id="a", values=[1.0]), ["sparse vectors only"]),
}


def refusal(client: Client, method: str, request: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        client.call(method, request)
    return refused.value


class BadInputTests:
    @pytest.mark.parametrize("name", CASES)
    def test_is_refused_with_the_value_and_the_rule(self, client: Client, name: str) -> None:
        method, request, parts = CASES[name]
        error: Any = refusal(client, method, request)
        assert error.code() is INVALID
        for part in parts:
            assert part in error.details()
        assert len(error.details()) < 500

    def test_covers_every_method(self) -> None:
        service = pb.DESCRIPTOR.services_by_name["VectorService"]
        assert {method for method, _, _ in CASES.values()} == set(service.methods_by_name)

    def test_changes_nothing(self, client: Client, shared_server: IndexServer) -> None:
        client.upsert({"id": "kept", "values": GOOD, "metadata": {"x": 1}}, namespace="kept")
        for method, request, _ in CASES.values():
            refusal(client, method, request)
        assert client.list_ids(namespace="kept") == ["kept"]
        assert [line for line in shared_server.log_lines() if line["level"] == "error"] == []

    def test_a_message_past_the_limit_is_refused(self, client: Client) -> None:
        error: Any = refusal(client, "Upsert", meta("y" * (9 * 2**20)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    def test_garbage_is_refused(self, client: Client) -> None:
        send: Any = client.channel.unary_unary("/VectorService/Upsert")
        with pytest.raises(grpc.RpcError) as refused:
            send(b"\xff\xff\xff", metadata=client.metadata, timeout=10)
        assert refused.value.code() is INVALID
        assert "can't be decoded" in str(refused.value.details())


@pytest.fixture(scope="module")
def sparse_client(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The gateway's channel to an index of sparse vectors."""
    space: dict[str, Any] = {"dimension": None, "metric": "dotproduct", "vector_type": "sparse"}
    return start_index_server(stack, tmp_path_factory.mktemp("sparse"), **space).client()


class BadSparseInputTests:
    @pytest.mark.parametrize("name", SPARSE_CASES)
    def test_is_refused_with_the_value_and_the_rule(self, sparse_client: Client, name: str) -> None:
        method, request, parts = SPARSE_CASES[name]
        error: Any = refusal(sparse_client, method, request)
        assert error.code() is INVALID
        for part in parts:
            assert part in error.details()


class BadHybridInputTests:
    def test_a_dense_index_needs_a_dense_query(self, start: Callable[..., IndexServer]) -> None:
        client = start(dimension=2, metric="dotproduct").client()
        error: Any = refusal(client, "Query", query_request(None, sparse={1: 1.0}))
        assert error.code() is INVALID
        assert "dimension 2" in error.details()
        missing: Any = refusal(client, "Upsert", upsert(vector("a", sparse={1: 1.0})))
        assert missing.code() is INVALID

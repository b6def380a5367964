"""Namespaces: listed, described, created, deleted; and how they come and go with their vectors."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from protos.generated import vector_service_pb2 as pb
from tests.dataplane.messages import Client
from tests.dataplane.support import IndexServer


@pytest.fixture
def own(start: Callable[..., IndexServer]) -> Client:
    """An index without namespaces."""
    return start().client()


def described(client: Client, name: str) -> pb.NamespaceDescription:
    found: pb.NamespaceDescription = client.call(
        "DescribeNamespace", pb.DescribeNamespaceRequest(namespace=name)
    )
    return found


def created(client: Client, name: str, *fields: str) -> pb.NamespaceDescription:
    schema = pb.MetadataSchema(
        fields={field: pb.MetadataFieldProperties(filterable=True) for field in fields}
    )
    request = pb.CreateNamespaceRequest(name=name, schema=schema if fields else None)
    found: pb.NamespaceDescription = client.call("CreateNamespace", request)
    return found


def names(client: Client, **more: object) -> list[str]:
    page = client.call("ListNamespaces", pb.ListNamespacesRequest(**more))  # type: ignore[arg-type]  # test data
    return [each.name for each in page.namespaces]


class NamespaceTests:
    def test_come_with_their_first_vector_and_go_with_their_last(self, own: Client) -> None:
        own.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace="n")
        assert described(own, "n").record_count == 1
        own.delete("a", namespace="n")
        assert names(own) == []
        with pytest.raises(grpc.RpcError) as refused:
            described(own, "n")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    def test_created_ones_stay_when_empty(self, own: Client) -> None:
        assert created(own, "n").record_count == 0
        own.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace="n")
        own.delete(delete_all=True, namespace="n")
        assert described(own, "n").record_count == 0
        assert own.stats().namespaces["n"].vector_count == 0

    def test_keep_the_schema_they_were_created_with(self, own: Client) -> None:
        found = created(own, "n", "year", "genre")
        assert set(found.schema.fields) == {"genre", "year"}
        assert list(found.indexed_fields.fields) == ["genre", "year"]
        assert not created(own, "m").HasField("schema")

    def test_can_not_be_created_twice(self, own: Client) -> None:
        created(own, "n")
        with pytest.raises(grpc.RpcError) as refused:
            created(own, "n")
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert "'n'" in str(refused.value.details())

    def test_deleting_one_deletes_its_vectors(self, own: Client) -> None:
        own.upsert({"id": "a", "values": [1, 0, 0, 0]}, namespace="n")
        own.call("DeleteNamespace", pb.DeleteNamespaceRequest(namespace="n"))
        assert own.fetch("a", namespace="n") == {}
        own.upsert({"id": "b", "values": [1, 0, 0, 0]}, namespace="n")
        assert own.ids([1, 0, 0, 0], namespace="n") == ["b"]

    def test_deleting_an_unknown_one_is_refused(self, own: Client) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            own.call("DeleteNamespace", pb.DeleteNamespaceRequest(namespace="nowhere"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    def test_the_default_one_can_be_deleted_and_comes_back(self, own: Client) -> None:
        own.upsert({"id": "a", "values": [1, 0, 0, 0]})
        own.call("DeleteNamespace", pb.DeleteNamespaceRequest(namespace="__default__"))
        assert own.fetch("a") == {}
        own.upsert({"id": "b", "values": [1, 0, 0, 0]})
        assert names(own) == ["__default__"]

    def test_sizes_follow_what_is_stored(self, own: Client) -> None:
        own.upsert({"id": "ab", "values": [1, 0, 0, 0]}, namespace="n")
        assert described(own, "n").size_bytes == 2 + 4 * 4
        own.update("ab", set_metadata={"x": "y"}, namespace="n")
        assert described(own, "n").size_bytes == 2 + 4 * 4 + len('{"x":"y"}')
        own.upsert({"id": "ab", "values": [1, 0, 0, 0]}, namespace="n")
        assert described(own, "n").size_bytes == 2 + 4 * 4

    def test_are_listed_bytewise_by_prefix_and_page(self, own: Client) -> None:
        for name in ("b", "B", "a/1", "a/2", "a"):
            created(own, name)
        own.upsert({"id": "a", "values": [1, 0, 0, 0]})
        assert names(own) == ["B", "__default__", "a", "a/1", "a/2", "b"]
        assert names(own, prefix="a/") == ["a/1", "a/2"]
        page = own.call("ListNamespaces", pb.ListNamespacesRequest(limit=4, prefix="a"))
        assert [each.name for each in page.namespaces] == ["a", "a/1", "a/2"]
        seen: list[str] = []
        token = ""
        while True:
            page = own.call(
                "ListNamespaces", pb.ListNamespacesRequest(limit=2, pagination_token=token)
            )
            assert page.total_count == 6
            seen.extend(each.name for each in page.namespaces)
            token = page.pagination.next
            if not token:
                break
        assert seen == ["B", "__default__", "a", "a/1", "a/2", "b"]

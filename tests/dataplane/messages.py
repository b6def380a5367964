"""`VectorService` as tests speak it: plain Python values in, protobuf messages out."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2

from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as pb_grpc

ORGANIZATION, PROJECT = "org-1", "proj-1"


def grants(
    deployment: str, allowed: str = "rw", namespaces: str | None = None
) -> list[tuple[str, str]]:
    """The metadata that the gateway adds to a call."""
    metadata = [
        ("x-tamarack-deployment", deployment),
        ("x-tamarack-grants", allowed),
        ("x-tamarack-key-id", "key-1"),
        ("x-tamarack-project", PROJECT),
        ("x-tamarack-org", ORGANIZATION),
    ]
    return metadata if namespaces is None else [*metadata, ("x-tamarack-namespaces", namespaces)]


def struct(value: dict[str, Any] | None) -> struct_pb2.Struct:
    """A protobuf Struct of plain values; also NaN, which JSON can't carry."""
    message = struct_pb2.Struct()
    if value:
        message.update(value)
    return message


def plain(message: struct_pb2.Struct) -> dict[str, Any]:
    """The inverse of `struct`; all numbers are floats."""
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


class Client:
    """A stand-in gateway: `VectorService` with plain Python values in and protobuf messages out."""

    def __init__(self, channel: grpc.Channel, metadata: list[tuple[str, str]]) -> None:
        self.channel = channel
        self.metadata = metadata
        self.stub = pb_grpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated

    def with_metadata(self, metadata: list[tuple[str, str]]) -> Client:
        return Client(self.channel, metadata)

    def call(self, method: str, request: Any, timeout: float = 60.0) -> Any:
        return getattr(self.stub, method)(request, metadata=self.metadata, timeout=timeout)

    def upsert(self, *vectors: dict[str, Any], namespace: str = "") -> int:
        request = pb.UpsertRequest(namespace=namespace, vectors=[vector(**v) for v in vectors])
        return int(self.call("Upsert", request).upserted_count)

    def query(self, vector: list[float] | None = None, top_k: int = 10, **more: Any) -> Any:
        return self.call("Query", query_request(vector, top_k, **more))

    def ids(self, *arguments: Any, **more: Any) -> list[str]:
        return [match.id for match in self.query(*arguments, **more).matches]

    def fetch(self, *ids: str, namespace: str = "") -> dict[str, Any]:
        request = pb.FetchRequest(ids=ids, namespace=namespace)
        return dict(self.call("Fetch", request).vectors)

    def fetch_by_metadata(self, condition: dict[str, Any], **more: Any) -> Any:
        request = pb.FetchByMetadataRequest(filter=struct(condition), **more)
        return self.call("FetchByMetadata", request)

    def update(self, id: str = "", **more: Any) -> Any:
        for name in ("set_metadata", "filter"):
            if name in more:
                more[name] = struct(more[name])
        if "sparse" in more:
            more["sparse_values"] = sparse(more.pop("sparse"))
        return self.call("Update", pb.UpdateRequest(id=id, **more))

    def delete(self, *ids: str, **more: Any) -> None:
        if "filter" in more:
            more["filter"] = struct(more["filter"])
        self.call("Delete", pb.DeleteRequest(ids=ids, **more))

    def list_page(self, **more: Any) -> Any:
        return self.call("List", pb.ListRequest(**more))

    def list_ids(self, **more: Any) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = self.list_page(pagination_token=token, **more)
            found.extend(item.id for item in page.vectors)
            token = page.pagination.next
            if not token:
                return found

    def stats(self) -> Any:
        return self.call("DescribeIndexStats", pb.DescribeIndexStatsRequest())


def sparse(values: dict[int, float]) -> pb.SparseValues:
    return pb.SparseValues(indices=values.keys(), values=values.values())


def vector(
    id: str,
    values: list[float] | None = None,
    metadata: dict[str, Any] | None = None,
    sparse: dict[int, float] | None = None,
) -> pb.Vector:
    message = pb.Vector(id=id, values=values or [])
    if metadata is not None:
        message.metadata.CopyFrom(struct(metadata))
    if sparse is not None:
        message.sparse_values.indices.extend(sparse.keys())
        message.sparse_values.values.extend(sparse.values())
    return message


def query_request(
    vector: list[float] | None,
    top_k: int = 10,
    *,
    filter: dict[str, Any] | None = None,
    sparse: dict[int, float] | None = None,
    **more: Any,
) -> pb.QueryRequest:
    request = pb.QueryRequest(vector=vector or [], top_k=top_k, **more)
    if filter is not None:
        request.filter.CopyFrom(struct(filter))
    if sparse is not None:
        request.sparse_vector.indices.extend(sparse.keys())
        request.sparse_vector.values.extend(sparse.values())
    return request

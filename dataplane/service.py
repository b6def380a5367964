"""`VectorService`: each method checks the request, asks the index, and builds the answer from the
record.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from dataplane import filters, validation
from dataplane.config import Config
from dataplane.engine import Space
from dataplane.errors import Refusal, invalid, not_found, shown
from dataplane.index import VectorIndex
from dataplane.limits import MAX_FETCH_BY_METADATA_LIMIT, MAX_LIST_LIMIT
from dataplane.peers import current_scope
from dataplane.values import DEFAULT_NAMESPACE, Metadata, Namespace, SparseVector, StoredRow
from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as pb_grpc

log = logging.getLogger(__name__)

REQUEST_LSN: Final = ("x-pinecone-request-lsn", "x-pinecone-lsn-committed")
INDEXED_LSN: Final = ("x-pinecone-max-indexed-lsn", "x-pinecone-lsn-reconciled")
"""Under the name that clients read since version 10, and under the one before."""
GIGABYTE: Final = 10**9
FETCHED_PER_UNIT: Final = 10
"""Pinecone bills a fetch by the ten, and a query by the gigabyte it looks through."""

Answer = TypeVar("Answer", bound=Message)


def answers(method: Callable[..., Answer]) -> Callable[..., Answer]:
    """Turn a refusal, or a fault of ours, into the call's status. No message holds more than the
    caller sent.
    """

    @functools.wraps(method)
    def wrapper(self: Any, request: Any, context: grpc.ServicerContext) -> Answer:
        try:
            return method(self, request, context)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.message)
        except Exception:
            log.exception("%s failed", method.__name__)
            context.abort(
                grpc.StatusCode.INTERNAL,
                f"{method.__name__} failed inside the index server; the operator's log has the"
                " cause.",
            )
        raise AssertionError("context.abort returned")

    return wrapper


class VectorService(pb_grpc.VectorServiceServicer):
    """The twelve methods. Callers are authorized by `peers.PeerCheck` before any of them runs."""

    def __init__(self, config: Config, index: VectorIndex) -> None:
        """Serve `index`, which `config` describes."""
        self._config = config
        self._index = index
        self._record = index.record
        self._space = Space(config.dimension, config.metric)

    @answers
    def Upsert(self, request: pb.UpsertRequest, context: grpc.ServicerContext) -> pb.UpsertResponse:
        namespace = _allowed(request.namespace)
        seq = self._index.upsert(namespace, validation.rows(request.vectors, self._space))
        _send(context, REQUEST_LSN, seq)
        return pb.UpsertResponse(upserted_count=len(request.vectors))

    @answers
    def Update(self, request: pb.UpdateRequest, context: grpc.ServicerContext) -> pb.UpdateResponse:
        namespace = _allowed(request.namespace)
        if bool(request.id) == request.HasField("filter"):
            raise invalid("An update takes either `id` or `filter`; send exactly one of them.")
        if request.HasField("filter"):
            return self._update_matching(namespace, request, context)
        if request.dry_run:
            raise invalid(
                "dry_run counts what a `filter` matches; it has no meaning with `id`, so leave it"
                " out."
            )
        id = validation.vector_id(request.id)
        owner = f"Vector {shown(id)}"
        if self._space.dimension is None and request.values:
            validation.dense_vector(request.values, self._space, owner)
        dense = (
            validation.stored_dense(request.values, self._space, owner) if request.values else None
        )
        sparse = validation.sparse_vector(request.sparse_values, self._space, owner)
        metadata = validation.metadata(request.set_metadata, owner)
        if dense is None and sparse is None and metadata is None:
            raise invalid(
                f"The update of vector {shown(id)} changes nothing; send values, sparse_values or"
                " set_metadata."
            )
        seq = self._index.update(namespace, id, dense, sparse, metadata)
        _send(context, REQUEST_LSN, seq)
        return pb.UpdateResponse()

    def _update_matching(
        self, namespace: str, request: pb.UpdateRequest, context: grpc.ServicerContext
    ) -> pb.UpdateResponse:
        condition = validation.required_filter(request.filter, "update")
        if request.values or request.sparse_values.indices or request.sparse_values.values:
            raise invalid(
                "An update by filter can't set values; send set_metadata only, or update by id."
            )
        metadata = validation.metadata(request.set_metadata, "The update")
        if metadata is None and not request.dry_run:
            raise invalid(
                "An update by filter needs set_metadata; send the fields to set, or dry_run to"
                " count."
            )
        matched = self._index.update_matching(
            namespace, condition, metadata or {}, dry_run=request.dry_run
        )
        _send(context, REQUEST_LSN, self._index.seq)
        return pb.UpdateResponse(matched_records=matched)

    @answers
    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> pb.DeleteResponse:
        namespace = _allowed(request.namespace)
        given = [bool(request.ids), request.HasField("filter"), request.delete_all]
        if sum(given) != 1:
            raise invalid(
                "A delete takes exactly one of `ids`, `filter` and `delete_all`; "
                f"{'none' if not any(given) else 'more than one'} was sent."
            )
        if request.ids:
            self._index.delete_ids(namespace, validation.id_list(request.ids, "delete"))
        elif request.delete_all:
            self._index.delete_all(namespace)
        else:
            condition = validation.required_filter(request.filter, "delete")
            self._index.delete_matching(namespace, condition)
        _send(context, REQUEST_LSN, self._index.seq)
        return pb.DeleteResponse()

    @answers
    def Query(self, request: pb.QueryRequest, context: grpc.ServicerContext) -> pb.QueryResponse:
        namespace = _allowed(request.namespace)
        if request.queries:
            raise invalid(
                "`queries` is no longer supported; send one `vector`, `sparse_vector` or `id` a"
                " request."
            )
        limit = validation.top_k(request.top_k)
        effort = validation.effort(request)
        condition = filters.parse(request.filter)
        sparse = validation.sparse_vector(request.sparse_vector, self._space, "The query")
        has_vector = bool(request.vector) or sparse is not None
        if bool(request.id) == has_vector:
            raise invalid(
                "A query takes either `id`, or `vector` and/or `sparse_vector`; send one of the"
                " two."
            )
        dense = validation.query_dense(request.vector, self._space) if request.vector else None
        if has_vector and self._space.dimension is not None and dense is None:
            raise invalid(
                "The query has no `vector`, but this index searches dense vectors of dimension"
                f" {self._space.dimension}; send one beside `sparse_vector` (zeros, to count only"
                " the sparse part)."
            )
        if request.id:
            validation.vector_id(request.id)
        _send(context, INDEXED_LSN, self._index.seq)
        found = self._record.namespace(namespace)
        response = pb.QueryResponse(namespace=request.namespace)
        response.usage.read_units = 1 + (found.size_bytes if found else 0) // GIGABYTE
        if found is None:
            return response
        if request.id:
            rows = self._record.fetch(found.id, [request.id])
            if not rows:
                return response
            dense, sparse = rows[0].dense, rows[0].sparse
        hits = self._index.query(found, dense, sparse, condition, limit, effort)
        if not (request.include_values or request.include_metadata):
            response.matches.extend(pb.ScoredVector(id=hit.id, score=hit.score) for hit in hits)
            return response
        rows_by_key = {row.pk: row for row in self._record.by_pks([hit.pk for hit in hits])}
        for hit in hits:
            row = rows_by_key.get(hit.pk)
            if row is None:  # deleted since the search
                continue
            match = response.matches.add(id=row.id, score=hit.score)
            if request.include_values:
                _put_values(match, row)
            if request.include_metadata:
                _put_metadata(match, row.metadata)
        return response

    @answers
    def Fetch(self, request: pb.FetchRequest, context: grpc.ServicerContext) -> pb.FetchResponse:
        namespace = _allowed(request.namespace)
        ids = validation.id_list(request.ids, "fetch")
        _send(context, INDEXED_LSN, self._index.seq)
        response = pb.FetchResponse(namespace=request.namespace)
        found = self._record.namespace(namespace)
        rows = self._record.fetch(found.id, ids) if found else []
        _put_rows(response, rows)
        return response

    @answers
    def FetchByMetadata(
        self, request: pb.FetchByMetadataRequest, context: grpc.ServicerContext
    ) -> pb.FetchByMetadataResponse:
        namespace = _allowed(request.namespace)
        condition = validation.required_filter(request.filter, "fetch")
        limit = validation.limit(
            request.limit if request.HasField("limit") else None, MAX_FETCH_BY_METADATA_LIMIT
        )
        after = validation.key_token(request.pagination_token)
        _send(context, INDEXED_LSN, self._index.seq)
        response = pb.FetchByMetadataResponse(namespace=request.namespace)
        found = self._record.namespace(namespace)
        keys = self._index.matching(found, condition, after, limit + 1) if found else []
        _put_rows(response, self._record.by_pks(keys[:limit]))
        if len(keys) > limit:
            response.pagination.next = validation.encode_token(str(keys[limit - 1]))
        return response

    @answers
    def List(self, request: pb.ListRequest, context: grpc.ServicerContext) -> pb.ListResponse:
        namespace = _allowed(request.namespace)
        prefix = validation.id_prefix(request.prefix)
        limit = validation.limit(
            request.limit if request.HasField("limit") else None, MAX_LIST_LIMIT
        )
        after = validation.decode_token(request.pagination_token)
        _send(context, INDEXED_LSN, self._index.seq)
        response = pb.ListResponse(namespace=request.namespace)
        response.usage.read_units = 1
        found = self._record.namespace(namespace)
        ids = self._record.list_ids(found.id, prefix, after, limit + 1) if found else []
        response.vectors.extend(pb.ListItem(id=id) for id in ids[:limit])
        if len(ids) > limit:
            response.pagination.next = validation.encode_token(ids[limit - 1])
        return response

    @answers
    def DescribeIndexStats(
        self, request: pb.DescribeIndexStatsRequest, context: grpc.ServicerContext
    ) -> pb.DescribeIndexStatsResponse:
        if request.filter.fields:
            raise invalid(
                "Index stats can't be filtered on serverless indexes; leave `filter` out."
            )
        _send(context, INDEXED_LSN, self._index.seq)
        namespaces = self._visible("")
        response = pb.DescribeIndexStatsResponse(
            dimension=self._space.dimension,
            total_vector_count=sum(namespace.count for namespace in namespaces),
            metric=self._config.metric,
            vector_type=self._config.vector_type,
        )
        for namespace in namespaces:
            response.namespaces[namespace.name].vector_count = namespace.count
        return response

    @answers
    def ListNamespaces(
        self, request: pb.ListNamespacesRequest, context: grpc.ServicerContext
    ) -> pb.ListNamespacesResponse:
        prefix = validation.id_prefix(request.prefix)
        limit = validation.limit(
            request.limit if request.HasField("limit") else None, MAX_LIST_LIMIT
        )
        after = validation.decode_token(request.pagination_token)
        if current_scope().namespaces is None:
            page = self._record.namespaces(prefix, after, limit + 1)
            total = self._record.count_namespaces(prefix)
        else:
            visible = self._visible(prefix)
            page, total = [each for each in visible if each.name > after], len(visible)
        response = pb.ListNamespacesResponse(
            namespaces=[_description(namespace) for namespace in page[:limit]], total_count=total
        )
        if len(page) > limit:
            response.pagination.next = validation.encode_token(page[limit - 1].name)
        return response

    def _visible(self, prefix: str) -> Sequence[Namespace]:
        """All namespaces that the caller's key may see, by name."""
        scope = current_scope().namespaces
        if scope is None:
            return self._record.namespaces(prefix)
        found = (self._record.namespace(name) for name in sorted(scope) if name.startswith(prefix))
        return [namespace for namespace in found if namespace is not None]

    @answers
    def DescribeNamespace(
        self, request: pb.DescribeNamespaceRequest, context: grpc.ServicerContext
    ) -> pb.NamespaceDescription:
        name = _allowed(request.namespace)
        found = self._record.namespace(name)
        if found is None:
            raise _no_namespace(name)
        return _description(found)

    @answers
    def DeleteNamespace(
        self, request: pb.DeleteNamespaceRequest, context: grpc.ServicerContext
    ) -> pb.DeleteResponse:
        name = _allowed(request.namespace)
        if not self._index.delete_all(name, forget=True):
            raise _no_namespace(name)
        _send(context, REQUEST_LSN, self._index.seq)
        return pb.DeleteResponse()

    @answers
    def CreateNamespace(
        self, request: pb.CreateNamespaceRequest, context: grpc.ServicerContext
    ) -> pb.NamespaceDescription:
        if request.name in {"", DEFAULT_NAMESPACE}:
            raise invalid(
                f"Namespace {shown(request.name)} can't be created: the default namespace comes"
                " with its first vector. Give a name of 1-512 ASCII characters."
            )
        name = _allowed(request.name)
        schema = validation.schema_fields(request.schema) if request.HasField("schema") else None
        self._index.create_namespace(name, schema)
        found = self._record.namespace(name)
        if found is None:  # deleted by another call in between
            raise _no_namespace(name)
        return _description(found)


def _allowed(name: str) -> str:
    """The namespace a request means, inside what its key is limited to."""
    namespace = validation.namespace_name(name)
    current_scope().check(namespace)
    return namespace


def _no_namespace(name: str) -> Refusal:
    return not_found(
        f"Namespace {shown(name)} not found; list the namespaces of this index to see their names."
    )


def _send(context: grpc.ServicerContext, names: tuple[str, ...], seq: int) -> None:
    """How fresh the answer is: clients compare it with what their last write was given.

    With the answer's end, which costs nothing; what goes ahead of it takes a fifth of a query's
    CPU. But of a REST answer only what goes ahead becomes a header.
    """
    found = tuple((name, str(seq)) for name in names)
    if current_scope().is_rest:
        context.send_initial_metadata(found)
    else:
        context.set_trailing_metadata(found)


def _description(namespace: Namespace) -> pb.NamespaceDescription:
    description = pb.NamespaceDescription(
        name=namespace.name, record_count=namespace.count, size_bytes=namespace.size_bytes
    )
    if namespace.schema is not None:
        description.indexed_fields.fields.extend(namespace.schema)
        for name in namespace.schema:
            description.schema.fields[name].filterable = True
    return description


def _put_rows(
    response: pb.FetchResponse | pb.FetchByMetadataResponse, rows: Sequence[StoredRow]
) -> None:
    for row in rows:
        vector = response.vectors[row.id]
        vector.id = row.id
        _put_values(vector, row)
        _put_metadata(vector, row.metadata)
    response.usage.read_units = max(1, -(-len(rows) // FETCHED_PER_UNIT))


def _put_values(vector: pb.Vector | pb.ScoredVector, row: StoredRow) -> None:
    if row.dense is not None:
        vector.values.extend(row.dense)
    if row.sparse is not None:
        _put_sparse(vector, row.sparse)


def _put_sparse(vector: pb.Vector | pb.ScoredVector, sparse: SparseVector) -> None:
    vector.sparse_values.indices.extend(sparse.indices)
    vector.sparse_values.values.extend(sparse.values)


def _put_metadata(vector: pb.Vector | pb.ScoredVector, metadata: Metadata | None) -> None:
    for name, value in (metadata or {}).items():
        field = vector.metadata.fields[name]
        if isinstance(value, bool):
            field.bool_value = value
        elif isinstance(value, str):
            field.string_value = value
        elif isinstance(value, list):
            field.list_value.SetInParent()  # an empty list is a value, too
            for item in value:
                field.list_value.values.add(string_value=item)
        else:
            field.number_value = value

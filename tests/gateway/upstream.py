"""What the gateway takes for an index server: VectorService over mutual TLS, in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from cryptography import x509

from kms import certificates
from kms.certificates import Authority, Pair
from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as rpc

ADDRESS_IN_USE_TRIES = 50


@dataclass
class Call:
    """What reached the server."""

    method: str
    metadata: dict[str, str]
    peer: str
    serial: int
    request: Any


@dataclass
class IndexServer:
    """The server of one index; `behaviour` runs before each method answers."""

    authority: Authority
    trust_domain: str
    organization: str
    project: str
    index: str
    calls: list[Call] = field(default_factory=list)
    behaviour: Callable[[str, Any, grpc.ServicerContext], None] | None = None
    port: int = 0
    _server: grpc.Server | None = None

    def pair(self) -> Pair:
        """A certificate of this index."""
        spiffe = certificates.index_spiffe_id(
            self.trust_domain, self.organization, self.project, self.index
        )
        return self.authority.issue_workload(spiffe, [f"{self.index}.index.{self.trust_domain}"])

    def start(self, pair: Pair | None = None, roots: bytes | None = None) -> None:
        """Listen on `port`, or on a free one at the first start."""
        pair = pair or self.pair()
        credentials = grpc.ssl_server_credentials(
            [(pair.private_key, pair.certificate)],
            root_certificates=roots or self.authority.trust_bundle,
            require_client_auth=True,
        )
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20)]
        for _ in range(ADDRESS_IN_USE_TRIES):
            server = grpc.server(ThreadPoolExecutor(4), options=options)
            rpc.add_VectorServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
                _Service(self), server
            )
            try:
                self.port = server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
                break
            except RuntimeError:  # the predecessor's socket is still closing
                time.sleep(0.05)
        else:
            raise RuntimeError(f"port {self.port} stays taken")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop at once, as a killed process would."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"


def _bytes(values: Any) -> list[bytes]:
    """The stubs say `int`; they are not."""
    return list(values)


class _Service(rpc.VectorServiceServicer):
    """Just enough of an index for the clients' calls to come back with something to compare."""

    def __init__(self, server: IndexServer) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._vectors: dict[str, dict[str, pb.Vector]] = {}

    def _seen(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        peer = context.auth_context()
        (identity,) = _bytes(peer["peer_spiffe_id"])
        (pem,) = _bytes(peer["x509_pem_cert"])
        serial = x509.load_pem_x509_certificate(pem).serial_number
        metadata = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        self._server.calls.append(Call(method, metadata, identity.decode(), serial, request))
        if self._server.behaviour:
            self._server.behaviour(method, request, context)

    def _in(self, namespace: str) -> dict[str, pb.Vector]:
        return self._vectors.setdefault(namespace or "", {})

    def Upsert(self, request: pb.UpsertRequest, context: Any) -> pb.UpsertResponse:
        self._seen("Upsert", request, context)
        with self._lock:
            self._in(request.namespace).update({v.id: v for v in request.vectors})
        return pb.UpsertResponse(upserted_count=len(request.vectors))

    def Update(self, request: pb.UpdateRequest, context: Any) -> pb.UpdateResponse:
        self._seen("Update", request, context)
        with self._lock:
            vector = self._in(request.namespace).get(request.id)
            if vector is not None and request.values:
                vector.values[:] = request.values
        return pb.UpdateResponse()

    def Delete(self, request: pb.DeleteRequest, context: Any) -> pb.DeleteResponse:
        self._seen("Delete", request, context)
        with self._lock:
            for name in request.ids:
                self._in(request.namespace).pop(name, None)
        return pb.DeleteResponse()

    def Query(self, request: pb.QueryRequest, context: Any) -> pb.QueryResponse:
        self._seen("Query", request, context)
        with self._lock:
            found = list(self._in(request.namespace).values())[: request.top_k]
        matches = [
            pb.ScoredVector(
                id=v.id,
                score=0.0,
                values=v.values if request.include_values else [],
                metadata=v.metadata if request.include_metadata else None,
            )
            for v in found
        ]
        return pb.QueryResponse(
            matches=matches, namespace=request.namespace, usage=pb.Usage(read_units=1)
        )

    def Fetch(self, request: pb.FetchRequest, context: Any) -> pb.FetchResponse:
        self._seen("Fetch", request, context)
        with self._lock:
            here = self._in(request.namespace)
            found = {name: here[name] for name in request.ids if name in here}
        return pb.FetchResponse(vectors=found, namespace=request.namespace)

    def FetchByMetadata(
        self, request: pb.FetchByMetadataRequest, context: Any
    ) -> pb.FetchByMetadataResponse:
        self._seen("FetchByMetadata", request, context)
        with self._lock:
            found = dict(self._in(request.namespace))
        return pb.FetchByMetadataResponse(vectors=found, namespace=request.namespace)

    def List(self, request: pb.ListRequest, context: Any) -> pb.ListResponse:
        self._seen("List", request, context)
        with self._lock:
            names = sorted(n for n in self._in(request.namespace) if n.startswith(request.prefix))
        return pb.ListResponse(
            vectors=[pb.ListItem(id=name) for name in names], namespace=request.namespace
        )

    def DescribeIndexStats(
        self, request: pb.DescribeIndexStatsRequest, context: Any
    ) -> pb.DescribeIndexStatsResponse:
        self._seen("DescribeIndexStats", request, context)
        with self._lock:
            counts = {name: len(vectors) for name, vectors in self._vectors.items()}
        return pb.DescribeIndexStatsResponse(
            namespaces={n: pb.NamespaceSummary(vector_count=c) for n, c in counts.items()},
            dimension=2,
            total_vector_count=sum(counts.values()),
            metric="cosine",
            vector_type="dense",
        )

    def _described(self, name: str) -> pb.NamespaceDescription:
        return pb.NamespaceDescription(
            name=name,
            record_count=len(self._in(name)),
            size_bytes=5_000_000_000,
            indexed_fields=pb.IndexedFields(fields=["genre"]),
        )

    def ListNamespaces(
        self, request: pb.ListNamespacesRequest, context: Any
    ) -> pb.ListNamespacesResponse:
        self._seen("ListNamespaces", request, context)
        with self._lock:
            namespaces = [self._described(name) for name in sorted(self._vectors)]
        return pb.ListNamespacesResponse(namespaces=namespaces, total_count=len(namespaces))

    def DescribeNamespace(
        self, request: pb.DescribeNamespaceRequest, context: Any
    ) -> pb.NamespaceDescription:
        self._seen("DescribeNamespace", request, context)
        with self._lock:
            if request.namespace not in self._vectors:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no namespace {request.namespace!r}")
            return self._described(request.namespace)

    def CreateNamespace(
        self, request: pb.CreateNamespaceRequest, context: Any
    ) -> pb.NamespaceDescription:
        self._seen("CreateNamespace", request, context)
        with self._lock:
            return self._described(request.name)

    def DeleteNamespace(
        self, request: pb.DeleteNamespaceRequest, context: Any
    ) -> pb.DeleteResponse:
        self._seen("DeleteNamespace", request, context)
        with self._lock:
            self._vectors.pop(request.namespace, None)
        return pb.DeleteResponse()

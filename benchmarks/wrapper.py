"""What the gRPC server adds to a query: a real index server against its engine alone."""

from __future__ import annotations

import ssl
import statistics
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.data import TOP, Data, make
from benchmarks.engines import Ours
from benchmarks.h2 import Calls, load
from benchmarks.measure import Line, Sizes, interleaved, percentile, ratio
from benchmarks.servers import disk_folder, fill, index_server, rebuilt
from protos.generated import vector_service_pb2 as pb
from tests.dataplane.support import (
    TRUST_DOMAIN,
    Client,
    IndexServer,
    grants,
    running_stack,
)

CLIENTS = 8
BUILD_SECONDS = 180.0


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    count = sizes.of(100_000, 30_000)
    data = make(count)
    with ExitStack() as stack:
        ours = Ours(data)
        stack.callback(ours.close)
        servers = stack.enter_context(running_stack())
        folder = stack.enter_context(disk_folder())
        server = stack.enter_context(index_server(servers, folder))
        fill(server.client(), data, count)
        rebuilt(server, BUILD_SECONDS)
        return _measure(ours, server, server.client(), data, folder, sizes)


def _measure(
    ours: Ours, server: IndexServer, client: Client, data: Data, folder: Path, sizes: Sizes
) -> list[Line]:
    queries = [array("f", query.tobytes()) for query in data.queries]
    requests = [pb.QueryRequest(vector=query, top_k=TOP) for query in queries]
    answers = [client.call("Query", request) for request in requests]
    calls = Calls(
        *("127.0.0.1", int(server.config["listen"].rpartition(":")[2])),
        f"{server.config['index_id']}.index.{TRUST_DOMAIN}",
        "/VectorService/Query",
        _gateway_tls(server, folder),
        grants(server.deployment),
        [request.SerializeToString() for request in requests],
        [answer.SerializeToString() for answer in answers],
    )
    searches = ours.searches(None)

    def in_process() -> float:
        took = []
        for search in searches:
            began = time.perf_counter()
            ours.answers([search])
            took.append(time.perf_counter() - began)
        return percentile(took, 0.5)

    def in_process_rate() -> float:
        began = time.perf_counter()
        ours.answers(searches)
        return len(searches) / (time.perf_counter() - began)

    def remote(count: int) -> Callable[[], float]:
        return lambda: percentile(load(calls, count).seconds, 0.5)

    def official() -> float:
        took = []
        for request in requests:
            began = time.perf_counter()
            client.call("Query", request)
            took.append(time.perf_counter() - began)
        return percentile(took, 0.5)

    p50 = interleaved(
        {
            "in_process": in_process,
            "grpc": remote(len(requests)),
            "grpcio_client": official,
        },
        sizes.rounds,
    )
    rates = interleaved(
        {
            "in_process": in_process_rate,
            "grpc": lambda: load(calls, sizes.of(4_000, 1_000), CLIENTS).rate,
        },
        sizes.rounds,
    )
    times = {
        f"{name}_p50_ms": round(statistics.median(all_) * 1e3, 3) for name, all_ in p50.items()
    }
    speeds = {f"{name}_qps": round(statistics.median(all_)) for name, all_ in rates.items()}
    return [
        ratio(
            "gRPC query p50 against in process",
            p50["grpc"],
            p50["in_process"],
            limit=5,
            detail=times,
        ),
        ratio(
            "the same timed by grpcio's Python client",
            p50["grpcio_client"],
            p50["in_process"],
            detail=times,
        ),
        ratio(
            f"gRPC queries a second, {CLIENTS} clients, against in process",
            rates["grpc"],
            rates["in_process"],
            limit=0.4,
            at_least=True,
            detail=speeds,
        ),
    ]


def _gateway_tls(server: IndexServer, folder: Path) -> ssl.SSLContext:
    """TLS as the gateway, which the server wants to see a certificate of."""
    authority = server.stack.ca
    pair = authority.issue("gateway")
    files = (folder / "gateway.crt", folder / "gateway.key")
    for path, content in zip(files, (pair.certificate, pair.key), strict=True):
        path.write_bytes(content)
    context = ssl.create_default_context(cadata=authority.bundle.decode())
    context.load_cert_chain(*files)
    context.set_alpn_protocols(["h2"])
    return context

"""What authentication costs in the gateway: one Envoy as installed, one without, side by side.

Both have one worker on a core of its own; the client and the upstream share the other cores. The
upstream answers from memory (benchmarks.h2_upstream), so that the gateway is what limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from benchmarks.h2 import Calls, client_tls, load
from benchmarks.measure import Line, Sizes, interleaved, percentile, ratio
from gateway import bootstrap
from gateway.configuration import GatewaySettings
from kms.certificates import index_spiffe_id, write_pair
from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as rpc
from tests.gateway.support import (
    KEY,
    ORGANIZATION,
    PROJECT,
    TRUST_DOMAIN,
    Gateway,
    free_ports,
    wait_until,
)

INDEX = "bench"
PATH = "/VectorService/Query"
AUTHENTICATION = {
    "envoy.filters.http.lua",
    "envoy.filters.http.set_filter_state",
    "envoy.filters.http.rbac",
}
CONNECTIONS, STREAMS = 8, 8


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    request = pb.QueryRequest(top_k=10, vector=[0.1 + n / 1000 for n in range(384)])
    answer = pb.QueryResponse(
        matches=[pb.ScoredVector(id=f"doc{n:08d}", score=1 - n / 20) for n in range(10)]
    )
    with ExitStack() as stack:
        gateway = stack.enter_context(_gateway())
        upstream = stack.enter_context(_upstream(gateway, request, answer))
        gateway.store["routes"][str(gateway.settings.index_ports[0])] = {
            "deployment_id": f"deployment-{INDEX}",
            "index_id": INDEX,
            "project_id": PROJECT,
            "organization_id": ORGANIZATION,
            "address": f"127.0.0.1:{upstream}",
            "ready": True,
            "state": "Ready",
        }
        gateway.save()
        bare = stack.enter_context(_without_authentication(gateway, upstream))
        ours = Side(gateway.settings.index_ports[0], _pid(gateway))
        _assert_as_meant(gateway, ours, bare, request, answer)
        with _cores(ours.pid, bare.pid):
            return _measure(gateway, ours, bare, request, answer, sizes)


@dataclass(frozen=True)
class Side:
    """One Envoy: where it listens for the index, and its process."""

    port: int
    pid: int

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _gateway() -> Gateway:
    return Gateway(project_rate=1_000_000)


def _pid(gateway: Gateway) -> int:
    """Of its Envoy: the child whose configuration lies in its home."""
    path = str(gateway.settings.envoy / "bootstrap.json").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if path in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
    raise AssertionError("the gateway's Envoy does not run")


@contextlib.contextmanager
def _upstream(
    gateway: Gateway, request: pb.QueryRequest, answer: pb.QueryResponse
) -> Iterator[int]:
    spiffe = index_spiffe_id(TRUST_DOMAIN, ORGANIZATION, PROJECT, INDEX)
    folder = gateway.home
    files = [folder / f"upstream.{suffix}" for suffix in ("crt", "key", "roots", "in", "out")]
    write_pair(gateway.authority.issue_workload(spiffe), files[0], files[1])
    files[2].write_bytes(gateway.authority.trust_bundle)
    files[3].write_bytes(request.SerializeToString())
    files[4].write_bytes(answer.SerializeToString())
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.h2_upstream", *map(str, files)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _without_authentication(gateway: Gateway, upstream: int) -> Iterator[Side]:
    """The same bootstrap less what authenticates, with a fixed route in its place."""
    ports = free_ports(2)
    run_dir = gateway.home / "bare"
    run_dir.mkdir(mode=0o700)
    settings = replace(
        gateway.settings, public_port=ports[0], index_ports=ports[1:], run_dir=run_dir
    )
    path = settings.envoy / "bare.json"
    path.write_text(json.dumps(_bare(bootstrap.render(settings), settings, upstream)))
    bootstrap.validate(path)
    with (gateway.home / "bare.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *[bootstrap.envoy_path(), "--config-path", str(path), "--concurrency", "1"],
                *["--log-level", "warning", "--disable-hot-restart"],
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Side(ports[1], process.pid)
    finally:
        process.kill()
        process.wait()


def _bare(content: dict[str, Any], settings: GatewaySettings, upstream: int) -> dict[str, Any]:
    resources = content["static_resources"]
    for listener in resources["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        kept = [each for each in manager["http_filters"] if each["name"] not in AUTHENTICATION]
        assert len(kept) == len(manager["http_filters"]) - len(AUTHENTICATION)
        manager["http_filters"] = kept
        for host in manager["route_config"]["virtual_hosts"]:
            per_filter = host.get("typed_per_filter_config", {})
            for name in AUTHENTICATION & set(per_filter):
                del per_filter[name]
    (cluster,) = (each for each in resources["clusters"] if each["name"] == "index")
    for name in ("lb_policy", "cleanup_interval", "original_dst_lb_config"):
        del cluster[name]
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}}
    cluster["type"] = "STATIC"
    cluster["load_assignment"] = {
        "cluster_name": "index",
        "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
    }
    validation = cluster["transport_socket"]["typed_config"]["common_tls_context"]
    names = validation["combined_validation_context"]["default_validation_context"]
    spiffe = index_spiffe_id(settings.trust_domain, ORGANIZATION, PROJECT, INDEX)
    names["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": spiffe}}]
    return content


def _assert_as_meant(
    gateway: Gateway, ours: Side, bare: Side, request: pb.QueryRequest, answer: pb.QueryResponse
) -> None:
    """With a real client: ours refuses a wrong key, the other asks for none."""

    def ask(side: Side, key: str | None) -> Any:
        credentials = grpc.ssl_channel_credentials(gateway.ca.read_bytes())
        with grpc.secure_channel(f"localhost:{side.port}", credentials) as channel:
            metadata = (("api-key", key),) if key else ()
            stub = rpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
            return stub.Query(request, metadata=metadata, timeout=5)

    wait_until(lambda: _listens(ask, bare), what="the second Envoy listens")
    assert ask(ours, KEY) == answer
    assert ask(bare, None) == answer
    try:
        ask(ours, "tmrk_wrong_0000")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    else:
        raise AssertionError("a wrong key was let in")


def _listens(ask: Callable[[Side, str | None], Any], side: Side) -> bool:
    try:
        ask(side, None)
    except grpc.RpcError:
        return False
    return True


@contextlib.contextmanager
def _cores(*pids: int) -> Iterator[None]:
    """Give the gateways the last core, everything else here the others."""
    available = os.sched_getaffinity(0)
    if len(available) > 1:
        last = max(available)
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {last})
        os.sched_setaffinity(0, available - {last})
    try:
        yield
    finally:
        os.sched_setaffinity(0, available)


def _measure(
    gateway: Gateway,
    ours: Side,
    bare: Side,
    request: pb.QueryRequest,
    answer: pb.QueryResponse,
    sizes: Sizes,
) -> list[Line]:
    tls = client_tls(str(gateway.ca))
    body, expected = request.SerializeToString(), answer.SerializeToString()

    def calls(side: Side, metadata: tuple[tuple[str, str], ...] = ()) -> Calls:
        authority = f"localhost:{side.port}"
        return Calls("127.0.0.1", side.port, authority, PATH, tls, metadata, [body], [expected])

    plan = {"ours": (ours, calls(ours, (("api-key", KEY),))), "bare": (bare, calls(bare))}
    cost: dict[str, list[float]] = {"ours": [], "bare": []}
    busy: dict[str, list[float]] = {"ours": [], "bare": []}

    def throughput(name: str) -> Callable[[], float]:
        side, asked = plan[name]

        def measure() -> float:
            before = side.cpu()
            found = load(asked, sizes.of(30_000, 3_000), CONNECTIONS, STREAMS)
            used = side.cpu() - before
            cost[name].append(used / len(found.seconds) * 1e6)
            busy[name].append(used / found.elapsed)
            return found.rate

        return measure

    def median_time(name: str) -> Callable[[], float]:
        asked = plan[name][1]
        return lambda: percentile(load(asked, sizes.of(3_000, 500)).seconds, 0.5) * 1e6

    rates = interleaved({name: throughput(name) for name in plan}, sizes.rounds)
    p50 = interleaved({name: median_time(name) for name in plan}, sizes.rounds)
    added = [mine - other for mine, other in zip(p50["ours"], p50["bare"], strict=True)]
    detail: dict[str, float | int | str] = {
        "connections": CONNECTIONS,
        "streams_each": STREAMS,
        "request_bytes": len(body),
        "answer_bytes": len(expected),
    }
    for name in plan:
        detail[f"{name}_rps"] = round(statistics.median(rates[name]))
        detail[f"{name}_gateway_cpu_us"] = round(statistics.median(cost[name]), 1)
        detail[f"{name}_gateway_core_busy"] = round(statistics.median(busy[name]), 2)
    return [
        ratio(
            "authenticated gRPC calls a second through the gateway, against none",
            rates["ours"],
            rates["bare"],
            limit=0.6,
            at_least=True,
            detail=detail,
        ),
        ratio(
            "the same as CPU time of the gateway for a call, none against authenticated",
            cost["bare"][-sizes.rounds :],
            cost["ours"][-sizes.rounds :],
            detail=detail,
        ),
        Line(
            "p50 that authentication adds",
            statistics.median(added),
            "µs",
            min(added),
            max(added),
            limit=150,
            detail={f"{name}_p50_us": round(statistics.median(p50[name])) for name in plan},
        ),
    ]

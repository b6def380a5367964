"""From the moment at which a key's revocation is committed to its first refusal."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any

import grpc
import httpx

from benchmarks.measure import Line, Sizes, percentile
from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as rpc
from tests.platform.support import ROOT, Instance, wait_until

TOGETHER = 4
POLL_SECONDS = 0.02
STAY_SECONDS = 1.0
"""For so long after its first refusal a key has to stay refused."""
LONGEST_SECONDS = 60.0

IsLetIn = Callable[[], bool]


def measure(instance: Instance, project: str, host: str, sizes: Sizes) -> list[Line]:
    """One line for each transport. The time includes up to POLL_SECONDS until the next call."""
    found: dict[str, list[float]] = {name: [] for name in TRANSPORTS}
    with _control_plane(instance, project) as order:
        for first in range(0, sizes.of(24, 4), TOGETHER):
            keys = [order(f"create key-{first + number}") for number in range(TOGETHER)]
            for name, seconds in _revoke(instance, host, keys, order).items():
                found[name] += seconds
    return [
        Line(
            f"revoked key refused over {name}, p99",
            percentile(values, 0.99),
            "s",
            min(values),
            max(values),
            limit=1,
            detail={"keys": len(values), "p50_s": round(percentile(values, 0.5), 3)},
        )
        for name, values in found.items()
    ]


def _revoke(
    instance: Instance, host: str, keys: list[dict[str, str]], order: Callable[[str], Any]
) -> dict[str, list[float]]:
    """Use all `keys` at once over both transports, and revoke one after the other."""
    users = [(name, key) for key in keys for name in TRANSPORTS]
    known = [Event() for _ in users]
    with ThreadPoolExecutor(len(users)) as pool:
        running = [
            pool.submit(_use, TRANSPORTS[name], instance, host, key["secret"], let_in)
            for (name, key), let_in in zip(users, known, strict=True)
        ]
        wait_until(
            lambda: all(each.is_set() for each in known) or any(each.done() for each in running),
            "every key is let in",
        )
        revoked = {}
        for number, key in enumerate(keys):
            time.sleep(0.11 * (number + 1))  # so that the caches are of different ages
            revoked[key["id"]] = order(f"revoke {key['id']}")
        refused = [each.result() for each in running]
    found: dict[str, list[float]] = {name: [] for name in TRANSPORTS}
    for (name, key), moment in zip(users, refused, strict=True):
        found[name].append(moment - revoked[key["id"]])
    return found


def _use(
    transport: Callable[[Instance, str, str], Any],
    instance: Instance,
    host: str,
    secret: str,
    let_in: Event,
) -> float:
    """Call over one connection until the key is refused for good; when that began."""
    refused_at = 0.0
    with transport(instance, host, secret) as is_let_in:
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            allowed, now = is_let_in(), time.monotonic()
            if allowed:
                assert not refused_at, "let in again after it had been refused"
                let_in.set()
            elif not refused_at:
                assert let_in.is_set(), "refused before it was revoked"
                refused_at = now
            elif now - refused_at > STAY_SECONDS:
                return refused_at
            time.sleep(POLL_SECONDS)
    raise AssertionError(f"still let in after {LONGEST_SECONDS} s")


@contextmanager
def _rest(instance: Instance, host: str, secret: str) -> Iterator[IsLetIn]:
    trust = ssl.create_default_context(cafile=instance.ca_file)
    headers = {"Api-Key": secret}
    with httpx.Client(base_url=f"https://{host}", verify=trust, headers=headers) as client:

        def is_let_in() -> bool:
            answer = client.get("/describe_index_stats")
            assert answer.status_code in {200, 401}, answer.text
            return answer.status_code == 200 and answer.json()["dimension"] > 0

        yield is_let_in


@contextmanager
def _grpc(instance: Instance, host: str, secret: str) -> Iterator[IsLetIn]:
    with ExitStack() as stack, open(instance.ca_file, "rb") as roots:
        credentials = grpc.ssl_channel_credentials(roots.read())
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = stack.enter_context(grpc.secure_channel(host, credentials, options))
        stub = rpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        request, metadata = pb.DescribeIndexStatsRequest(), (("api-key", secret),)

        def is_let_in() -> bool:
            try:
                found = stub.DescribeIndexStats(request, metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
                return False
            return bool(found.dimension)

        yield is_let_in


TRANSPORTS = {"REST": _rest, "an open gRPC channel": _grpc}


@contextmanager
def _control_plane(instance: Instance, project: str) -> Iterator[Callable[[str], Any]]:
    """Gives orders to a process of the control plane (benchmarks.revoker)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.revoker", project],
        cwd=ROOT,
        env=instance.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders, answers = process.stdin, process.stdout

    def order(words: str) -> Any:
        orders.write(f"{words}\n")
        orders.flush()
        return json.loads(answers.readline())

    try:
        yield order
    finally:
        orders.close()
        process.wait(timeout=30)

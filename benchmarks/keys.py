"""The authorizer's answer to a call whose key and address it has seen a moment ago.

The other side is what an API key check costs at least: the SHA-256 of the key's text, looked up in
a dictionary.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.measure import Line, Sizes, interleaved, ratio
from gateway.authorizer import Authorizer

KEYS, PORTS = 100, 60
PASSES = 10
"""Over all keys, between two of which the cache is made warm: a few milliseconds, it keeps 200."""
FIRST_PORT = 8444


@dataclass(frozen=True)
class Key:
    """As the database would hold it."""

    project_id: uuid.UUID
    organization_id: uuid.UUID
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    label: str = "bench"
    grants: frozenset[str] = frozenset("rw")
    secret: str = "0123456789"  # noqa: S105  the name of a secret, as the log knows it
    namespaces: frozenset[str] | None = None

    def refusal(self, *, ip: str, index_id: object) -> str:
        """A key without limits of its own, in an organization without ranges."""
        return ""


@dataclass(frozen=True)
class Route:
    """As the database would hold it."""

    project_id: uuid.UUID
    organization_id: uuid.UUID
    address: str
    deployment_id: uuid.UUID = field(default_factory=uuid.uuid4)
    index_id: uuid.UUID = field(default_factory=uuid.uuid4)
    ready: bool = True
    state: str = "Ready"


class Resolver:
    """Answers from memory; the authorizer asks it only for what its own cache does not know."""

    def __init__(self) -> None:
        """KEYS keys of one project with PORTS indexes."""
        self.asked = 0
        project, organization = uuid.uuid4(), uuid.uuid4()
        self.keys = {
            f"tmrk_{number:010d}_{uuid.uuid4().hex}": Key(project, organization)
            for number in range(KEYS)
        }
        self.routes = {
            FIRST_PORT + number: Route(project, organization, f"127.0.0.1:{21444 + number}")
            for number in range(PORTS)
        }

    def verify_key(self, secret: str) -> Key | None:
        """The key of that text."""
        self.asked += 1
        return self.keys.get(secret)

    def route_for(self, host: str, port: int | None) -> Route | None:
        """The index at that port."""
        self.asked += 1
        return self.routes.get(port or 0)


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    resolver = Resolver()
    secrets = list(resolver.keys)
    digests = {
        hashlib.sha256(secret.encode()).digest(): key for secret, key in resolver.keys.items()
    }
    turns = sizes.of(50, 10)
    questions = [
        (secret, "localhost", FIRST_PORT + number % PORTS, "r")
        for number, secret in enumerate(secrets)
    ]
    with asyncio.Runner() as runner:
        authorizer = Authorizer(resolver)

        async def decide() -> float:
            rates: list[float] = []
            while len(rates) < turns:
                for question in questions:
                    await authorizer.decide(*question)
                before, allowed, began = resolver.asked, 0, time.perf_counter()
                for _ in range(PASSES):
                    for question in questions:
                        allowed += (await authorizer.decide(*question)).status == 200
                elapsed = time.perf_counter() - began
                assert allowed == PASSES * KEYS
                if resolver.asked == before:  # else the process was held up, and the cache is cold
                    rates.append(allowed / elapsed)
            return statistics.median(rates)

        sides: dict[str, Callable[[], float]] = {
            "authorizer": lambda: runner.run(decide()),
            "sha256_dict": lambda: _sha256(secrets, digests, turns),
        }
        rates = interleaved(sides, sizes.rounds)
        authorizer.close()
    detail = {f"{name}_per_s": round(statistics.median(all_)) for name, all_ in rates.items()}
    return [
        ratio(
            "API key verification, warm, against SHA-256 and a dictionary",
            rates["authorizer"],
            rates["sha256_dict"],
            limit=0.3,
            at_least=True,
            detail=detail,
        )
    ]


def _sha256(secrets: list[str], digests: dict[bytes, Key], turns: int) -> float:
    rates = []
    for _ in range(turns):
        found, began = 0, time.perf_counter()
        for _ in range(PASSES):
            for secret in secrets:
                found += digests.get(hashlib.sha256(secret.encode()).digest()) is not None
        elapsed = time.perf_counter() - began
        assert found == PASSES * len(secrets)
        rates.append(found / elapsed)
    return statistics.median(rates)

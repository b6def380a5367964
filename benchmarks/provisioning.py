"""From `POST /indexes` to Ready, one index at a time and many at once."""

from __future__ import annotations

import ssl
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import httpx

from benchmarks.measure import Line, Sizes
from tests.platform.support import Instance, wait_until

AT_ONCE = 50
POLL_SECONDS = 0.02
ALL_READY_SECONDS = 180.0


def measure(control: Control, sizes: Sizes) -> list[Line]:
    """Both lines."""
    return [_one_by_one(control, sizes.of(10, 3)), _at_once(control, sizes.of(AT_ONCE, 6))]


class Control:
    """The control API as a client sees it."""

    def __init__(self, instance: Instance, secret: str) -> None:
        """Of `instance`, with an API key."""
        headers = {"Api-Key": secret, "X-Pinecone-Api-Version": "2025-10"}
        self._http = httpx.Client(
            base_url=instance.gateway,
            verify=ssl.create_default_context(cafile=instance.ca_file),
            headers=headers,
            timeout=60,
            limits=httpx.Limits(max_connections=AT_ONCE),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def create(self, name: str) -> str:
        """Ask for an index; its host."""
        answer = self._http.post(
            "/indexes",
            json={
                "name": name,
                "dimension": 8,
                "metric": "cosine",
                "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}},
            },
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["host"])

    def is_ready(self, name: str) -> bool:
        """Whether its status says so.

        Raises:
            AssertionError: it never will be.
        """
        answer = self._http.get(f"/indexes/{name}")
        assert answer.status_code == 200, answer.text
        status = answer.json()["status"]
        assert status["state"] in {"Initializing", "Ready"}, answer.text
        return bool(status["ready"])

    def wait_ready(self, name: str) -> None:
        """Return when it is ready."""
        deadline = time.monotonic() + ALL_READY_SECONDS
        while not self.is_ready(name):
            assert time.monotonic() < deadline, f"{name} is not ready after {ALL_READY_SECONDS} s"
            time.sleep(POLL_SECONDS)

    def ready(self) -> int:
        """How many of the project's indexes are ready."""
        found = self._http.get("/indexes").json()["indexes"]
        return sum(bool(index["status"]["ready"]) for index in found)

    def delete(self, name: str) -> None:
        """Delete it, and wait until it is gone."""
        assert self._http.delete(f"/indexes/{name}").status_code == 202
        wait_until(
            lambda: self._http.get(f"/indexes/{name}").status_code == 404, f"{name} deleted", 60
        )


def _one_by_one(control: Control, count: int) -> Line:
    took = []
    for number in range(-1, count):  # the first only warms up
        name = f"one-{number + 1}"
        began = time.perf_counter()
        control.create(name)
        control.wait_ready(name)
        if number >= 0:
            took.append(time.perf_counter() - began)
        control.delete(name)
    return Line(
        "POST /indexes to Ready",
        statistics.median(took),
        "s",
        min(took),
        max(took),
        limit=1,
        detail={"indexes": count, "polled_every_s": POLL_SECONDS},
    )


def _at_once(control: Control, count: int) -> Line:
    """All posted at the same time; the value counts those that became ready."""
    names = [f"many-{number}" for number in range(count)]
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(control.create, names))
        posted = time.perf_counter() - began
        deadline = time.monotonic() + ALL_READY_SECONDS
        while (ready := control.ready()) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        taken = time.perf_counter() - began
        list(pool.map(control.delete, names))
    return Line(
        f"{count} indexes posted at once, share that became Ready",
        ready / count,
        limit=1,
        at_least=True,
        detail={"indexes": count, "posted_s": round(posted, 2), "all_ready_s": round(taken, 2)},
    )

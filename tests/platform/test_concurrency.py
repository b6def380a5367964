"""Many clients at once: one winner, clean refusals for the others, and one truth afterwards."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import grpc
import httpx
import pytest
from google.protobuf import json_format

from protos.generated import vector_service_pb2 as pb
from tests.platform.support import wait_until
from tests.platform.surface import Channel, Surface, creation, records

pytestmark = [pytest.mark.instance, pytest.mark.slow, pytest.mark.xdist_group("instance")]

CLIENTS = 8
Answer = TypeVar("Answer")


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """The answers of calls that all begin at the same moment, each in a thread of its own."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        gate.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    """How often each status came; every refusal is in the control plane's shape."""
    for answer in answers:
        if answer.status_code >= 400:
            content = answer.json()
            assert content["status"] == answer.status_code
            assert content["error"]["message"]
    return Counter(answer.status_code for answer in answers)


class CreationTests:
    def test_of_one_name_exactly_one_wins_and_deleting_it_twice_is_one_deletion(
        self, surface: Surface
    ) -> None:
        client = surface.control()
        answers = at_once([lambda: client.post("/indexes", json=creation("contested"))] * CLIENTS)
        assert statuses(answers) == {201: 1, 409: CLIENTS - 1}
        assert {a.json()["error"]["code"] for a in answers if a.status_code == 409} == {
            "ALREADY_EXISTS"
        }
        names = [index["name"] for index in client.get("/indexes").json()["indexes"]]
        assert names.count("contested") == 1
        surface.wait_ready("contested")
        answers = at_once([lambda: client.delete("/indexes/contested")] * CLIENTS)
        assert set(statuses(answers)) <= {202, 404}
        assert statuses(answers)[202]
        wait_until(lambda: surface.state("contested") is None, "contested gone", 90)
        assert client.delete("/indexes/contested").status_code == 404

    def test_five_different_ones_all_become_ready_and_serve(self, surface: Surface) -> None:
        client = surface.control()
        names = [f"five-{n}" for n in range(5)]
        try:
            answers = at_once(
                [partial(client.post, "/indexes", json=creation(name)) for name in names]
            )
            assert statuses(answers) == {201: 5}
            hosts = [surface.wait_ready(name) for name in names]
            assert len(set(hosts)) == 5
            for name, host in zip(names, hosts, strict=True):
                channel = surface.channel(host)
                channel.call("Upsert", upsert([name], 1))
                assert list(records(channel)["__default__"]) == [name]
        finally:
            surface.drop(*names)

    def test_a_quota_lets_through_no_more_than_it_says(self, surface: Surface) -> None:
        client = surface.control("sister")
        names = [f"quota-{n}" for n in range(CLIENTS)]
        answers = at_once([partial(client.post, "/indexes", json=creation(name)) for name in names])
        try:
            assert statuses(answers) == {201: 2, 403: CLIENTS - 2}
            refused = [a.json()["error"] for a in answers if a.status_code == 403]
            assert {each["code"] for each in refused} == {"QUOTA_EXCEEDED"}
            assert all("2 indexes" in each["message"] for each in refused)
            assert len(client.get("/indexes").json()["indexes"]) == 2
        finally:
            for name in names:
                client.delete(f"/indexes/{name}")
            wait_until(lambda: not client.get("/indexes").json()["indexes"], "all gone", 90)


def upsert(ids: Sequence[str], number: int) -> pb.UpsertRequest:
    """Records whose values and metadata both tell which write they are of."""
    vectors = [{"id": id, "values": [1, number, 0, 0], "metadata": {"write": number}} for id in ids]
    return json_format.ParseDict({"vectors": vectors}, pb.UpsertRequest())


class Writer:
    """Writes and reads over one transport; `send` gives the code of a refusal, 0 for none."""

    def __init__(self, surface: Surface, host: str, *, by_grpc: bool) -> None:
        self.channel = surface.channel(host) if by_grpc else None
        self.client = surface.rest(host)

    def send(self, method: str, path: str, request: Any) -> int:
        """Send a request by gRPC or as its REST twin.

        Raises:
            AssertionError: a REST refusal is not in an index's shape.
        """
        if self.channel is not None:
            try:
                self.channel.call(method, request)
            except grpc.RpcError as error:
                code: Any = error
                return int(code.code().value[0])
            return 0
        answer = self.client.post(path, json=json_format.MessageToDict(request))
        if answer.status_code == 200:
            return 0
        content = answer.json()
        assert sorted(content) == ["code", "details", "message"], answer.text
        return int(content["code"])

    def upsert(self, ids: Sequence[str], number: int) -> int:
        return self.send("Upsert", "/vectors/upsert", upsert(ids, number))

    def delete(self, ids: Sequence[str]) -> int:
        return self.send("Delete", "/vectors/delete", pb.DeleteRequest(ids=ids))

    def query(self) -> int:
        return self.send("Query", "/query", pb.QueryRequest(vector=[1, 0, 0, 0], top_k=10))


@pytest.fixture(scope="module")
def host(surface: Surface) -> Iterator[str]:
    with surface.index("shared") as found:
        yield found


def assert_consistent(channel: Channel) -> dict[str, int]:
    """List, fetch, stats and query tell one story; the number of the write that each id is of."""
    held = records(channel).get("__default__", {})
    request = pb.QueryRequest(
        vector=[1, 0.5, 0, 0], top_k=1000, include_values=True, include_metadata=True
    )
    matches = channel.call("Query", request).matches
    assert sorted(match.id for match in matches) == sorted(held)
    by_filter = pb.QueryRequest(vector=[1, 0.5, 0, 0], top_k=1000)
    by_filter.filter.update({"write": {"$gte": 0}})
    found = channel.call("Query", by_filter).matches
    assert sorted(match.id for match in found) == sorted(held)
    numbers = {}
    for match in matches:
        vector = pb.Vector.FromString(held[match.id])
        assert vector.values == match.values
        assert vector.metadata == match.metadata
        # Of one write, not half of each of two.
        assert list(vector.values) == [1, vector.metadata["write"], 0, 0]
        numbers[match.id] = int(vector.values[1])
    return numbers


class SameRecordsTests:
    ROUNDS = 40

    def test_eight_clients_on_the_same_ids_leave_one_truth(
        self, surface: Surface, host: str
    ) -> None:
        ids = [f"id{n}" for n in range(24)]

        def work(place: int) -> None:
            writer = Writer(surface, host, by_grpc=place % 2 == 0)
            for turn in range(self.ROUNDS):
                some = [ids[(place + turn + n) % len(ids)] for n in range(6)]
                if turn % 3 == 2:
                    assert writer.delete(some) == 0
                else:
                    assert writer.upsert(some, place * self.ROUNDS + turn) == 0
                assert writer.query() == 0

        at_once([partial(work, place) for place in range(CLIENTS)])
        channel = surface.channel(host)
        numbers = assert_consistent(channel)
        assert set(numbers) <= set(ids)
        assert all(number % self.ROUNDS % 3 != 2 for number in numbers.values())
        # The last word on every id counts, whatever was said at once before.
        assert Writer(surface, host, by_grpc=True).upsert(ids[:12], 10_000) == 0
        assert Writer(surface, host, by_grpc=False).delete(ids[12:]) == 0
        assert assert_consistent(channel) == dict.fromkeys(ids[:12], 10_000)


class DeletionTests:
    CLEAN = frozenset({5, 14})
    """NOT_FOUND and UNAVAILABLE: it is gone, or about to be."""

    def test_an_index_deleted_while_it_is_busy_refuses_cleanly(self, surface: Surface) -> None:
        host = surface.create("busy")
        busy = threading.Barrier(7)
        gone = threading.Event()

        def work(place: int) -> Counter[int]:
            writer = Writer(surface, host, by_grpc=place % 2 == 0)
            seen: Counter[int] = Counter()
            for turn in range(100_000):
                code = writer.query() if place >= 4 else writer.upsert([f"b{place}-{turn}"], turn)
                seen[code] += 1
                if turn == 20:
                    busy.wait(timeout=60)
                if code == 5 or (code and gone.is_set()):
                    return seen
            raise AssertionError("it answered to the end")

        with ThreadPoolExecutor(6) as pool:
            workers = [pool.submit(work, place) for place in range(6)]
            busy.wait(timeout=60)
            assert surface.control().delete("/indexes/busy").status_code == 202
            try:
                wait_until(lambda: surface.state("busy") is None, "busy gone", 90)
            finally:
                gone.set()
            seen = [worker.result(timeout=60) for worker in workers]
        assert all(counts[0] > 20 for counts in seen)
        assert all(set(counts) - {0} <= self.CLEAN for counts in seen), seen

"""What is acknowledged stays: kill -9 at random instants, every acknowledged row compared."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.dataplane.messages import Client, plain
from tests.dataplane.support import IndexServer, Stack, new_index_server, noise, wait_until

DIMENSION = 16
IDS = [f"v{i}" for i in range(400)]


class Ledger:
    """What a client knows: rows acknowledged, and those it was never told about."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[list[float], dict[str, Any]] | None] = {}
        self.unknown: dict[str, list[tuple[list[float], dict[str, Any]] | None]] = {}
        self.acknowledged = 0

    def attempt(self, changes: dict[str, Any]) -> None:
        """Changes about to be sent, id -> new row or None for deleted."""
        for id, row in changes.items():
            self.unknown.setdefault(id, []).append(row)

    def settle(self, changes: dict[str, Any]) -> None:
        """They were acknowledged."""
        for id, row in changes.items():
            self.rows[id] = row
            self.unknown.pop(id, None)
        self.acknowledged += len(changes)


def write_until_cut(client: Client, ledger: Ledger, seed: int, written: threading.Event) -> None:
    """Upsert and delete without pause until the server is gone; sets `written` once it answers."""
    draw = noise(seed)
    number = 0
    while True:
        number += 1
        metadata = {"n": float(number)}
        rows: dict[str, Any] = {
            id: ([float(draw.randrange(1, 1000)) for _ in range(DIMENSION)], metadata)
            for id in draw.sample(IDS, 20)
        }
        if number % 5 == 0:
            rows = dict.fromkeys(rows)
        ledger.attempt(rows)
        try:
            if number % 5 == 0:
                client.delete(*rows)
            else:
                client.upsert(
                    *({"id": id, "values": row[0], "metadata": row[1]} for id, row in rows.items())
                )
        except grpc.RpcError:
            return
        ledger.settle(rows)
        written.set()


def check(server: IndexServer, ledger: Ledger) -> None:
    """Every acknowledged row is there as acknowledged, and found; nothing else is."""
    client = server.client()
    stored = {
        id: (list(found.values), plain(found.metadata)) for id, found in client.fetch(*IDS).items()
    }
    for id in IDS:
        allowed = [ledger.rows.get(id), *ledger.unknown.get(id, [])]
        assert stored.get(id) in allowed, id
    assert client.list_ids() == sorted(stored)
    assert sorted(client.ids([1.0] * DIMENSION, top_k=10_000)) == sorted(stored)
    assert client.stats().total_vector_count == len(stored)
    for id, row in stored.items():
        ledger.rows[id] = row
    for id in set(IDS) - stored.keys():
        ledger.rows[id] = None
    ledger.unknown.clear()


class CrashTests:
    @pytest.mark.parametrize("seed", range(6))
    def test_kill_loses_nothing_acknowledged(self, stack: Stack, tmp_path: Path, seed: int) -> None:
        server = new_index_server(stack, tmp_path / "index", dimension=DIMENSION)
        draw = noise(seed)
        ledger = Ledger()
        for round_number in range(3):
            server.start()
            written = threading.Event()
            writer = threading.Thread(
                target=write_until_cut,
                args=(server.client(), ledger, seed * 10 + round_number, written),
            )
            writer.start()
            assert written.wait(30)
            assert server.process is not None
            threading.Event().wait(draw.uniform(0.0, 0.5))  # the instant is what varies
            server.kill()
            writer.join()
            server.start()
            check(server, ledger)
            server.stop()
        assert ledger.acknowledged > 0

    def test_kill_during_a_start_is_harmless(self, stack: Stack, tmp_path: Path) -> None:
        server = new_index_server(stack, tmp_path / "index", dimension=DIMENSION)
        client = server.start().client()
        for start in range(0, 3000, 1000):
            client.upsert(
                *({"id": f"r{start + i}", "values": [1.0] * DIMENSION} for i in range(1000))
            )
        server.kill()
        draw = noise(1)
        for _ in range(5):
            process = server.spawn()
            threading.Event().wait(draw.uniform(0.02, 0.5))
            process.kill()
            process.wait()
        assert len(server.start().client().list_ids()) == 3000
        server.stop()

    def test_a_builder_does_not_outlive_its_server(self, stack: Stack, tmp_path: Path) -> None:
        server = new_index_server(stack, tmp_path / "index", dimension=1024)
        client = server.start().client()
        draw = noise(2)

        def builders() -> list[int]:
            return [
                int(path.parent.name)
                for path in Path("/proc").glob("[0-9]*/cmdline")
                if b"dataplane.builder" in _read(path)
                and f"\nPPid:\t{parent}\n".encode() in _read(path.with_name("status"))
            ]

        assert server.process is not None
        parent = server.process.pid
        for start in range(0, 4000, 500):
            client.upsert(
                *(
                    {"id": f"b{start + i}", "values": [draw.random() for _ in range(1024)]}
                    for i in range(500)
                )
            )
        (builder,) = wait_until(builders, "a builder")
        server.kill()
        wait_until(lambda: not _read(Path(f"/proc/{builder}/cmdline")), "its end")
        assert len(server.start().client().list_ids()) == 4000
        server.stop()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


class ReopenTests:
    def test_everything_is_as_before(self, stack: Stack, tmp_path: Path) -> None:
        server = new_index_server(stack, tmp_path / "index", metric="dotproduct")
        client = server.start().client()
        client.upsert(
            {
                "id": "a",
                "values": [0.1, 0.2, 0.3, 0.4],
                "metadata": {"b": True, "l": ["x"], "e": [], "n": 1, "s": "é"},
                "sparse": {7: 1.5},
            },
            {"id": "b", "values": [1, 0, 0, 0], "metadata": {"n": "one"}},
            namespace="n",
        )
        client.upsert({"id": "c", "values": [1, 0, 0, 0]})
        client.delete("b", namespace="n")

        def picture(client: Client) -> str:
            rows = [client.fetch("a", "b", namespace="n"), client.fetch("c")]
            answers = [
                client.ids([1, 0, 0, 0], namespace="n", filter=condition)
                for condition in ({"b": True}, {"n": 1}, {"e": {"$exists": True}}, {"l": "x"})
            ]
            return json.dumps([sorted(map(str, rows)), answers, str(client.stats())])

        before = picture(client)
        for stop in (server.stop, server.kill):
            stop()
            assert picture(server.start().client()) == before
        server.stop()

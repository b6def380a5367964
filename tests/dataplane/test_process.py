"""The process around an index: configuration, key, record, memory, signals, and its files."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct as binary
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from dataplane.server import STOPPING
from tests.dataplane.messages import Client
from tests.dataplane.support import (
    IndexServer,
    Stack,
    free_port,
    new_index_server,
    noise,
    start_index_server,
    wait_until,
)

EX_CONFIG = 78
GOOD = [1.0, 0.0, 0.0, 0.0]

BAD_VALUES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown metric": ({"metric": "manhattan"}, ["'manhattan'", "cosine"]),
    "unknown vector type": ({"vector_type": "binary"}, ["'binary'", "sparse"]),
    "no dimension": ({"dimension": None}, ["dimension None", "1 to 20000"]),
    "dimension 0": ({"dimension": 0}, ["dimension 0", "1 to 20000"]),
    "dimension true": ({"dimension": True}, ["dimension True"]),
    "dimension 20001": ({"dimension": 20_001}, ["20001", "20000"]),
    "sparse with dimension": (
        {"vector_type": "sparse", "metric": "dotproduct"},
        ["dimension 4", "null"],
    ),
    "sparse cosine": ({"vector_type": "sparse", "dimension": None}, ["'cosine'", "dotproduct"]),
    "no deployment": ({"deployment_id": ""}, ["deployment_id ''"]),
    "trust domain": ({"trust_domain": "Not A Domain"}, ["'Not A Domain'"]),
    "listen without port": ({"listen": "127.0.0.1"}, ["'127.0.0.1'", "host:port"]),
    "listen port": ({"listen": "127.0.0.1:70000"}, ["1-65535"]),
    "relative path": ({"record": "record.db"}, ["'record.db'", "absolute"]),
    "long socket": ({"socket": "/run/" + "x" * 120}, ["125 bytes", "107"]),
    "no certificate": ({"certificate": "/nonexistent/tls.crt"}, ["/nonexistent/tls.crt"]),
    "no folder": ({"record": "/nonexistent/record.db"}, ["/nonexistent"]),
    "ram_dir on disk": ({"ram_dir": "/var/tmp/tamarack-test-ram"}, ["tmpfs"]),  # noqa: S108  meant to be refused
    "key service": ({"key_service": "127.0.0.1:1"}, ["'127.0.0.1:1'", "unix:/"]),
    "unknown key": ({"colour": "blue"}, ["unknown colour", "metric"]),
}


@pytest.fixture
def server(stack: Stack, tmp_path: Path) -> IndexServer:
    """A server not yet started."""
    return new_index_server(stack, tmp_path / "index")


class ConfigTests:
    @pytest.mark.parametrize("name", BAD_VALUES)
    def test_a_bad_value_is_named(self, server: IndexServer, name: str) -> None:
        values, parts = BAD_VALUES[name]
        server.config.update(values)
        code, line = server.run_to_end()
        assert (code, line["level"]) == (EX_CONFIG, "critical")
        for part in parts:
            assert part in line["message"]

    def test_a_missing_key_is_named(self, server: IndexServer) -> None:
        del server.config["metric"]
        code, line = server.run_to_end()
        assert code == EX_CONFIG
        assert "metric missing" in line["message"]

    @pytest.mark.parametrize("content", ["", "[]", "{", "null"])
    def test_a_file_that_is_no_object_is_refused(
        self, server: IndexServer, content: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = server.write_config()
        path.write_text(content)
        monkeypatch.setattr(server, "write_config", lambda: path)
        assert server.run_to_end()[0] == EX_CONFIG

    def test_a_port_in_use_is_named(self, server: IndexServer) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server.config["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
            code, line = server.run_to_end()
        assert code == 1
        assert server.config["listen"] in line["message"]


class KeyTests:
    @pytest.mark.parametrize("status", ["PERMISSION_DENIED", "NOT_FOUND", "FAILED_PRECONDITION"])
    def test_a_refusal_is_final(self, stack: Stack, server: IndexServer, status: str) -> None:
        stack.key_service.answer = grpc.StatusCode[status]
        try:
            code, line = server.run_to_end()
        finally:
            stack.key_service.answer = None
        assert code == EX_CONFIG
        assert status in line["message"]
        assert server.deployment in line["message"]

    def test_unavailability_is_waited_out(self, stack: Stack, server: IndexServer) -> None:
        stack.key_service.answer = grpc.StatusCode.UNAVAILABLE
        asked = stack.key_service.calls
        process = server.spawn()
        wait_until(lambda: stack.key_service.calls > asked + 2, "several attempts")
        assert process.poll() is None
        stack.key_service.answer = None
        wait_until(lambda: server.health() == 1, "serving")
        assert server.stop() == 0

    def test_waiting_ends_on_sigterm(self, stack: Stack, server: IndexServer) -> None:
        server.config["key_service"] = f"unix:{stack.run}/nobody.sock"
        process = server.spawn()
        wait_until(lambda: "no key yet" in server.log.read_text(), "an attempt")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        server.process = None

    def test_a_key_of_the_wrong_length_is_refused(self, stack: Stack, server: IndexServer) -> None:
        owner, _ = stack.key_service.keys[server.deployment]
        stack.key_service.keys[server.deployment] = (owner, b"x" * 16)
        code, line = server.run_to_end()
        assert code == EX_CONFIG
        assert "16 bytes" in line["message"]

    def test_the_wrong_key_does_not_open_the_record(
        self, stack: Stack, server: IndexServer
    ) -> None:
        server.start().client().upsert({"id": "a", "values": GOOD})
        server.stop()
        before = (server.folder / "record.db").read_bytes()
        owner, key = stack.key_service.keys[server.deployment]
        stack.key_service.keys[server.deployment] = (owner, os.urandom(32))
        code, line = server.run_to_end()
        assert code == EX_CONFIG
        assert "not a database" in line["message"]
        assert (server.folder / "record.db").read_bytes() == before
        stack.key_service.keys[server.deployment] = (owner, key)
        assert server.start().client().ids(GOOD) == ["a"]

    def test_it_appears_nowhere_outside_the_process(
        self, stack: Stack, server: IndexServer
    ) -> None:
        server.start()
        assert server.process is not None
        _, key = stack.key_service.keys[server.deployment]
        seen = [
            Path(f"/proc/{server.process.pid}/cmdline").read_bytes(),
            *(path.read_bytes() for path in server.folder.iterdir()),
        ]
        for content in seen:
            assert key not in content
            assert key.hex().encode() not in content.lower()


class RecordFileTests:
    @pytest.mark.parametrize("change", [{"dimension": 5}, {"metric": "euclidean"}])
    def test_of_another_index_is_refused(self, server: IndexServer, change: dict[str, Any]) -> None:
        server.start().stop()
        server.config.update(change)
        code, line = server.run_to_end()
        assert code == EX_CONFIG
        assert next(iter(change)) in line["message"]

    def test_a_flipped_bit_is_noticed(self, server: IndexServer) -> None:
        client = server.start().client()
        for start in range(0, 3000, 1000):
            rows = ({"id": f"v{start + i}", "values": GOOD} for i in range(1000))
            client.upsert(*rows)
        server.stop()
        path = server.folder / "record.db"
        content = bytearray(path.read_bytes())
        content[16384 + 5000] ^= 1
        path.write_bytes(content)
        code, line = server.run_to_end()
        assert code != 0
        assert line["level"] == "critical"

    def test_serves_one_process_only(self, stack: Stack, server: IndexServer) -> None:
        server.start()
        second = IndexServer(stack, server.folder, dict(server.config))
        second.config.update(
            listen=f"127.0.0.1:{free_port()}", socket=server.config["socket"] + "2"
        )
        code, line = second.run_to_end()
        assert code == 1
        assert "in use" in line["message"]
        assert server.client().stats().total_vector_count == 0


class ProcessTests:
    def test_starts_with_little(self, server: IndexServer) -> None:
        server.start()
        assert server.process is not None
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
        assert resident <= 60 * 1024

    def test_leaves_no_core_and_is_not_traceable(self, server: IndexServer) -> None:
        server.start()
        assert server.process is not None
        assert resource.prlimit(server.process.pid, resource.RLIMIT_CORE) == (0, 0)
        # A process that is not dumpable belongs to root as far as /proc is concerned.
        assert Path(f"/proc/{server.process.pid}/mem").stat().st_uid == 0
        environment = Path(f"/proc/{server.process.pid}/environ")
        if os.getuid() != 0:
            with pytest.raises(PermissionError):
                environment.read_bytes()

    def test_files_are_the_owner_s_alone(self, server: IndexServer) -> None:
        server.start().client().upsert({"id": "a", "values": GOOD})
        for path in (*server.folder.glob("record.db*"), Path(server.config["socket"])):
            assert path.stat().st_mode & 0o077 == 0

    def test_sigterm_stops_it_and_empties_its_memory(self, server: IndexServer) -> None:
        server.start().client().upsert({"id": "a", "values": GOOD})
        assert server.stop() == 0
        assert list(Path(server.config["ram_dir"]).iterdir()) == []
        assert not (server.folder / "record.db-wal").exists()

    def test_a_call_that_comes_while_it_stops_is_told_to_try_again(
        self, server: IndexServer
    ) -> None:
        server.start()
        callers = [server.client() for _ in range(6)]
        busy = threading.Barrier(len(callers) + 1)

        def work(client: Client) -> tuple[str, str]:
            for turn in range(100_000):
                try:
                    client.upsert({"id": str(turn), "values": GOOD})
                except grpc.RpcError as error:
                    call: Any = error
                    return call.code().name, call.details()
                if turn == 20:
                    busy.wait(timeout=30)
            raise AssertionError("it never stopped")

        with ThreadPoolExecutor(len(callers)) as pool:
            answers = [pool.submit(work, client) for client in callers]
            busy.wait(timeout=30)
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            for answer in answers:
                assert answer.result() == ("UNAVAILABLE", STOPPING)
        assert server.stop() == 0

    def test_sigterm_is_heard_at_any_time(self, server: IndexServer) -> None:
        draw = noise(3)
        for _ in range(8):
            process = server.spawn()
            wait_until(lambda: "loaded" in server.log.read_text(), "its start")
            threading.Event().wait(draw.uniform(0, 0.2))  # the instant is what varies
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            server.log.unlink()
        server.process = None

    def test_what_a_crash_left_in_memory_is_removed(self, server: IndexServer) -> None:
        server.start().client().upsert({"id": "a", "values": GOOD})
        server.kill()
        left = list(Path(server.config["ram_dir"]).iterdir())
        assert left
        (left[0] / "marker").write_text("old")
        server.start()
        assert not (left[0] / "marker").exists()
        assert server.client().ids(GOOD) == ["a"]

    def test_logs_are_json_lines_without_what_is_stored(self, server: IndexServer) -> None:
        client = server.start().client()
        client.upsert({"id": "QQID", "values": GOOD, "metadata": {"QQKEY": "QQVALUE"}})
        client.ids(GOOD, filter={"QQKEY": "QQVALUE"})
        server.stop()
        text = server.log.read_text()
        assert all(json.loads(line)["message"] for line in text.splitlines())
        assert "QQ" not in text


class LeakTests:
    MARKERS = ("ZQXMARKERID", "ZQXMARKERKEY", "ZQXMARKERVALUE", "ZQXMARKERNS")

    def test_no_plain_text_reaches_a_file(
        self, start: Callable[..., IndexServer], tmp_path: Path
    ) -> None:
        server = start(dimension=16)
        client = server.client()
        values = [0.0123456789] * 16
        for round_number in range(3):
            client.upsert(
                *(
                    {
                        "id": f"{self.MARKERS[0]}{i}",
                        "values": values,
                        "metadata": {self.MARKERS[1]: f"{self.MARKERS[2]}{round_number}"},
                    }
                    for i in range(500)
                ),
                namespace=self.MARKERS[3],
            )
        client.delete(f"{self.MARKERS[0]}1", namespace=self.MARKERS[3])
        client.update(f"{self.MARKERS[0]}2", set_metadata={"x": self.MARKERS[2]})

        def hits(folder: Path) -> int:
            pattern = binary.pack("<f", values[0]) * 8
            contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
            wanted = [*(marker.encode() for marker in self.MARKERS), pattern]
            return sum(content.count(each) for content in contents for each in wanted)

        memory = Path(server.config["ram_dir"])
        assert hits(memory) > 1000  # the control: there, unencrypted, it has to be found
        assert hits(server.folder) == 0
        server.kill()  # with a full write-ahead log left behind
        assert (server.folder / "record.db-wal").stat().st_size > 0
        assert hits(server.folder) == 0
        server.start().stop()
        assert hits(server.folder) == 0


class DiskTests:
    def test_a_full_disk_changes_nothing_and_passes(self, stack: Stack, tmp_path: Path) -> None:
        server = start_index_server(stack, tmp_path / "index")
        assert server.process is not None
        client = server.client()
        client.upsert({"id": "before", "values": GOOD, "metadata": {"x": 1}})
        size = max(path.stat().st_size for path in server.folder.glob("record.db*"))
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        rows = [{"id": f"v{i}", "values": GOOD, "metadata": {"t": "y" * 2000}} for i in range(1000)]
        with pytest.raises(grpc.RpcError) as refused:
            for _ in range(5):
                client.upsert(*rows)
        assert refused.value.code() in {
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        assert "Nothing was changed" in str(refused.value.details())
        assert client.ids(GOOD, filter={"x": 1}) == ["before"]
        assert client.list_ids(prefix="v") == [] or len(client.list_ids(prefix="v")) == 1000
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
        assert client.upsert(*rows) == 1000
        server.kill()
        client = server.start().client()
        assert len(client.list_ids()) == 1001
        server.stop()

"""`manage.py up`: starting, stopping, crashing, and what it says when it can't."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from pinecone import Pinecone

from tests.platform.support import Instance, new_instance, wait_until

pytestmark = [pytest.mark.instance, pytest.mark.slow]

AWS = {"serverless": {"cloud": "aws", "region": "us-east-1"}}


@dataclass(frozen=True)
class KeptIndex:
    """A ready index with one record, and how to ask for it."""

    instance: Instance
    secret: str
    host: str

    @classmethod
    def make(cls, instance: Instance) -> KeptIndex:
        secret = instance.owner()["api_key"]
        with closing(_client(instance, secret)) as client:
            client.create_index("kept", dimension=2, metric="cosine", spec=AWS, timeout=-1)
            wait_until(lambda: client.describe_index("kept").status.ready, "index ready")
            host = str(client.describe_index("kept").host)
            with closing(client.index(host=host)) as index:
                index.upsert(vectors=[("a", [0.6, 0.8])])
        return cls(instance, secret, host)

    def assert_record_is_there(self) -> None:
        client = _client(self.instance, self.secret)
        with closing(client), closing(client.index(host=self.host)) as index:
            assert list(index.fetch(ids=["a"]).vectors) == ["a"]


def _client(instance: Instance, secret: str) -> Pinecone:
    return Pinecone(api_key=secret, host=instance.gateway, ssl_ca_certs=instance.ca_file)


class StartAndStopTests:
    def test_ready_indexes_come_back_after_a_stop_and_a_second_start(
        self, own_instance: Instance
    ) -> None:
        own_instance.start()
        kept = KeptIndex.make(own_instance)
        assert own_instance.stop(signal.SIGINT) == 0
        assert own_instance.processes() == {}
        own_instance.start()
        kept.assert_record_is_there()
        assert own_instance.stop(signal.SIGTERM) == 0
        assert own_instance.processes() == {}

    def test_home_and_everything_secret_in_it_is_for_its_owner_alone(
        self, own_instance: Instance
    ) -> None:
        own_instance.start()
        home = own_instance.home
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
        # What anybody may see lies there too: certificates and the pages' style sheets. Sockets
        # are as their servers make them, behind the folder's mode.
        secret = {
            path
            for path in home.rglob("*")
            if path.suffix not in {".crt", ".pem", ".sock"} and "static" not in path.parts
        }
        assert {home / "keys" / "root.key", home / "ca" / "root.key"} <= secret
        assert [str(path) for path in secret if path.lstat().st_mode & 0o077] == []

    def test_killed_supervisor_ends_up_and_a_new_start_recovers(
        self, own_instance: Instance
    ) -> None:
        own_instance.start()
        kept = KeptIndex.make(own_instance)
        os.kill(own_instance.pid_of("supervisor.supervisord"), signal.SIGKILL)
        assert own_instance.process is not None
        assert own_instance.process.wait(timeout=60) != 0
        assert "ended unexpectedly" in own_instance.output.read_text()
        assert own_instance.processes() == {}
        own_instance.start()
        kept.assert_record_is_there()

    def test_everything_killed_at_once_leaves_nothing_that_hinders_a_new_start(
        self, own_instance: Instance
    ) -> None:
        own_instance.start()
        kept = KeptIndex.make(own_instance)
        assert own_instance.process is not None
        os.kill(own_instance.process.pid, signal.SIGKILL)
        os.kill(own_instance.pid_of("supervisor.supervisord"), signal.SIGKILL)
        own_instance.process.wait()
        assert own_instance.processes()
        own_instance.start()
        assert "a crash had left behind" in own_instance.output.read_text()
        kept.assert_record_is_there()


class RefusalTests:
    def test_second_up_on_the_same_home_is_refused(self, instance: Instance) -> None:
        refused = instance.manage("up")
        assert refused.returncode != 0
        assert "runs already" in refused.stderr

    def test_taken_port_is_named(self, own_instance: Instance) -> None:
        port = int(own_instance.gateway.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            refused = own_instance.manage("up")
        assert refused.returncode != 0
        assert str(port) in refused.stderr
        assert "TAMARACK_PUBLIC_URL" in refused.stderr

    def test_home_that_is_a_file_is_named(self, own_instance: Instance) -> None:
        own_instance.home.write_text("in the way")
        refused = own_instance.manage("up")
        assert refused.returncode != 0
        assert str(own_instance.home) in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_home_open_to_others_is_refused(self, own_instance: Instance) -> None:
        own_instance.home.mkdir(mode=0o755)
        own_instance.home.chmod(0o755)
        refused = own_instance.manage("up")
        assert refused.returncode != 0
        assert "chmod 700" in refused.stderr

    def test_ram_folder_on_a_disk_is_refused(self, own_instance: Instance) -> None:
        folder = own_instance.home.parent / "not-memory"
        folder.mkdir(mode=0o700)
        if os.getuid() == 0:  # root would mount a tmpfs there, which is what is wanted
            pytest.skip("root mounts a tmpfs over any folder")
        refused = own_instance.manage("up", TAMARACK_RAM_DIR=str(folder))
        assert refused.returncode != 0
        assert "TAMARACK_RAM_DIR" in refused.stderr

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("TAMARACK_PUBLIC_URL", "http://localhost:8443"),
            ("TAMARACK_INDEX_PORTS", "9000-8000"),
            ("TAMARACK_BIND", "everywhere"),
            ("TAMARACK_ADDRESSING", "carrier-pigeon"),
            ("DATABASE_URL", "mysql://root@localhost/x"),
        ],
    )
    def test_bad_setting_is_named_with_its_value(
        self, own_instance: Instance, name: str, value: str
    ) -> None:
        refused = own_instance.manage("up", **{name: value})
        assert refused.returncode != 0
        assert name in refused.stderr


class DemoTests:
    def test_demo_that_can_not_start_fails_and_says_why(self, own_instance: Instance) -> None:
        port = int(own_instance.gateway.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            failed = own_instance.manage("demo", "--exit", "--json")
        assert failed.returncode == 1
        report = json.loads(failed.stdout)
        assert report["passed"] is False
        assert "did not start" in report["steps"][0]["detail"]
        assert str(port) in failed.stderr
        assert own_instance.processes() == {}


class FullDiskTests:
    @pytest.fixture
    def full_instance(self) -> Iterator[Instance]:
        if os.getuid() != 0:
            pytest.skip("mounting a small disk needs root")
        with new_instance() as found:
            found.home.mkdir(mode=0o700)
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(found.home)],
                check=True,
            )
            try:
                Path(found.home, "filler").write_bytes(b"x" * 900_000)
                yield found
            finally:
                subprocess.run(["umount", str(found.home)], check=True)

    def test_full_disk_is_named(self, full_instance: Instance) -> None:
        refused = full_instance.manage("up")
        assert refused.returncode != 0
        assert "is full" in refused.stderr
        assert "Traceback" not in refused.stderr


class DoctorTests:
    def test_doctor_names_a_taken_port(self, own_instance: Instance) -> None:
        port = int(own_instance.gateway.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            report = own_instance.manage("doctor")
        assert report.returncode == 1
        assert f"✗ ports: the gateway can't listen on 127.0.0.1, ports {port}" in report.stdout

    def test_doctor_is_content_with_this_machine(self, own_instance: Instance) -> None:
        report = own_instance.manage("doctor")
        assert report.returncode == 0, report.stdout
        assert "✗" not in report.stdout

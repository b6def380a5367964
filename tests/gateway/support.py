"""A whole gateway for tests: real Envoy, real authorizer process, real TLS."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import grpc
import httpx

from gateway import bootstrap
from gateway import certificates as gateway_certificates
from gateway.configuration import GatewaySettings
from kms import certificates
from protos.generated import vector_service_pb2_grpc as rpc
from tests.gateway.upstream import IndexServer

TRUST_DOMAIN = "tamarack.test"
ORGANIZATION, PROJECT, OTHER_PROJECT = "org-a", "project-a", "project-b"
KEY, READ_KEY, OTHER_KEY, FOREIGN_KEY = (
    "tmrk_all_1111",
    "tmrk_read_2222",
    "tmrk_otherproject_3333",
    "tmrk_otherorganization_4444",
)
Patch = Callable[[dict[str, Any]], None]


def wait_until(condition: Callable[[], Any], seconds: float = 15, what: str = "") -> Any:
    """The first true value of `condition`, asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {seconds} s: {what or condition}")
        time.sleep(0.01)


def free_ports(count: int) -> range:
    """Consecutive ports that nobody listens on, below those that outgoing connections use."""
    for _ in range(200):
        first = random.randrange(10_000, 21_000 - count)  # noqa: S311  not a secret
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    listener = stack.enter_context(socket.socket())
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return range(first, first + count)
    raise RuntimeError(f"no {count} free ports in a row")


class Gateway:
    """Use as a context manager; everything it started ends with it."""

    def __init__(
        self,
        addressing: Literal["port", "host"] = "port",
        ports: int = 4,
        patch: Patch | None = None,
        **settings: Any,
    ) -> None:
        # Unix socket paths are short; pytest's own folders are not.
        self.home = Path(tempfile.mkdtemp(prefix="tmrk-gw-"))
        (self.home / "run").mkdir(mode=0o700)
        free = free_ports(ports + 1)
        self.settings = GatewaySettings(
            **{
                "public_host": "localhost",
                "public_port": free[0],
                "bind": "127.0.0.1",
                "addressing": addressing,
                "index_ports": free[1:],
                "index_domain": "svc.localhost",
                "trust_domain": TRUST_DOMAIN,
                "tls_max": "1.2",
                "project_rate": 100_000,
                "max_request_bytes": 4 << 20,
                "home": self.home,
                "run_dir": self.home / "run",
                **settings,
            }
        )
        self.authority = certificates.open_authority(self.home / "ca", TRUST_DOMAIN, bytes, bytes)
        self._patch = patch
        self.servers: list[IndexServer] = []
        self.store: dict[str, Any] = {"keys": {}, "routes": {}}
        for secret, organization, project, grants in (
            (KEY, ORGANIZATION, PROJECT, "rw"),
            (READ_KEY, ORGANIZATION, PROJECT, "r"),
            (OTHER_KEY, ORGANIZATION, OTHER_PROJECT, "rw"),
            (FOREIGN_KEY, "org-b", "project-c", "rw"),
        ):
            self.store["keys"][secret] = {
                "id": f"id-of-{secret.split('_')[1]}",
                "label": secret.split("_")[1],
                "organization_id": organization,
                "project_id": project,
                "grants": grants,
            }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.save()
            self.issue()
            self.start_authorizer()
            self.start_envoy()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that this gateway started."""
        for name in list(self._processes):
            self.end(name)
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.home)

    def issue(self) -> list[str]:
        """Issue what is due; see `gateway.certificates.ensure`."""
        return gateway_certificates.ensure(self.settings, lambda: self.authority)

    def start_authorizer(self, app: str = "tests.gateway.resolver_app:app") -> None:
        """Start the authorizer's process the way `manage.py up` does."""
        self._start(
            "authorizer",
            [
                *[sys.executable, "-m", "uvicorn", app, "--no-access-log"],
                *["--uds", str(self.settings.authorizer_socket), "--log-level", "warning"],
                *["--loop", "uvloop", "--http", "httptools"],
            ],
            AUTHORIZER_TEST_STORE=str(self.home / "store.json"),
        )
        wait_until(self._authorizer_answers, what="the authorizer answers")

    def _authorizer_answers(self) -> bool:
        self._check_alive("authorizer")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            if probe.connect_ex(str(self.settings.authorizer_socket)):
                return False
            probe.sendall(b"GET /health HTTP/1.1\r\nhost: authorizer\r\nconnection: close\r\n\r\n")
            return probe.recv(64).startswith(b"HTTP/1.1 200")

    def start_envoy(self) -> None:
        """Render, validate and start; returns when it accepts connections."""
        path = bootstrap.write(self.settings)
        if self._patch:
            content = json.loads(path.read_text())
            self._patch(content)
            path.write_text(json.dumps(content))
            bootstrap.validate(path)
        self._start(
            "envoy",
            [
                *[bootstrap.envoy_path(), "--config-path", str(path), "--concurrency", "1"],
                *["--log-level", "warning", "--disable-hot-restart"],
                *["--file-flush-interval-msec", "50"],
            ],
        )
        wait_until(self._envoy_listens, what="Envoy listens")

    def _envoy_listens(self) -> bool:
        self._check_alive("envoy")
        ports = [self.settings.public_port]
        if self.settings.addressing == "port":
            ports += self.settings.index_ports
        for port in ports:
            try:
                socket.create_connection((self.settings.bind, port), timeout=1).close()
            except OSError:
                return False
        return True

    def _start(self, name: str, command: list[str], **environment: str) -> None:
        log = (self.home / f"{name}.log").open("ab")
        with log:
            self._processes[name] = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _check_alive(self, name: str) -> None:
        code = self._processes[name].poll()
        if code is not None:
            log = (self.home / f"{name}.log").read_text()
            raise RuntimeError(f"{name} ended with {code}: {log[-3000:]}")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to `envoy` or `authorizer`."""
        self._processes[name].send_signal(number)

    def end(self, name: str) -> None:
        """Kill a process and wait for its end."""
        process = self._processes.pop(name, None)
        if process is not None:
            process.kill()
            process.wait(timeout=10)

    def resident_kilobytes(self) -> int:
        """Memory of Envoy."""
        status = Path(f"/proc/{self._processes['envoy'].pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1])

    def log(self, name: str) -> str:
        """What a process wrote so far."""
        return (self.home / f"{name}.log").read_text()

    # What the authorizer knows

    def save(self) -> None:
        """Let the authorizer see `store` as it is now."""
        aside = self.home / "store.new"
        aside.write_text(json.dumps(self.store))
        aside.rename(self.home / "store.json")

    def forget(self) -> None:
        """Return when neither the Lua filter nor the authorizer remembers an earlier answer."""
        time.sleep(0.71)

    def add_index(self, index: str, *, project: str = PROJECT, start: bool = True) -> IndexServer:
        """A served index at the next free port (or at `<index>.svc.localhost`)."""
        server = IndexServer(self.authority, TRUST_DOMAIN, ORGANIZATION, project, index)
        server.start()
        if not start:
            server.stop()
        self.servers.append(server)
        place = self.settings.index_ports[len(self.servers) - 1]
        name = str(place) if self.settings.addressing == "port" else f"{index}.svc.localhost"
        self.store["routes"][name] = {
            "deployment_id": f"deployment-{index}",
            "index_id": index,
            "project_id": project,
            "organization_id": ORGANIZATION,
            "address": server.address,
            "ready": True,
            "state": "Ready",
        }
        self.save()
        return server

    # Clients

    @property
    def ca(self) -> Path:
        """What clients trust."""
        return self.settings.certs / "ca.pem"

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context."""
        return ssl.create_default_context(cafile=str(self.ca))

    def url(self, number: int = 0) -> str:
        """Address of index `number` in port mode."""
        return f"https://localhost:{self.settings.index_ports[number]}"

    @property
    def control_url(self) -> str:
        """Address of the control plane (in host mode of everything)."""
        return f"https://localhost:{self.settings.public_port}"

    @contextlib.contextmanager
    def http(
        self, number: int | None = 0, key: str | None = KEY, **options: Any
    ) -> Iterator[httpx.Client]:
        """A REST client of index `number` (of the control plane where None)."""
        base = self.control_url if number is None else self.url(number)
        headers = {"Api-Key": key} if key is not None else {}
        with httpx.Client(
            base_url=base, verify=self.tls(), headers=headers, trust_env=False, **options
        ) as client:
            yield client

    @contextlib.contextmanager
    def channel(self, number: int = 0, authority: str | None = None) -> Iterator[grpc.Channel]:
        """A gRPC channel to index `number`, or in host mode to the index called `authority`."""
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes())
        options: list[tuple[str, Any]] = [
            ("grpc.enable_retries", 0),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        port = self.settings.index_ports[number]
        if authority is not None:
            port = self.settings.public_port
            options.append(("grpc.ssl_target_name_override", authority.partition(":")[0]))
            options.append(("grpc.default_authority", authority))
        with grpc.secure_channel(f"localhost:{port}", credentials, options) as channel:
            yield channel

    @contextlib.contextmanager
    def stub(
        self, number: int = 0, authority: str | None = None
    ) -> Iterator[rpc.VectorServiceStub]:
        """A gRPC client; pass `metadata=(("api-key", ...),)` with each call."""
        with self.channel(number, authority) as channel:
            yield rpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated

    def access_log(self, count: int) -> list[dict[str, Any]]:
        """The first `count` or more lines of the access log."""

        def lines() -> list[str]:
            path = self.settings.access_log
            found = path.read_text().splitlines() if path.exists() else []
            return found if len(found) >= count else []

        return [json.loads(line) for line in wait_until(lines, what=f"{count} lines")]


def metadata(key: str = KEY, **more: str) -> tuple[tuple[str, str], ...]:
    """gRPC metadata with an API key."""
    return (("api-key", key), *((name.replace("_", "-"), v) for name, v in more.items()))


def refused(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Status and message of a call that has to fail."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError("the call was answered")

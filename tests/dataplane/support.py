"""A certificate authority, a key service and index servers for tests: real processes over real
mutual TLS.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health_pb2,
    health_pb2_grpc,
)

from dataplane.config import Config
from dataplane.index import VectorIndex
from dataplane.record import Record
from protos.generated import key_service_pb2, key_service_pb2_grpc
from tests.dataplane.messages import ORGANIZATION, PROJECT, Client, grants

__all__ = [
    "Client",
    "IndexServer",
    "KeyService",
    "Pair",
    "Stack",
    "TestCa",
    "grants",
    "local_config",
    "local_index",
    "new_index_server",
    "noise",
    "rebuild",
    "running_stack",
    "start_index_server",
    "wait_until",
]

ROOT = Path(__file__).parents[2]
TRUST_DOMAIN = "tamarack.internal"
RAM = Path("/dev/shm")  # noqa: S108  the point is that it is memory
START_SECONDS = 60.0


def wait_until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """The first true answer of `condition`.

    Raises:
        AssertionError: none came in time; the message says `what` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)
    return answer


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its private key, PEM."""

    certificate: bytes
    key: bytes


class TestCa:
    """An issuing authority. Leaves carry one SPIFFE id, as the platform's own do."""

    __test__ = False

    def __init__(self, trust_domain: str = TRUST_DOMAIN) -> None:
        self.trust_domain = trust_domain
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"test root {os.urandom(4).hex()}")]
        )
        now = dt.datetime.now(dt.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def bundle(self) -> bytes:
        """The root, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        path: str,
        *dns: str,
        begins: dt.timedelta = dt.timedelta(seconds=-60),
        lasts: dt.timedelta = dt.timedelta(hours=24),
    ) -> Pair:
        """A leaf for `spiffe://<trust domain>/<path>` with DNS names `dns`."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(f"spiffe://{self.trust_domain}/{path}"),
            *(x509.DNSName(name) for name in dns),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + begins + lasts)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


class KeyService(key_service_pb2_grpc.KeyServiceServicer):
    """Hands each deployment its key if the caller's certificate is that index's, as the control
    plane does.
    """

    def __init__(self, ca: TestCa, socket_path: Path) -> None:
        self.keys: dict[str, tuple[str, bytes]] = {}
        self.answer: grpc.StatusCode | None = None
        self.calls = 0
        self.address = f"unix:{socket_path}"
        pair = ca.issue("control-plane", f"control-plane.{ca.trust_domain}")
        self._server = grpc.server(ThreadPoolExecutor(2))
        key_service_pb2_grpc.add_KeyServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            self, self._server
        )
        self._server.add_secure_port(
            self.address,
            grpc.ssl_server_credentials(
                [(pair.key, pair.certificate)], ca.bundle, require_client_auth=True
            ),
        )
        self._server.start()

    def OpenIndex(
        self, request: key_service_pb2.OpenIndexRequest, context: grpc.ServicerContext
    ) -> key_service_pb2.OpenIndexResponse:
        self.calls += 1
        if self.answer is not None:
            context.abort(self.answer, f"told to say {self.answer.name}")
        owner, key = self.keys.get(request.deployment_id, ("", b""))
        properties: Mapping[str, Any] = context.auth_context()
        (peer,) = properties["peer_spiffe_id"]
        if not key:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such deployment")
        if peer.decode() != owner:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not your deployment")
        return key_service_pb2.OpenIndexResponse(data_key=key, data_key_version=1)

    def stop(self) -> None:
        self._server.stop(0).wait()


class Stack:
    """A trust domain, a key service, and folders for index servers: what a test's servers share."""

    def __init__(self) -> None:
        self.ca = TestCa()
        # A socket's path may have 107 bytes, and pytest's temporary folders alone can exceed that.
        self.run = Path(tempfile.mkdtemp(prefix="tk-"))
        self.ram = Path(tempfile.mkdtemp(prefix="tk-", dir=RAM))
        self.key_service = KeyService(self.ca, self.run / "keys.sock")
        self.servers: list[IndexServer] = []

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        self.key_service.stop()
        shutil.rmtree(self.run)
        shutil.rmtree(self.ram)


def noise(seed: int) -> random.Random:
    """Numbers that are the same in every run."""
    return random.Random(seed)  # noqa: S311  test data, no secret


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, so that none takes it."""
    while True:
        port = random.SystemRandom().randrange(10_000, 20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class IndexServer:
    """One index server's files and process."""

    stack: Stack
    folder: Path
    config: dict[str, Any]
    process: subprocess.Popen[str] | None = None
    channels: list[grpc.Channel] = field(default_factory=list)

    @property
    def deployment(self) -> str:
        return str(self.config["deployment_id"])

    @property
    def spiffe_path(self) -> str:
        return f"org/{ORGANIZATION}/project/{PROJECT}/index/{self.config['index_id']}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def log_lines(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def write_certificate(self, pair: Pair | None = None) -> None:
        pair = pair or self.stack.ca.issue(
            self.spiffe_path, f"{self.config['index_id']}.index.{self.stack.ca.trust_domain}"
        )
        for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
            temporary = self.folder / (name + ".new")
            temporary.write_bytes(content)
            temporary.replace(self.folder / name)

    def write_config(self) -> Path:
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.config), encoding="utf-8")
        path.chmod(0o600)
        return path

    def spawn(self) -> subprocess.Popen[str]:
        """Start the process without waiting for it."""
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataplane", "--config", str(self.write_config())],
                stderr=log,
                cwd=ROOT,
                text=True,
            )
        return self.process

    def start(self) -> IndexServer:
        """Start it and wait until it reports SERVING."""
        process = self.spawn()
        wait_until(
            lambda: (
                process.poll() is not None
                or self.health() == health_pb2.HealthCheckResponse.SERVING
            ),
            f"index server: {self.log.read_text()[-2000:]}",
        )
        assert process.poll() is None, self.log.read_text()
        return self

    def run_to_end(self, seconds: float = START_SECONDS) -> tuple[int, dict[str, Any]]:
        """Start a process that should give up; its exit status and last log line."""
        code = self.spawn().wait(seconds)
        self.process = None
        return code, self.log_lines()[-1]

    def health(self) -> int | None:
        """What the probe over the unix socket is told; None for no answer."""
        with self.channel(
            self.stack.ca.issue("node/node-1"), f"unix:{self.config['socket']}"
        ) as channel:
            try:
                stub = health_pb2_grpc.HealthStub(channel)
                return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=2).status)
            except grpc.RpcError:
                return None

    def channel(
        self, pair: Pair, address: str | None = None, bundle: bytes | None = None
    ) -> grpc.Channel:
        """A channel of its own (no shared connection) with `pair` as the caller's certificate."""
        credentials = grpc.ssl_channel_credentials(
            bundle or self.stack.ca.bundle, pair.key, pair.certificate
        )
        return grpc.secure_channel(
            address or self.config["listen"],
            credentials,
            (
                (
                    "grpc.ssl_target_name_override",
                    f"{self.config['index_id']}.index.{TRUST_DOMAIN}",
                ),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 200),
            ),
        )

    def client(self, pair: Pair | None = None) -> Client:
        """A channel as the gateway has it, closed with the server."""
        channel = self.channel(pair or self.stack.ca.issue("gateway"))
        self.channels.append(channel)
        return Client(channel, grants(self.deployment))

    def kill(self) -> None:
        """End the process as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int | None:
        """SIGTERM; the exit status, None where it was not running."""
        for channel in self.channels:
            channel.close()
        self.channels.clear()
        if self.process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None


def new_index_server(
    stack: Stack,
    folder: Path,
    *,
    dimension: int | None = 4,
    metric: str = "cosine",
    vector_type: str = "dense",
    name: str = "index-1",
    **more: Any,
) -> IndexServer:
    """An index server with key, certificate and configuration in `folder`, not yet started."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = f"dep-{len(stack.servers)}-{os.getpid()}"
    port = free_port()
    config = {
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "index_id": name,
        "deployment_id": deployment,
        "trust_domain": TRUST_DOMAIN,
        "dimension": dimension,
        "metric": metric,
        "vector_type": vector_type,
        "listen": f"127.0.0.1:{port}",
        "socket": str(stack.run / f"{deployment}.sock"),
        "record": str(folder / "record.db"),
        "ram_dir": str(stack.ram / deployment),
        "certificate": str(folder / "tls.crt"),
        "private_key": str(folder / "tls.key"),
        "trust_bundle": str(folder / "ca.crt"),
        "key_service": stack.key_service.address,
        **more,
    }
    server = IndexServer(stack, folder, config)
    stack.servers.append(server)
    stack.key_service.keys[deployment] = (
        f"spiffe://{TRUST_DOMAIN}/{server.spiffe_path}",
        os.urandom(32),
    )
    (folder / "ca.crt").write_bytes(stack.ca.bundle)
    server.write_certificate()
    return server


def start_index_server(stack: Stack, folder: Path, **more: Any) -> IndexServer:
    """As `new_index_server`, started and serving."""
    return new_index_server(stack, folder, **more).start()


@contextlib.contextmanager
def running_stack() -> Iterator[Stack]:
    """A stack that leaves nothing behind."""
    stack = Stack()
    try:
        yield stack
    finally:
        stack.close()


KEY = bytes(range(32))
DIMENSION = 8


def local_config(folder: Path, ram: Path, **more: Any) -> Config:
    """A configuration for an index in the test's own process; nothing listens."""
    values: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "index_id": "index-1",
        "deployment_id": "dep-1",
        "trust_domain": TRUST_DOMAIN,
        "dimension": DIMENSION,
        "metric": "euclidean",
        "vector_type": "dense",
        "listen": "127.0.0.1:1",
        "socket": folder / "s",
        "record": folder / "record.db",
        "ram_dir": ram,
        "certificate": folder,
        "private_key": folder,
        "trust_bundle": folder,
        "key_service": "unix:/nowhere",
    }
    return Config(**{**values, **more})


@contextlib.contextmanager
def local_index(folder: Path, **more: Any) -> Iterator[VectorIndex]:
    """An index in this process, so that a test can act between the steps of its work."""
    ram = Path(tempfile.mkdtemp(dir=RAM))
    config = local_config(folder, ram, **more)
    index = VectorIndex(config, Record(config.record, KEY, config), KEY)
    index.start()
    assert index.wait_ready(30)
    try:
        yield index
    finally:
        index.close()
        shutil.rmtree(ram)


def rebuild(index: VectorIndex) -> None:
    """Have the keeper build, and wait for the swap."""
    before = index._ann
    index._wants_build = True
    index._wake.set()
    wait_until(lambda: index._ann is not before and index._ann is not None, "the swap")

"""Servers that streams deliver to: a webhook, an object storage, a syslog receiver. All real."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIDTAMARACK", "s3cr3t/access+key"


@dataclass
class Received:
    """One HTTP request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """An HTTP server; `answer` decides the status of each request."""

    url: str
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], tuple[int, dict[str, str], bytes]] = field(
        default=lambda _: (200, {}, b"")
    )


@contextlib.contextmanager
def http_receiver(certificate: Path | None = None) -> Iterator[HttpReceiver]:
    """A server on loopback, with TLS where a certificate and key (one PEM file) is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body)
            receiver.received.append(request)
            status, extra, content = receiver.answer(request)
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        do_POST = do_PUT = do_GET = _take

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    receiver = HttpReceiver(f"{scheme}://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Bucket:
    """Object storage that checks signatures by its own reading of Signature Version 4."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.secret = SECRET_ACCESS_KEY

    def answer(self, request: Received) -> tuple[int, dict[str, str], bytes]:
        """Store what is signed well, refuse the rest."""
        if self._signature(request) is None:
            return 403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
        self.objects[unquote(request.path)] = request.body
        return 200, {}, b""

    def _signature(self, request: Received) -> str | None:
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
            r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        if match is None or match[1] != ACCESS_KEY_ID:
            return None
        _, day, region, names, signature = match.groups()
        payload = hashlib.sha256(request.body).hexdigest()
        if {"host", "x-amz-date"} - set(names.split(";")):
            return None
        if request.headers["x-amz-content-sha256"] != payload:
            return None
        stamp = request.headers["x-amz-date"]
        age = datetime.now(UTC) - datetime.strptime(stamp, "%Y%m%dT%H%M%S%z")
        if abs(age) > timedelta(minutes=15) or not stamp.startswith(day):
            return None
        lines = [request.method, request.path, ""]
        lines += [f"{name}:{request.headers[name].strip()}" for name in names.split(";")]
        lines += ["", names, payload]
        to_sign = "\n".join(
            [
                "AWS4-HMAC-SHA256",
                stamp,
                f"{day}/{region}/s3/aws4_request",
                hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            ]
        )
        key = f"AWS4{self.secret}".encode()
        for part in (day, region, "s3", "aws4_request", to_sign):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return signature if hmac.compare_digest(key.hex(), signature) else None


@dataclass
class SyslogReceiver:
    """A syslog server over TCP with octet counting.

    Attributes:
        mode: `take` reads to the end and closes; `reset` reads and resets the connection; `ignore`
            reads and keeps the connection open; `drip` goes on sending single bytes.
    """

    port: int
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    mode: str = "take"


@contextlib.contextmanager
def syslog_receiver(certificate: Path | None = None) -> Iterator[SyslogReceiver]:
    """A receiver on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    receiver = SyslogReceiver(listener.getsockname()[1])
    stop = threading.Event()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def handle(connection: socket.socket) -> None:
        connection.settimeout(10)
        with contextlib.suppress(OSError), connection:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            data = b""
            while chunk := connection.recv(65536):
                data += chunk
            while data:
                length, _, rest = data.partition(b" ")
                receiver.messages.append(rest[: int(length)])
                data = rest[int(length) :]
            if receiver.mode == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif receiver.mode == "ignore":
                stop.wait(30)
            elif receiver.mode == "drip":
                while not stop.wait(0.05):
                    connection.sendall(b".")
            elif isinstance(connection, ssl.SSLSocket):
                connection = connection.unwrap()
            connection.close()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            receiver.connections += 1
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield receiver
    finally:
        stop.set()
        thread.join()
        listener.close()


def make_certificate(folder: Path) -> tuple[Path, str]:
    """A server's certificate and key in one file, and the PEM text of who signed it: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    path = folder / "receiver.pem"
    path.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path, pem.decode()

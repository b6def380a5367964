"""An OpenID Connect issuer on this machine: an HTTPS server that signs tokens with real keys."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

AUDIENCE = "https://tamarack.example/"
SUBJECT = "repo:acme/search:ref:refs/heads/main"
DISCOVERY, JWKS = "/.well-known/openid-configuration", "/jwks"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Answer = tuple[int, dict[str, str], bytes]

_KEYS: dict[str, tuple[str, Callable[[], PrivateKey]]] = {
    "RS256": ("rsa", lambda: rsa.generate_private_key(65537, 2048)),
    "PS256": ("rsa", lambda: rsa.generate_private_key(65537, 2048)),
    "ES256": ("ec", lambda: ec.generate_private_key(ec.SECP256R1())),
    "EdDSA": ("ed", ed25519.Ed25519PrivateKey.generate),
}


def new_keys() -> dict[str, PrivateKey]:
    """A key for each kind of algorithm, by its kid."""
    return {kid: make() for kid, make in dict(_KEYS.values()).items()}


def public_jwk(kid: str, key: PrivateKey) -> dict[str, Any]:
    """The public half as a JWK."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        made = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        made = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": kid, "use": "sig"}


@dataclass
class Issuer:
    """The issuer.

    Attributes:
        paths: what was asked for, in order.
        answers: what to answer to a path instead of the document there.
        asked: body and headers of what was posted, by path.
    """

    url: str
    keys: dict[str, PrivateKey]
    paths: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    asked: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)

    @property
    def jwks(self) -> dict[str, Any]:
        """The key set as it is served."""
        return {"keys": [public_jwk(kid, key) for kid, key in self.keys.items()]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a token that is good now; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": "one",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(
        self,
        algorithm: str = "RS256",
        *,
        headers: Mapping[str, Any] | None = None,
        key: PrivateKey | None = None,
        **changes: Any,
    ) -> str:
        """A token with these claims changed."""
        kid = _KEYS[algorithm][0]
        return jwt.encode(
            self.claims(**changes),
            key or self.keys[kid],
            algorithm=algorithm,
            headers={"kid": kid, **(headers or {})},
        )

    def answer(self, path: str) -> Answer:
        """What the server says."""
        self.paths.append(path)
        if path in self.answers:
            return self.answers[path]()
        documents = {
            DISCOVERY: {"issuer": self.url, "jwks_uri": self.url + JWKS},
            JWKS: self.jwks,
        }
        if path not in documents:
            return 404, {}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(documents[path]).encode()


def part(value: object) -> str:
    """One part of a token, as an attacker writes it by hand."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and localhost, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local issuer")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "issuer.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@contextlib.contextmanager
def serving(certificate: Path, keys: dict[str, PrivateKey]) -> Iterator[Issuer]:
    """An issuer on loopback, over TLS with that certificate."""
    issuer = Issuer(url="", keys=dict(keys))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = issuer.answer(self.path)
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            issuer.asked[self.path] = (body, dict(self.headers))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that breaks off is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    issuer.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

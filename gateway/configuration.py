"""What the gateway has to know about its installation, checked when it is put together."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from kms import certificates

MAX_PORT = 65535
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True)
class GatewaySettings:
    """Everything that the gateway's configuration depends on.

    Attributes:
        public_host, public_port: where clients find the control plane.
        bind: IP address to listen on.
        addressing: how an index is addressed: by a `port` out of `index_ports`, or by a
            `host` name under `index_domain` on the public port.
        trust_domain: of the SPIFFE ids inside.
        tls_max: newest TLS version for clients. Envoy cannot restrict the cipher suites of TLS
            1.3, so `1.3` admits AES-128-GCM and ChaCha20-Poly1305 besides AES-256.
        project_rate: requests per second that one project may send.
        max_request_bytes: size of the largest request body.
        max_connections: client connections at one time.
        home, run_dir: TAMARACK_HOME and the folder of the sockets.

    Raises:
        ValueError: a value cannot be used; the message names it and the rule.
    """

    public_host: str
    public_port: int
    bind: str
    addressing: Literal["port", "host"]
    index_ports: range
    index_domain: str
    trust_domain: str
    tls_max: Literal["1.2", "1.3"]
    project_rate: int
    max_request_bytes: int
    home: Path
    run_dir: Path
    max_connections: int = 5000

    def __post_init__(self) -> None:
        ipaddress.ip_address(self.bind)
        certificates.spiffe_id(self.trust_domain)
        if self.addressing not in {"port", "host"}:
            raise ValueError(f"addressing {self.addressing!r} has to be port or host")
        if self.tls_max not in {"1.2", "1.3"}:
            raise ValueError(f"the newest TLS version {self.tls_max!r} has to be 1.2 or 1.3")
        for name in ("project_rate", "max_request_bytes", "max_connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} has to be at least 1")
        if self.addressing == "port":
            self._check_ports()
        elif "." not in self.index_domain or not _HOST_NAME.fullmatch(self.index_domain):
            raise ValueError(
                f"index domain {self.index_domain!r} has to be a DNS name of two labels or more,"
                " because clients refuse a certificate for *.<one label>"
            )

    def _check_ports(self) -> None:
        ports = self.index_ports
        if not ports or ports.step != 1 or ports[0] < 1 or ports[-1] > MAX_PORT:
            raise ValueError(f"index ports {ports} have to be consecutive ports up to {MAX_PORT}")
        if self.public_port in ports:
            raise ValueError(
                f"the public port {self.public_port} lies within the index ports"
                f" {ports[0]}-{ports[-1]}: the control plane needs one of its own"
            )

    @classmethod
    def from_django(cls) -> GatewaySettings:
        """The settings of this installation.

        Raises:
            ValueError: see the class.
        """
        from django.conf import settings  # noqa: PLC0415  this module is a library without Django

        return cls(
            public_host=settings.TAMARACK_PUBLIC_HOST,
            public_port=settings.TAMARACK_PUBLIC_PORT,
            bind=settings.TAMARACK_BIND,
            addressing=cast("Literal['port', 'host']", settings.TAMARACK_ADDRESSING),
            index_ports=settings.TAMARACK_INDEX_PORTS,
            index_domain=settings.TAMARACK_INDEX_DOMAIN,
            trust_domain=settings.TAMARACK_TRUST_DOMAIN,
            tls_max=cast("Literal['1.2', '1.3']", settings.TAMARACK_TLS_MAX),
            project_rate=settings.TAMARACK_PROJECT_RATE,
            max_request_bytes=settings.TAMARACK_MAX_REQUEST_BYTES,
            home=settings.TAMARACK_HOME,
            run_dir=settings.TAMARACK_RUN_DIR,
        )

    @property
    def certs(self) -> Path:
        """Folder of the pairs and of `ca.pem`; the gateway watches it."""
        return self.home / "certs"

    @property
    def envoy(self) -> Path:
        """Folder of the rendered configuration."""
        return self.home / "envoy"

    @property
    def access_log(self) -> Path:
        """One JSON object per line and request."""
        return self.home / "log" / "access.json"

    @property
    def authorizer_socket(self) -> Path:
        """Where the Lua filter asks."""
        return self.run_dir / "authorizer.sock"

    @property
    def django_socket(self) -> Path:
        """Where the control plane listens."""
        return self.run_dir / "django.sock"

    @property
    def admin_socket(self) -> Path:
        """Envoy's own administration, for the owner of the installation alone."""
        return self.run_dir / "envoy-admin.sock"

    @property
    def has_public_name(self) -> bool:
        """Whether the public host is a name that belongs to this installation alone."""
        if self.public_host == "localhost" or self.public_host.endswith(".localhost"):
            return False
        try:
            ipaddress.ip_address(self.public_host.strip("[]"))
        except ValueError:
            return True
        return False

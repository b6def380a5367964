"""TLS towards clients: versions, suites, names, certificates that change under load."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kms import certificates
from kms.files import write_atomically
from protos.generated import vector_service_pb2 as pb
from tests.gateway.support import TRUST_DOMAIN, Gateway, metadata, wait_until

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
SUITES = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"}


def handshake(
    gateway: Gateway, port: int | None = None, name: str = "localhost", **settings: Any
) -> tuple[str | None, str, str | None, bytes]:
    """Version, suite, ALPN protocol and certificate (DER) that a client with `settings` gets."""
    context = gateway.tls()
    if alpn := settings.pop("alpn", None):
        context.set_alpn_protocols(alpn)
    if ciphers := settings.pop("ciphers", None):
        context.set_ciphers(ciphers)
    for key, value in settings.items():
        setattr(context, key, value)
    address = ("127.0.0.1", port or gateway.settings.public_port)
    with (
        socket.create_connection(address, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        cipher = tls.cipher()
        assert cipher is not None
        certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None
        return tls.version(), cipher[0], tls.selected_alpn_protocol(), certificate


def offered_suites(gateway: Gateway, version: str) -> set[str]:
    """Every suite of OpenSSL that the gateway accepts when it is the only one offered."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-s", f"-{version}", "ALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    accepted = set()
    for suite in listed.split(":"):
        if suite.startswith("TLS_"):
            continue  # those of TLS 1.3 are not chosen this way
        limits: dict[str, Any] = {"minimum_version": V1_2, "maximum_version": V1_2}
        try:
            _, got, _, _ = handshake(gateway, ciphers=f"{suite}:@SECLEVEL=0", **limits)
        except (ssl.SSLError, OSError):
            continue
        accepted.add(got)
    return accepted


class VersionTests:
    def test_tls_1_2_with_two_aes_256_suites_and_nothing_else(self, gateway: Gateway) -> None:
        for port in (gateway.settings.public_port, gateway.settings.index_ports[0]):
            assert handshake(gateway, port)[:2] == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
            with pytest.raises(ssl.SSLError):
                handshake(gateway, port, minimum_version=V1_3)
        assert offered_suites(gateway, "tls1_2") == SUITES

    @pytest.mark.parametrize("version", ["-tls1", "-tls1_1", "-tls1_3"])
    def test_other_versions_are_refused(self, gateway: Gateway, version: str) -> None:
        done = subprocess.run(
            [
                *["openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0"],
                *["-connect", f"127.0.0.1:{gateway.settings.public_port}"],
            ],
            input=b"",
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode != 0
        assert b"protocol version" in done.stderr or b"wrong version" in done.stderr, done.stderr

    def test_tls_1_3_is_an_option_that_admits_other_suites(self) -> None:
        with Gateway(tls_max="1.3") as gateway:
            version, suite, _, _ = handshake(gateway)
            assert (version, suite.startswith("TLS_")) == ("TLSv1.3", True)
            assert handshake(gateway, maximum_version=V1_2)[:2] == (
                "TLSv1.2",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
            )

    def test_both_http_versions_share_every_port(self, gateway: Gateway) -> None:
        for port in (gateway.settings.public_port, gateway.settings.index_ports[0]):
            assert handshake(gateway, port, alpn=["h2", "http/1.1"])[2] == "h2"
            assert handshake(gateway, port, alpn=["http/1.1"])[2] == "http/1.1"

    def test_plain_http_is_not_spoken(self, gateway: Gateway) -> None:
        address = ("127.0.0.1", gateway.settings.index_ports[0])
        with socket.create_connection(address, timeout=5) as plain:
            plain.sendall(b"GET /query HTTP/1.1\r\nhost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):  # without a goodbye: as good
                assert plain.recv(1024) == b""


class CertificateTests:
    def test_clients_get_the_kind_of_certificate_they_can_use(self, gateway: Gateway) -> None:
        limits: dict[str, Any] = {"maximum_version": V1_2}
        for ciphers, kind in (
            ("ECDHE-ECDSA-AES256-GCM-SHA384", ec.EllipticCurvePublicKey),
            ("ECDHE-RSA-AES256-GCM-SHA384", rsa.RSAPublicKey),
        ):
            _, suite, _, der = handshake(gateway, ciphers=ciphers, **limits)
            assert suite == ciphers
            assert isinstance(x509.load_der_x509_certificate(der).public_key(), kind)

    @pytest.mark.parametrize(
        "name", ["localhost", "api.localhost", "127.0.0.1", "anything.svc.localhost"]
    )
    def test_every_public_name_is_in_the_certificate(self, gateway: Gateway, name: str) -> None:
        assert handshake(gateway, name=name)[0] == "TLSv1.2"

    def test_a_client_that_does_not_know_the_authority_refuses(self, gateway: Gateway) -> None:
        context = ssl.create_default_context()
        address = ("127.0.0.1", gateway.settings.public_port)
        with (
            socket.create_connection(address, timeout=5) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname="localhost")


class RotationTests:
    @pytest.fixture
    def own(self) -> Iterator[Gateway]:
        with Gateway() as running:
            running.add_index("i-zero")
            yield running

    def serial(self, gateway: Gateway) -> int:
        _, _, _, der = handshake(gateway, gateway.settings.index_ports[0])
        return x509.load_der_x509_certificate(der).serial_number

    def due(self, gateway: Gateway, name: str) -> None:
        """Put a pair on disk that is past two thirds of its life."""
        then = datetime.now(UTC) - timedelta(hours=17)
        settings = gateway.settings
        if name == "gateway":
            spiffe = certificates.gateway_spiffe_id(TRUST_DOMAIN)
            pair = gateway.authority.issue_workload(spiffe, now=then)
        else:
            names = certificates.edge_names(settings.public_host, settings.index_domain)
            kind: certificates.EdgeKey = "rsa" if name.endswith("rsa") else "ecdsa"
            pair = gateway.authority.issue_edge(names, kind, now=then)
        certificates.write_pair(
            pair, settings.certs / f"{name}.crt", settings.certs / f"{name}.key"
        )

    def test_pairs_change_while_requests_flow_and_none_fails(self, own: Gateway) -> None:
        """New connections for every request over REST, one old channel over gRPC."""
        failures: list[str] = []
        counts = {"rest": 0, "grpc": 0}
        stop = threading.Event()

        def rest() -> None:
            while not stop.is_set():
                try:
                    with own.http() as client:
                        status = client.post("/query", json={"topK": 1}).status_code
                except Exception as error:  # noqa: BLE001  every kind counts
                    failures.append(f"rest {error!r}")
                    continue
                counts["rest"] += 1
                if status != 200:
                    failures.append(f"rest {status}")

        def over_grpc() -> None:
            with own.stub() as stub:
                while not stop.is_set():
                    try:
                        stub.Query(pb.QueryRequest(top_k=1), metadata=metadata(), timeout=5)
                    except grpc.RpcError as error:
                        failures.append(f"grpc {error.code()} {error.details()}")
                    counts["grpc"] += 1

        threads = [threading.Thread(target=rest), threading.Thread(target=over_grpc)]
        for thread in threads:
            thread.start()
        serials = {self.serial(own)}
        try:
            for _ in range(8):
                for name in ("edge-ecdsa", "edge-rsa", "gateway"):
                    self.due(own, name)
                assert own.issue() == ["edge-ecdsa", "edge-rsa", "gateway"]
                new = certificates.load_pair(
                    own.settings.certs / "edge-ecdsa.crt", own.settings.certs / "edge-ecdsa.key"
                ).leaf.serial_number
                wait_until(partial(self.serves, own, new), what="the new certificate")
                serials.add(new)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert len(serials) == 9
        assert counts["rest"] > 50
        assert counts["grpc"] > 200

    def serves(self, gateway: Gateway, serial: int) -> bool:
        return self.serial(gateway) == serial

    def test_the_gateways_own_identity_is_renewed_without_a_restart(self, own: Gateway) -> None:
        (server,) = own.servers
        self.due(own, "gateway")
        assert own.issue() == ["gateway"]
        crt, key = (own.settings.certs / f"gateway.{suffix}" for suffix in ("crt", "key"))
        new = certificates.load_pair(crt, key).leaf.serial_number

        def shows_the_new_one() -> bool:
            # Certificates are shown in handshakes only, so the connection from before has to go.
            server.stop()
            server.start()
            with own.http() as client:
                assert client.post("/query", json={"topK": 1}).status_code == 200
            return server.calls[-1].serial == new

        wait_until(shows_the_new_one, what="the new identity")

    def test_a_new_root_is_trusted_once_it_is_in_the_bundle(self, own: Gateway) -> None:
        (server,) = own.servers
        new = certificates.create_issuing(certificates.create_root(TRUST_DOMAIN), TRUST_DOMAIN)
        old = own.authority
        both = old.trust_bundle + new.trust_bundle
        spiffe = certificates.index_spiffe_id(TRUST_DOMAIN, "org-a", "project-a", "i-zero")
        server.stop()
        server.start(new.issue_workload(spiffe), roots=both)
        with own.http() as client:
            assert client.post("/query", json={"topK": 1}).status_code == 503
            write_atomically(own.settings.certs / "ca.pem", both, 0o644)
            wait_until(
                lambda: client.post("/query", json={"topK": 1}).status_code == 200,
                what="the new root",
            )

    def test_a_damaged_pair_leaves_the_old_one_in_use(self, own: Gateway) -> None:
        old = self.serial(own)
        crt, key = (own.settings.certs / f"edge-ecdsa.{suffix}" for suffix in ("crt", "key"))
        names = certificates.edge_names("localhost", "svc.localhost")
        other = own.authority.issue_edge(names, "ecdsa")
        write_atomically(key, other.private_key, 0o600)
        write_atomically(crt, b"nonsense", 0o644)
        rejected = own.settings.home / "envoy.log"
        wait_until(lambda: rejected.stat().st_size > 0, what="Envoy's complaint")
        assert self.serial(own) == old
        assert own.issue() == ["edge-ecdsa"]
        wait_until(lambda: self.serial(own) != old, what="a new pair")

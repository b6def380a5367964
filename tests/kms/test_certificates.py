"""The certificate authority: what its certificates say, and what real TLS stacks make of them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import ExtensionOID
from cryptography.x509.verification import PolicyBuilder, Store

from kms import certificates
from kms.certificates import Authority, CertificateError, Pair
from kms.files import write_atomically

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
TRUST_DOMAIN = "tamarack.internal"


def mask(data: bytes) -> bytes:
    """A reversible wrapping that is not the identity."""
    return bytes(b ^ 0x5A for b in data)


def authority(now: datetime | None = None) -> Authority:
    root = certificates.create_root(TRUST_DOMAIN, now)
    return certificates.create_issuing(root, TRUST_DOMAIN, now)


def names_of(certificate: x509.Certificate) -> list[tuple[str, str]]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [(type(name).__name__, str(name.value)) for name in names]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, server_name: str) -> str | None:
    """The TLS version that both agree on; raises what the client raises."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with (
            theirs,
            contextlib.suppress(OSError),
            server.wrap_socket(theirs, server_side=True) as tls,
        ):
            tls.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname=server_name) as tls:
            assert tls.recv(1) == b"x"
            return tls.version()
    finally:
        thread.join(timeout=10)


def server_context(pair: Pair, folder: Path) -> ssl.SSLContext:
    certificates.write_pair(pair, folder / "tls.crt", folder / "tls.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


class HierarchyTests:
    def test_lifetimes_and_path_lengths_go_down(self) -> None:
        issuing = authority(NOW)
        (root,) = issuing.above
        leaf = issuing.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN), now=NOW).leaf
        ends = [c.not_valid_after_utc - NOW for c in (root, issuing.certificate, leaf)]
        assert ends == [timedelta(days=3650), timedelta(days=365), timedelta(hours=24)]
        starts = {c.not_valid_before_utc for c in (root, issuing.certificate, leaf)}
        assert starts == {NOW - timedelta(seconds=60)}
        constraints = [
            c.extensions.get_extension_for_class(x509.BasicConstraints)
            for c in (root, issuing.certificate, leaf)
        ]
        assert [(c.value.ca, c.value.path_length, c.critical) for c in constraints] == [
            (True, 1, True),
            (True, 0, True),
            (False, None, True),
        ]

    def test_no_certificate_outlives_its_signer(self) -> None:
        issuing = authority(NOW)
        late = NOW + timedelta(days=364, hours=12)
        leaf = issuing.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN), now=late).leaf
        assert leaf.not_valid_after_utc == issuing.certificate.not_valid_after_utc

    def test_an_expired_issuing_ca_signs_nothing(self) -> None:
        with pytest.raises(CertificateError, match="expired on 2031-01-01"):
            authority(NOW).issue_workload(
                certificates.gateway_spiffe_id(TRUST_DOMAIN), now=NOW + timedelta(days=365)
            )

    def test_subjects_differ_at_every_level(self) -> None:
        issuing = authority()
        other = certificates.create_issuing(certificates.create_root(TRUST_DOMAIN), TRUST_DOMAIN)
        leaf = issuing.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN)).leaf
        subjects = [leaf, issuing.certificate, other.certificate, *issuing.above]
        assert len({c.subject for c in subjects}) == len(subjects)

    def test_the_bundle_is_the_root_and_the_chain_leaves_it_out(self) -> None:
        issuing = authority()
        bundle = x509.load_pem_x509_certificates(issuing.trust_bundle)
        assert bundle == list(issuing.above)
        pair = issuing.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN))
        chain = x509.load_pem_x509_certificates(pair.certificate)
        assert chain == [pair.leaf, issuing.certificate]


class WorkloadTests:
    def test_exactly_one_uri_name_and_the_dns_names_asked_for(self) -> None:
        spiffe = certificates.index_spiffe_id(TRUST_DOMAIN, "o-1", "p-2", "i-3")
        leaf = authority().issue_workload(spiffe, ["i-3.index.tamarack.internal"]).leaf
        assert names_of(leaf) == [
            (
                "UniformResourceIdentifier",
                "spiffe://tamarack.internal/org/o-1/project/p-2/index/i-3",
            ),
            ("DNSName", "i-3.index.tamarack.internal"),
        ]
        names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        assert not names.critical
        assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)

    def test_serial_numbers_are_random(self) -> None:
        issuing = authority()
        spiffe = certificates.gateway_spiffe_id(TRUST_DOMAIN)
        serials = {issuing.issue_workload(spiffe).leaf.serial_number for _ in range(20)}
        assert len(serials) == 20
        assert min(serials).bit_length() > 100

    @pytest.mark.parametrize(
        "spiffe",
        [
            "spiffe://tamarack.internal",
            "spiffe://tamarack.internal/",
            "https://tamarack.internal/gateway",
            "spiffe://Tamarack/gateway",
            "spiffe://td/a/../gateway",
            "spiffe://td/org/a b",
            "spiffe://td//gateway",
            "spiffe://td/org/é",
        ],
    )
    def test_what_is_no_spiffe_id_is_refused(self, spiffe: str) -> None:
        with pytest.raises(ValueError, match=r"SPIFFE|trust domain"):
            authority().issue_workload(spiffe)

    def test_a_slash_in_an_id_cannot_change_the_identity(self) -> None:
        with pytest.raises(ValueError, match="SPIFFE path segment"):
            certificates.index_spiffe_id(TRUST_DOMAIN, "o", "p/index/x", "i")

    def test_both_sides_of_mutual_tls_accept_it(self, tmp_path: Path) -> None:
        issuing = authority()
        spiffe = certificates.control_plane_spiffe_id(TRUST_DOMAIN)
        server = server_context(
            issuing.issue_workload(spiffe, ["control-plane.tamarack.internal"]), tmp_path
        )
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(cadata=issuing.trust_bundle.decode())
        client = ssl.create_default_context(cadata=issuing.trust_bundle.decode())
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        client.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        assert handshake(server, client, "control-plane.tamarack.internal")

    def test_another_instance_is_not_trusted(self, tmp_path: Path) -> None:
        spiffe = certificates.control_plane_spiffe_id(TRUST_DOMAIN)
        server = server_context(authority().issue_workload(spiffe, ["a.b"]), tmp_path)
        client = ssl.create_default_context(cadata=authority().trust_bundle.decode())
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, client, "a.b")


class EdgeTests:
    @pytest.mark.parametrize(
        ("host", "domain", "expected"),
        [
            (
                "localhost",
                "svc.localhost",
                ["localhost", "api.localhost", "127.0.0.1", "::1", "*.svc.localhost"],
            ),
            (
                "vectors.example.com",
                "svc.vectors.example.com",
                [
                    "vectors.example.com",
                    "api.vectors.example.com",
                    "localhost",
                    "api.localhost",
                    "127.0.0.1",
                    "::1",
                    "*.svc.vectors.example.com",
                ],
            ),
            (
                "10.0.0.5",
                "svc.10.0.0.5",
                ["10.0.0.5", "localhost", "api.localhost", "127.0.0.1", "::1"],
            ),
            ("localhost", "localhost", ["localhost", "api.localhost", "127.0.0.1", "::1"]),
        ],
    )
    def test_names_follow_from_the_public_host(
        self, host: str, domain: str, expected: list[str]
    ) -> None:
        assert [str(n.value) for n in certificates.edge_names(host, domain)] == expected

    @pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
    @pytest.mark.parametrize(
        "name", ["localhost", "api.localhost", "127.0.0.1", "idx.svc.localhost"]
    )
    def test_a_client_accepts_every_name(
        self, kind: certificates.EdgeKey, name: str, tmp_path: Path
    ) -> None:
        issuing = authority()
        pair = issuing.issue_edge(certificates.edge_names("localhost", "svc.localhost"), kind)
        client = ssl.create_default_context(cadata=issuing.trust_bundle.decode())
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        assert handshake(server_context(pair, tmp_path), client, name)
        key = rsa.RSAPublicKey if kind == "rsa" else ec.EllipticCurvePublicKey
        assert isinstance(pair.leaf.public_key(), key)

    def test_it_is_no_identity_inside(self) -> None:
        issuing = authority()
        names = certificates.edge_names("localhost", "svc.localhost")
        leaf = issuing.issue_edge(names, "ecdsa").leaf
        assert not [n for n in names_of(leaf) if n[0] == "UniformResourceIdentifier"]
        store = Store(x509.load_pem_x509_certificates(issuing.trust_bundle))
        verifier = PolicyBuilder().store(store).build_client_verifier()
        with pytest.raises(x509.verification.VerificationError, match="EKU"):
            verifier.verify(leaf, [issuing.certificate])

    def test_a_certificate_without_names_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one name"):
            authority().issue_edge([], "ecdsa")


class RenewalTests:
    def test_due_between_61_and_67_percent_of_life(self) -> None:
        issuing = authority(NOW)
        leaf = issuing.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN), now=NOW).leaf
        start, life = leaf.not_valid_before_utc, timedelta(hours=24, seconds=60)
        assert not certificates.due_for_renewal(leaf, start + life * 0.61)
        assert certificates.due_for_renewal(leaf, start + life * 0.6667)
        assert certificates.due_for_renewal(leaf, start + life * 2)

    def test_many_leaves_of_one_moment_are_not_due_at_one_moment(self) -> None:
        issuing = authority(NOW)
        spiffe = certificates.gateway_spiffe_id(TRUST_DOMAIN)
        leaves = [issuing.issue_workload(spiffe, now=NOW).leaf for _ in range(60)]
        middle = NOW + timedelta(hours=24) * (2 / 3 - 1 / 40)
        due = sum(certificates.due_for_renewal(leaf, middle) for leaf in leaves)
        assert 5 < due < 55


class OnDiskTests:
    def test_the_authority_survives_a_restart(self, tmp_path: Path) -> None:
        first = certificates.open_authority(tmp_path / "ca", TRUST_DOMAIN, mask, mask)
        second = certificates.open_authority(tmp_path / "ca", TRUST_DOMAIN, mask, mask)
        assert second.certificate == first.certificate
        assert second.trust_bundle == first.trust_bundle
        pair = second.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN))
        pair.leaf.verify_directly_issued_by(first.certificate)

    def test_private_keys_are_wrapped_and_for_the_owner_alone(self, tmp_path: Path) -> None:
        certificates.open_authority(tmp_path / "ca", TRUST_DOMAIN, mask, mask)
        assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700
        for name in ("root.key", "issuing.key"):
            path = tmp_path / "ca" / name
            assert path.stat().st_mode & 0o777 == 0o600
            with pytest.raises(ValueError):
                load_der_private_key(path.read_bytes(), None)
        assert not [p for p in (tmp_path / "ca").iterdir() if p.name.startswith(".root")]

    def test_the_issuing_ca_is_renewed_under_the_same_root(self, tmp_path: Path) -> None:
        def opened(now: datetime) -> Authority:
            return certificates.open_authority(tmp_path, TRUST_DOMAIN, mask, mask, now)

        first = opened(NOW)
        assert opened(NOW + timedelta(days=200)).certificate == first.certificate
        later = NOW + timedelta(days=300)
        renewed = opened(later)
        assert renewed.certificate != first.certificate
        assert renewed.trust_bundle == first.trust_bundle
        assert opened(later).certificate == renewed.certificate
        renewed.issue_workload(
            certificates.gateway_spiffe_id(TRUST_DOMAIN), now=later
        ).leaf.verify_directly_issued_by(renewed.certificate)

    def test_first_use_by_many_at_once_makes_one_authority(self, tmp_path: Path) -> None:
        found: list[bytes] = []

        def use() -> None:
            ca = certificates.open_authority(tmp_path, TRUST_DOMAIN, mask, mask)
            found.append(ca.trust_bundle)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1

    def test_a_foreign_key_beside_the_ca_is_refused(self, tmp_path: Path) -> None:
        certificates.open_authority(tmp_path / "a", TRUST_DOMAIN, mask, mask)
        certificates.open_authority(tmp_path / "b", TRUST_DOMAIN, mask, mask)
        (tmp_path / "a/issuing.key").write_bytes((tmp_path / "b/issuing.key").read_bytes())
        with pytest.raises(CertificateError, match=r"issuing\.key is not the key of issuing\.crt"):
            certificates.open_authority(tmp_path / "a", TRUST_DOMAIN, mask, mask)

    @pytest.mark.parametrize("name", ["root.crt", "issuing.crt"])
    def test_a_damaged_certificate_is_named(self, name: str, tmp_path: Path) -> None:
        certificates.open_authority(tmp_path, TRUST_DOMAIN, mask, mask)
        (tmp_path / name).write_text("nonsense")
        with pytest.raises(CertificateError, match=name):
            certificates.open_authority(tmp_path, TRUST_DOMAIN, mask, mask)

    def test_pairs_are_written_whole_with_a_private_key(self, tmp_path: Path) -> None:
        issuing = authority()
        pair = issuing.issue_workload(certificates.gateway_spiffe_id(TRUST_DOMAIN))
        crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        certificates.write_pair(pair, crt, key)
        assert certificates.load_pair(crt, key) == pair
        assert key.stat().st_mode & 0o777 == 0o600
        assert sorted(p.name for p in tmp_path.iterdir()) == ["tls.crt", "tls.key"]

    def test_a_half_written_pair_is_noticed(self, tmp_path: Path) -> None:
        issuing = authority()
        spiffe = certificates.gateway_spiffe_id(TRUST_DOMAIN)
        crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        with pytest.raises(CertificateError, match="not readable"):
            certificates.load_pair(crt, key)
        certificates.write_pair(issuing.issue_workload(spiffe), crt, key)
        write_atomically(key, issuing.issue_workload(spiffe).private_key, 0o600)
        with pytest.raises(CertificateError, match="issue the pair again"):
            certificates.load_pair(crt, key)

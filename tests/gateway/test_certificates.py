"""The gateway's certificates: issued when needed, and only then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway import certificates as gateway_certificates
from gateway.configuration import GatewaySettings
from kms import certificates
from kms.certificates import CertificateError
from tests.gateway.test_bootstrap import issue, settings

ALL = ["edge-ecdsa", "edge-rsa", "gateway"]


def pair(wanted: GatewaySettings, name: str) -> certificates.Pair:
    return certificates.load_pair(wanted.certs / f"{name}.crt", wanted.certs / f"{name}.key")


class EnsureTests:
    def test_the_first_start_issues_all_and_the_second_none(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        assert issue(wanted) == ALL
        assert issue(wanted) == []
        edge = certificates.edge_names("localhost", "svc.localhost")
        for name, kind in (
            ("edge-ecdsa", ec.EllipticCurvePublicKey),
            ("edge-rsa", rsa.RSAPublicKey),
        ):
            leaf = pair(wanted, name).leaf
            assert isinstance(leaf.public_key(), kind)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert list(names) == edge
        leaf = pair(wanted, "gateway").leaf
        (identity,) = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert identity == x509.UniformResourceIdentifier("spiffe://tamarack.test/gateway")
        assert (wanted.certs.stat().st_mode & 0o777, *self.modes(wanted)) == (0o700, *[0o600] * 3)

    def modes(self, wanted: GatewaySettings) -> list[int]:
        return [(wanted.certs / f"{name}.key").stat().st_mode & 0o777 for name in ALL]

    def test_the_bundle_is_the_root_alone(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        (root,) = x509.load_pem_x509_certificates((wanted.certs / "ca.pem").read_bytes())
        assert root.issuer == root.subject
        assert (tmp_path / "ca" / "root.crt").read_bytes() == (wanted.certs / "ca.pem").read_bytes()

    def test_what_is_due_is_issued_again_and_nothing_else(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        authority = certificates.open_authority(tmp_path / "ca", "tamarack.test", bytes, bytes)
        old = authority.issue_workload(
            "spiffe://tamarack.test/gateway", now=datetime.now(UTC) - timedelta(hours=16, minutes=5)
        )
        certificates.write_pair(old, wanted.certs / "gateway.crt", wanted.certs / "gateway.key")
        kept = pair(wanted, "edge-rsa")
        assert issue(wanted) == ["gateway"]
        assert pair(wanted, "edge-rsa") == kept
        assert not certificates.due_for_renewal(pair(wanted, "gateway").leaf)

    def test_a_torn_or_missing_pair_is_issued_again(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        (wanted.certs / "edge-rsa.key").unlink()
        (wanted.certs / "gateway.crt").write_bytes((wanted.certs / "edge-ecdsa.crt").read_bytes())
        assert issue(wanted) == ["edge-rsa", "gateway"]

    def test_another_public_host_gets_other_names(self, tmp_path: Path) -> None:
        issue(settings(tmp_path))
        moved = settings(
            tmp_path, public_host="vectors.example.com", index_domain="svc.example.com"
        )
        assert issue(moved) == ["edge-ecdsa", "edge-rsa"]
        names = pair(moved, "edge-rsa").leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert "*.svc.example.com" in names.value.get_values_for_type(x509.DNSName)

    def test_another_authority_replaces_everything(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        before = (wanted.certs / "ca.pem").read_bytes()
        (tmp_path / "ca").rename(tmp_path / "ca.old")
        assert issue(wanted) == ALL
        assert (wanted.certs / "ca.pem").read_bytes() != before

    def test_a_new_issuing_ca_of_the_same_root_changes_nothing(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        for name in ("issuing.crt", "issuing.key"):
            (tmp_path / "ca" / name).unlink()
        assert issue(wanted) == []

    def test_several_processes_at_once_leave_whole_pairs(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        results: list[list[str]] = []
        threads = [Thread(target=lambda: results.append(issue(wanted))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [[], [], [], [], [], ALL]
        for name in ALL:
            pair(wanted, name)

    def test_an_authority_that_cannot_be_opened_is_not_replaced(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        (tmp_path / "ca" / "issuing.crt").write_text("damaged")
        with pytest.raises(CertificateError, match=r"issuing\.crt"):
            issue(wanted)
        assert pair(wanted, "gateway")

    def test_an_installation_uses_its_own_authority(self) -> None:
        ours = GatewaySettings.from_django()
        gateway_certificates.ensure()
        assert gateway_certificates.renew_due() == []
        root = x509.load_pem_x509_certificate((ours.home / "ca" / "root.crt").read_bytes())
        assert ours.trust_domain in root.subject.rfc4514_string()
        assert b"PRIVATE" not in (ours.home / "ca" / "issuing.key").read_bytes()

"""The built-in certificate authority: every X.509 certificate of one Tamarack instance.

    root (10 years, path length 1) -> issuing CA (1 year, path length 0) -> leaf (24 hours)

Two kinds of leaves:

- *Workload* leaves carry exactly one URI SAN, a SPIFFE id, which is the identity that peers check
  (X.509-SVID, https://spiffe.io/docs/latest/spiffe-specs/x509-svid/, sections 2 and 4.4), and the
  DNS names that gRPC clients verify. EC P-256, usable as server and as client.
- *Edge* leaves carry the public host names and addresses of the gateway and no SPIFFE id, so that
  they are never an identity inside. ECDSA P-256 or RSA 2048, usable as server only.

Extensions follow RFC 5280: basic constraints and key usage critical, subject and authority key
identifiers, random 159-bit serial numbers (4.1.2.2). Subjects of authorities and leaves always
differ: OpenSSL takes a leaf whose subject equals its issuer's for self-signed. `notBefore` lies
60 s in the past so that a clock a little behind does not refuse a new certificate.

Revocation is short life plus the authorization lists of the services: there is no CRL.

Pure library: no Django, no global state. Private CA keys are stored wrapped; the caller passes
`seal` and `unseal` (bytes -> bytes), normally a key encryption key of `kms.providers`.
"""

from __future__ import annotations

import fcntl
import ipaddress
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kms.files import write_atomically

ROOT_LIFETIME = timedelta(days=3650)
ISSUING_LIFETIME = timedelta(days=365)
LEAF_LIFETIME = timedelta(hours=24)
BACKDATE = timedelta(seconds=60)
RSA_BITS = 2048

RENEW_AT = 2 / 3
"""Share of a certificate's life after which it is renewed."""
RENEW_SPREAD = 1 / 20
"""The renewal moment of each certificate lies up to this share of its life earlier (jitter)."""

_COMMON_NAME_MAX = 64  # RFC 5280 appendix A.1, ub-common-name
_TRUST_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_PATH_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+")

Seal = Callable[[bytes], bytes]
"""Wraps (or unwraps) a private key: bytes in, bytes out."""

EdgeKey = Literal["ecdsa", "rsa"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CertificateError(Exception):
    """A certificate, key or authority can't be used; the message names it and the way out."""


def spiffe_id(trust_domain: str, *path: str) -> str:
    """`spiffe://<trust_domain>/<path...>`.

    Raises:
        ValueError: a part breaks the character rules of the SPIFFE ID specification, section 2.
    """
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        raise ValueError(
            f"trust domain {trust_domain!r} must be 1-255 of a-z 0-9 . _ -, a letter or digit first"
        )
    for segment in path:
        if not _PATH_SEGMENT.fullmatch(segment):
            raise ValueError(f"SPIFFE path segment {segment!r} may only hold A-Z a-z 0-9 . _ -")
    return "/".join((f"spiffe://{trust_domain}", *path))


def index_spiffe_id(trust_domain: str, organization: str, project: str, index: str) -> str:
    """The identity of every server of one index."""
    return spiffe_id(trust_domain, "org", organization, "project", project, "index", index)


def gateway_spiffe_id(trust_domain: str) -> str:
    """The identity of the gateway towards index servers."""
    return spiffe_id(trust_domain, "gateway")


def control_plane_spiffe_id(trust_domain: str) -> str:
    """The identity of the key service."""
    return spiffe_id(trust_domain, "control-plane")


def node_spiffe_id(trust_domain: str, node: str) -> str:
    """The identity of a worker that probes index servers on one machine."""
    return spiffe_id(trust_domain, "node", node)


@dataclass(frozen=True)
class Pair:
    """A leaf ready for a TLS stack.

    certificate: PEM, leaf first, then the issuing CA (the root is what peers already trust).
    private_key: PEM, PKCS#8, not encrypted.
    """

    certificate: bytes
    private_key: bytes

    @property
    def leaf(self) -> x509.Certificate:
        """The first certificate of the chain."""
        return x509.load_pem_x509_certificate(self.certificate)


@dataclass(frozen=True)
class Authority:
    """A CA that can sign: its certificate, its key and the certificates above it, root last."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def trust_bundle(self) -> bytes:
        """PEM of the root: all that a peer or a client has to trust."""
        root = self.above[-1] if self.above else self.certificate
        return root.public_bytes(serialization.Encoding.PEM)

    def issue_workload(
        self, spiffe: str, dns_names: Sequence[str] = (), now: datetime | None = None
    ) -> Pair:
        """A 24-hour EC P-256 leaf with one URI SAN and `dns_names`.

        The common name is the end of the SPIFFE path; nothing checks it.

        Raises:
            ValueError: `spiffe` is not a SPIFFE id with a path, or a DNS name is not ASCII.
        """
        scheme, _, rest = spiffe.partition("://")
        trust_domain, _, path = rest.partition("/")
        if scheme != "spiffe" or spiffe_id(trust_domain, *path.split("/")) != spiffe:
            raise ValueError(f"{spiffe!r} is not a SPIFFE id (spiffe://<trust domain>/<path>)")
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe)]
        names += [x509.DNSName(name) for name in dns_names]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        key = ec.generate_private_key(ec.SECP256R1())
        return self._issue(key, path[-_COMMON_NAME_MAX:], names, usages, now)

    def issue_edge(
        self, names: Sequence[x509.GeneralName], kind: EdgeKey, now: datetime | None = None
    ) -> Pair:
        """A 24-hour server leaf for the public side whose SANs are `names` (see `edge_names`).

        Raises:
            ValueError: `names` is empty.
        """
        if not names:
            raise ValueError("an edge certificate needs at least one name")
        key: PrivateKey
        if kind == "rsa":
            key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        common_name = f"edge {names[0].value}"[:_COMMON_NAME_MAX]
        return self._issue(key, common_name, names, [ExtendedKeyUsageOID.SERVER_AUTH], now)

    def _issue(
        self,
        key: PrivateKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usages: list[x509.ObjectIdentifier],
        now: datetime | None,
    ) -> Pair:
        now = now or datetime.now(UTC)
        signer_end = self.certificate.not_valid_after_utc
        if signer_end <= now:
            raise CertificateError(
                f"the issuing CA expired on {signer_end:%Y-%m-%d}: open_authority renews it"
            )
        builder = _builder(
            subject=_name(common_name),
            issuer=self.certificate.subject,
            public_key=key.public_key(),
            signer=self.private_key,
            now=now,
            end=min(now + LEAF_LIFETIME, signer_end),
        )
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                _key_usage(
                    digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPrivateKey)
                ),
                critical=True,
            )
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # Critical only beside an empty subject: verifiers built on `cryptography` insist on it.
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.private_key, hashes.SHA256())
        )
        chain = (certificate, self.certificate, *self.above[:-1])
        return Pair(
            b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


def create_root(trust_domain: str, now: datetime | None = None) -> Authority:
    """A new self-signed root: 10 years, path length 1."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _authority(f"Tamarack root {trust_domain}", key, None, ROOT_LIFETIME, 1, now)


def create_issuing(root: Authority, trust_domain: str, now: datetime | None = None) -> Authority:
    """A new issuing CA under `root`: 1 year (never longer than the root), path length 0."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Subjects of successive issuing CAs differ, or a chain could be built from the wrong one.
    name = f"Tamarack issuing {secrets.token_hex(4)} {trust_domain}"
    return _authority(name, key, root, ISSUING_LIFETIME, 0, now)


def edge_names(public_host: str, index_domain: str) -> list[x509.GeneralName]:
    """What the gateway's public certificates have to name.

    The public host and `api.<host>`, every index address `*.<index_domain>`, and the loopback names
    and addresses, which local tools use whatever the public host is. A wildcard directly under a
    top-level domain (`*.localhost`) is left out, because clients refuse it; so is one
    under an address.
    """
    names: list[x509.GeneralName] = []

    def add(name: x509.GeneralName) -> None:
        if name not in names:
            names.append(name)

    for host in (public_host, "localhost", "127.0.0.1", "::1"):
        try:
            add(x509.IPAddress(ipaddress.ip_address(host.strip("[]"))))
        except ValueError:
            add(x509.DNSName(host))
            add(x509.DNSName(f"api.{host}"))
    if "." in index_domain and not re.search(r"\.\d+$|:", index_domain):
        add(x509.DNSName(f"*.{index_domain}"))
    return names


def due_for_renewal(certificate: x509.Certificate, now: datetime | None = None) -> bool:
    """Whether two thirds of the certificate's life are over, less its own jitter of up to 5 %.

    The jitter follows from the serial number, so every caller gets the same answer and the leaves
    of many servers issued in one minute are not renewed in one minute.
    """
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    jitter = RENEW_SPREAD * (certificate.serial_number % 1000) / 1000
    return (now or datetime.now(UTC)) >= start + (end - start) * (RENEW_AT - jitter)


def open_authority(
    folder: Path, trust_domain: str, seal: Seal, unseal: Seal, now: datetime | None = None
) -> Authority:
    """The issuing CA kept in `folder`, created on first use and renewed when it is due.

    Files: `root.crt`, `root.key`, `issuing.crt`, `issuing.key`; keys are `seal`ed PKCS#8 DER. Safe
    to call from several processes at once. Renewing the issuing CA needs no new trust: leaves
    carry it, peers trust the root.

    Raises:
        CertificateError: a file is unreadable, or certificate and key do not belong together.
        Exception: whatever `unseal` raises for a key that it cannot unwrap.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        if not (folder / "root.crt").exists():
            _save_authority(folder, "root", create_root(trust_domain, now), seal)
        issuing = folder / "issuing.crt"
        if issuing.exists() and not due_for_renewal(_read_certificate(issuing), now):
            root = _read_certificate(folder / "root.crt")
            return _load_authority(folder, "issuing", unseal, above=(root,))
        authority = create_issuing(_load_authority(folder, "root", unseal), trust_domain, now)
        _save_authority(folder, "issuing", authority, seal)
        return authority


def write_pair(pair: Pair, certificate: Path, private_key: Path) -> None:
    """Write both files, each atomically: the key (0600) first, then the certificate (0644).

    A reader may see the new key beside the old certificate for an instant, or for good after
    a crash in between: `load_pair` notices.
    """
    write_atomically(private_key, pair.private_key, mode=0o600)
    write_atomically(certificate, pair.certificate, mode=0o644)


def load_pair(certificate: Path, private_key: Path) -> Pair:
    """Read a pair written by `write_pair`.

    Raises:
        CertificateError: a file is missing or damaged, or the key is not the certificate's.
    """
    try:
        pair = Pair(certificate.read_bytes(), private_key.read_bytes())
        public = serialization.load_pem_private_key(pair.private_key, None).public_key()
        matches = pair.leaf.public_key() == public
    except (OSError, ValueError) as error:
        raise CertificateError(f"{certificate} and its key are not readable: {error}") from error
    if not matches:
        raise CertificateError(
            f"{private_key} is not the key of {certificate}: issue the pair again"
        )
    return pair


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` among all processes of this machine."""
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _save_authority(folder: Path, name: str, authority: Authority, seal: Seal) -> None:
    der = authority.private_key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomically(folder / f"{name}.key", seal(der), mode=0o600)
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    write_atomically(folder / f"{name}.crt", pem, mode=0o644)


def _load_authority(
    folder: Path, name: str, unseal: Seal, above: tuple[x509.Certificate, ...] = ()
) -> Authority:
    certificate = _read_certificate(folder / f"{name}.crt")
    path = folder / f"{name}.key"
    try:
        wrapped = path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"{path} is not readable: {error}; restore it from a backup"
        ) from error
    key = serialization.load_der_private_key(unseal(wrapped), None)
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        raise CertificateError(f"{path} is not the key of {name}.crt; restore both from one backup")
    return Authority(certificate, key, above)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{path} is not readable: {error}; restore it from a backup"
        ) from error


def _authority(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    parent: Authority | None,
    lifetime: timedelta,
    path_length: int,
    now: datetime | None,
) -> Authority:
    now = now or datetime.now(UTC)
    subject = _name(common_name[:_COMMON_NAME_MAX])
    signer = parent.private_key if parent else key
    end = now + lifetime
    builder = _builder(
        subject=subject,
        issuer=parent.certificate.subject if parent else subject,
        public_key=key.public_key(),
        signer=signer,
        now=now,
        end=min(end, parent.certificate.not_valid_after_utc) if parent else end,
    )
    certificate = (
        builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=path_length), critical=True
        )
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return Authority(certificate, key, (parent.certificate, *parent.above) if parent else ())


def _builder(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )

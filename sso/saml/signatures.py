"""Whose signature it is: XML signatures inside messages, and those of query strings."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from sso.certificate_files import EC_BITS, RSA_BITS
from sso.errors import Code
from sso.models import Connection
from sso.saml import names
from sso.saml.gate import broken, shortened
from sso.saml.instants import Clock


@dataclass(frozen=True, slots=True)
class Signers:
    """The certificates of a connection: `fit` ones count, `unfit` ones only explain a refusal.

    Attributes:
        fit: PEM of each.
        unfit: PEM of each, with the reason why it does not count.
    """

    fit: tuple[str, ...]
    unfit: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, connection: Connection, clock: Clock) -> Signers:
        """Sort the connection's certificates by whether they count now."""
        fit, unfit = [], []
        for kept in connection.certificates.all():
            certificate = x509.load_pem_x509_certificate(kept.pem.encode())
            why = _unfitness(certificate, clock)
            if why:
                unfit.append((kept.pem, why))
            else:
                fit.append(kept.pem)
        return cls(tuple(fit), tuple(unfit))

    def require(self, is_signed_by: Callable[[str], bool]) -> None:
        """Refuse what none of the fit certificates (PEM) signed."""
        if any(is_signed_by(pem) for pem in self.fit):
            return
        why = next((why for pem, why in self.unfit if is_signed_by(pem)), "")
        if why:
            raise broken(
                "certificate",
                f"The signature is of a certificate that does not count: {why}. Add the identity"
                " provider's new certificate.",
                Code.CERTIFICATE,
            )
        if not self.fit:
            reasons = "; ".join(why for _, why in self.unfit) or "there is none"
            raise broken(
                "certificate",
                f"The connection has no certificate that counts: {reasons}.",
                Code.CERTIFICATE,
            )
        raise broken(
            "signature",
            "The signature is not of any certificate of the connection, or what it signs was"
            " changed.",
            Code.SIGNATURE,
        )

    def require_xml(self, root: etree._Element, xpath: str) -> None:
        """Refuse unless the one XML signature at `xpath` is good."""
        self.require(
            lambda pem: bool(OneLogin_Saml2_Utils.validate_sign(root, cert=pem, xpath=xpath))
        )

    def require_query(self, algorithm: str, signed: bytes, signature: str) -> None:
        """Refuse unless the signature (base64) of a query string is good."""
        if algorithm not in names.SIGNATURE_METHODS:
            raise broken(
                "sig-alg",
                f"The message is signed by {shortened(algorithm) or 'nothing'}. Use RSA-SHA256.",
                Code.SIGNATURE,
            )
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            raise broken("signature", "The signature is not base64.", Code.SIGNATURE) from None
        self.require(lambda pem: _is_query_signature(pem, algorithm, signed, raw))


def _unfitness(certificate: x509.Certificate, clock: Clock) -> str:
    """Why a signature by the certificate does not count now; empty: it does."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in RSA_BITS:
            return f"its RSA key has {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < EC_BITS:
            return f"its EC key has {key.key_size} bits"
    else:
        return "its key is neither RSA nor EC"
    if clock.now - clock.skew >= certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if clock.now + clock.skew < certificate.not_valid_before_utc:
        return f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    return ""


_HASHES: dict[str, type[hashes.SHA256] | type[hashes.SHA384] | type[hashes.SHA512]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


def _is_query_signature(pem: str, algorithm: str, signed: bytes, signature: bytes) -> bool:
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    method = algorithm.rpartition("#")[2]
    digest = _HASHES[method[-3:]]()
    try:
        if isinstance(key, rsa.RSAPublicKey) and method.startswith("rsa-"):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and method.startswith("ecdsa-"):
            # XML Signature writes r and s one after the other, not in DER (RFC 4050, 3.3).
            half = len(signature) // 2
            pair = (int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
            key.verify(encode_dss_signature(*pair), signed, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def signed_parts(root: etree._Element, parts: Sequence[str]) -> set[str]:
    """Those of the XPaths `parts` at which a signature stands."""
    return {part for part in parts if root.xpath(part, namespaces=names.NS)}

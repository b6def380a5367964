"""Reading certificates that people paste and identity providers publish."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from orgs.errors import InvalidArgument

MAX_TEXT = 16 * 1024
MAX_CHAIN = 10
RSA_BITS = range(2048, 16385)
EC_BITS = 256
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
_FORM = (
    "It has to be an X.509 certificate as text: from -----BEGIN CERTIFICATE----- to -----END"
    " CERTIFICATE-----, or the part between."
)


@dataclass(frozen=True, slots=True)
class ReadCertificate:
    """A certificate with a key that can be relied on.

    Attributes:
        fingerprint: SHA-256 of the DER form, in lower-case hex.
    """

    pem: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


def read_certificates(text: str, *, now: datetime) -> list[ReadCertificate]:
    """Every certificate in the text: PEM, one or several, or the base64 of one.

    Raises:
        InvalidArgument: none, too many, longer than 16 KiB, a key that is too weak, or its time is
            over.
    """
    if len(text) > MAX_TEXT:
        raise InvalidArgument(
            f"The certificate has {len(text)} characters; at most {MAX_TEXT} are read. {_FORM}"
        )
    if "PRIVATE KEY" in text:
        raise InvalidArgument(
            "This holds a private key, which nobody but the identity provider may have. Replace"
            f" that key there, and give the certificate alone. {_FORM}"
        )
    bodies = _BLOCK.findall(text) or ([] if "-----" in text else [text])
    if not 1 <= len(bodies) <= MAX_CHAIN:
        raise InvalidArgument(f"There are {len(bodies)} certificates in the text. {_FORM}")
    found = {each.fingerprint: each for each in (_read(_der(body)) for body in bodies)}
    for each in found.values():
        if each.not_after <= now:
            raise InvalidArgument(
                f"The certificate {each.fingerprint[:16]} is over since"
                f" {each.not_after:%Y-%m-%d}. Give the one that the identity provider signs with"
                " now."
            )
    return list(found.values())


def usable(pems: Iterable[str], *, now: datetime) -> list[ReadCertificate]:
    """Those of published certificates that can be relied on; all others are left out."""
    found: dict[str, ReadCertificate] = {}
    for pem in pems:
        try:
            for each in read_certificates(pem, now=now):
                found[each.fingerprint] = each
        except InvalidArgument:
            continue
    return list(found.values())[:MAX_CHAIN]


def _der(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"The certificate is no base64 text. {_FORM}") from error


def _read(der: bytes) -> ReadCertificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise InvalidArgument(f"The certificate can't be read. {_FORM}") from error
    if isinstance(key, rsa.RSAPublicKey):
        fits, kind = key.key_size in RSA_BITS, f"RSA with {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        fits, kind = key.key_size >= EC_BITS, f"EC with {key.key_size} bits"
    else:
        fits, kind = False, type(key).__name__.lstrip("_")
    if not fits:
        raise InvalidArgument(
            f"The certificate's key is {kind}; it has to be RSA with {RSA_BITS.start} bits at least"
            f" or EC with {EC_BITS}. Have the identity provider make a new one."
        )
    return ReadCertificate(
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_before=not_before,
        not_after=not_after,
    )

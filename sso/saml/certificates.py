"""Certificates of identity providers: what is taken, and what still counts."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from orgs.errors import InvalidArgument

MIN_RSA_BITS = 2048
MIN_EC_BITS = 256
MAX_CHARACTERS = 20_000
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_WHITE = re.compile(r"\s+")


def read_certificate(text: str) -> x509.Certificate:
    """One certificate in PEM, or in the base64 of metadata.

    Raises:
        InvalidArgument: it is none, there are several, or its key is too weak.
    """
    wanted = "Give one X.509 certificate in PEM, as the identity provider shows it."
    if len(text) > MAX_CHARACTERS:
        raise InvalidArgument(f"The certificate has more than {MAX_CHARACTERS} characters.")
    found = _PEM.findall(text)
    if len(found) > 1:
        raise InvalidArgument(f"These are {len(found)} certificates. Add them one by one.")
    body = found[0] if found else text
    try:
        certificate = x509.load_der_x509_certificate(
            base64.b64decode(_WHITE.sub("", body).encode("ascii"), validate=True)
        )
        problem = weakness(certificate)
        certificate.not_valid_after_utc  # noqa: B018  raises where the date is none
    except (ValueError, TypeError, binascii.Error):
        raise InvalidArgument(f"The text is not a certificate. {wanted}") from None
    except Exception as error:  # the parser has exceptions of its own for odd certificates
        if type(error).__module__.split(".")[0] != "cryptography":
            raise
        raise InvalidArgument(f"The certificate can't be used. {wanted}") from None
    if problem:
        raise InvalidArgument(
            f"The certificate's key is {problem}; it has to be RSA with at least {MIN_RSA_BITS}"
            f" bits or EC with at least {MIN_EC_BITS}. Have the identity provider sign with"
            " another one."
        )
    return certificate


def pem_of(certificate: x509.Certificate) -> str:
    """The certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def weakness(certificate: x509.Certificate) -> str:
    """What is too weak about the key, such as `RSA with 1024 bits`; empty: nothing."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "" if key.key_size >= MIN_RSA_BITS else f"RSA with {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.curve.key_size >= MIN_EC_BITS else f"EC with {key.curve.key_size} bits"
    return f"a {type(key).__name__.removesuffix('PublicKey')}, which is not for signing SAML"


def unfitness(certificate: x509.Certificate, *, now: datetime, skew: timedelta) -> str:
    """Why a signature by the certificate does not count at `now`; empty: it does."""
    problem = weakness(certificate)
    if problem:
        return f"its key is {problem}"
    if now - skew >= certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now + skew < certificate.not_valid_before_utc:
        return f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    return ""

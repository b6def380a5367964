"""A passkey in software: makes and signs what a browser would hand over (WebAuthn level 2)."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor

ORIGIN = "https://localhost:8443"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text(data: bytes) -> str:
    """Base64url without padding, as WebAuthn's JSON has bytes."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def data(encoded: str) -> bytes:
    """The inverse of `text`."""
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


@dataclass
class SoftPasskey:
    """One key pair. `verifies`: it asks for a finger or a PIN before it signs."""

    verifies: bool = True
    origin: str = ORIGIN
    rp_id: str = "localhost"
    id: bytes = field(default_factory=lambda: os.urandom(16))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    handle: str = ""

    def create(self, options: dict[str, Any], *, resident: bool = True) -> dict[str, Any]:
        """The answer to creation options: a new public key."""
        numbers = self.key.public_key().public_numbers()
        # ES256 on P-256 (RFC 9053, sections 2.1 and 7.1).
        public = cbor.encode(
            {
                1: 2,
                3: -7,
                -1: 1,
                -2: numbers.x.to_bytes(32, "big"),
                -3: numbers.y.to_bytes(32, "big"),
            }
        )
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        self.handle = options["user"]["id"]
        attestation = {
            "fmt": "none",
            "attStmt": {},
            "authData": self._authenticator_data(ATTESTED) + attested,
        }
        return self._answer(
            {
                "clientDataJSON": text(self._client_data("webauthn.create", options)),
                "attestationObject": text(cbor.encode(attestation)),
            },
            {"credProps": {"rk": resident}},
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to request options: a signature."""
        client_data = self._client_data("webauthn.get", options)
        signed = self._authenticator_data(0) + hashlib.sha256(client_data).digest()
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "authenticatorData": text(self._authenticator_data(0)),
                "clientDataJSON": text(client_data),
                "signature": text(signature),
                "userHandle": self.handle,
            },
            {},
        )

    def _authenticator_data(self, flags: int) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + bytes(4)

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        challenge = options["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _answer(self, response: dict[str, str], extensions: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": text(self.id),
            "rawId": text(self.id),
            "type": "public-key",
            "response": response,
            "clientExtensionResults": extensions,
        }

"""Believing an ID token: its form, signature and claims (OpenID Connect Core 1.0, 3.1.3.7).

The signature is always checked, though the token came straight from the provider: what stands in
the database afterwards should not hang on one TLS connection. Nothing here asks anybody anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from rest.wording import shown
from sso.errors import Code, SignInRefused

ALGORITHMS = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
}
"""What is believed, each with the kind of its key. All of them are public-key ones: never `none`,
never an HMAC, whose key would be public here.
"""
MAX_TOKEN = 48 * 1024
MAX_KEYS = 50
RSA_BITS = range(2048, 8193)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "application/jwt"})
_END_OF_TIME = 1e11

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IdToken:
    """A token of which everything was checked.

    Attributes:
        digest: SHA-256 in hex of what is signed; the signature itself can be written in several
            ways.
        ends_at: from then on it is refused for its age.
        proven_at: when the person last signed in there; None: the token does not say.
    """

    claims: Claims
    digest: str
    ends_at: datetime
    proven_at: datetime | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say.

    Attributes:
        skew: seconds by which the provider's clock may differ.
    """

    issuer: str
    client_id: str
    nonce: str
    skew: int


def verify_id_token(
    text: object, *, keys: object, expected: Expected, access_token: str, now: float
) -> IdToken:
    """The token, believed.

    Args:
        keys: the provider's JWK set as it was fetched.
        access_token: what came with it; `at_hash`, where there is one, is held to it.
        now: seconds since the epoch.

    Raises:
        SignInRefused: it is not to be believed.
    """
    if not isinstance(text, str) or not text:
        raise _malformed("The provider sent no ID token; the scope openid asks for one.")
    header, claims, signed = _parts(text)
    algorithm = _algorithm(header)
    key = _key(header, keys, algorithm)
    try:
        jwt.PyJWS().decode(text, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise SignInRefused(
            Code.SIGNATURE,
            f"The ID token's signature does not verify under the provider's key"
            f" {shown(header.get('kid'))}.",
            check="token-signature",
        ) from error
    _check_parties(claims, expected)
    ends_at = _check_time(claims, expected.skew, now)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode(), expected.nonce.encode()
    ):
        raise SignInRefused(
            Code.REPLAY,
            "The ID token's nonce is not the one of this sign-in: the token was made for another.",
            check="token-nonce",
        )
    _check_access_token(claims, access_token)
    return IdToken(
        claims=claims,
        digest=hashlib.sha256(signed).hexdigest(),
        ends_at=datetime.fromtimestamp(ends_at, tz=UTC),
        proven_at=_instant(claims.get("auth_time")),
    )


def _malformed(text: str) -> SignInRefused:
    return SignInRefused(Code.INVALID_RESPONSE, text, check="token-form")


def _parts(text: str) -> tuple[Claims, Claims, bytes]:
    """Header, claims and what is signed; nothing of it is believed yet."""
    if len(text) > MAX_TOKEN:
        raise _malformed(f"The ID token is longer than {MAX_TOKEN} characters.")
    parts = text.split(".")
    if len(parts) != 3 or not all(_BASE64URL.fullmatch(part) for part in parts):  # noqa: PLR2004
        raise _malformed("The ID token has not the form of a signed JSON Web Token.")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    return header, claims, f"{parts[0]}.{parts[1]}".encode()


def _object(part: str, what: str) -> Claims:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _malformed(f"The ID token's {what} part is not base64url of JSON.") from error
    if not isinstance(found, dict):
        raise _malformed(f"The ID token's {what} part is no JSON object.")
    return found


def _algorithm(header: Claims) -> str:
    """How it is signed. Places to get a key from (`jku`, `x5u`, `jwk`, `x5c`) are not looked at:
    the keys are the provider's alone.
    """
    algorithm, kind = header.get("alg"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise SignInRefused(
            Code.SIGNATURE,
            f"The ID token's alg is {shown(algorithm)}; believed are {', '.join(ALGORITHMS)}.",
            check="token-alg",
        )
    if "crit" in header or "b64" in header:
        raise _malformed("The ID token demands extensions (crit) that are not known here.")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise _malformed(f"The ID token's typ is {shown(kind)}; it has to be JWT, or missing.")
    return algorithm


def _key(header: Claims, document: object, algorithm: str) -> Any:
    """The provider's key that the header names; without a name, its only one of that kind."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise SignInRefused(
            Code.SIGNATURE,
            f"The provider's key set has not the form of one with at most {MAX_KEYS} keys.",
            check="key-set",
        )
    fitting = [key for key in keys if isinstance(key, dict) and _fits(key, algorithm)]
    kid = header.get("kid")
    if kid is not None:
        fitting = [key for key in fitting if key.get("kid") == kid]
    if len(fitting) != 1:
        raise SignInRefused(
            Code.SIGNATURE,
            f"The provider's key set has {len(fitting)} keys for {algorithm} that kid"
            f" {shown(kid)} stands for; it has to be one.",
            check="token-kid",
        )
    (found,) = fitting
    public = {name: found[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in found}
    try:
        key = jwt.PyJWK.from_dict(public, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise SignInRefused(
            Code.SIGNATURE,
            f"The numbers of the provider's key {shown(kid)} make no key.",
            check="key-numbers",
        ) from error
    if found["kty"] == "RSA" and key.key_size not in RSA_BITS:
        raise SignInRefused(
            Code.SIGNATURE,
            f"The provider's key {shown(kid)} has {key.key_size} bits; {RSA_BITS[0]} to"
            f" {RSA_BITS[-1]} are used.",
            check="key-size",
        )
    return key


def _fits(key: Claims, algorithm: str) -> bool:
    kind, curve = ALGORITHMS[algorithm]
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == kind
        and key.get("crv") == curve
        and key.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and key.get("alg", algorithm) == algorithm
    )


def _check_parties(claims: Claims, expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise SignInRefused(
            Code.ISSUER,
            f"The ID token's iss is {shown(claims.get('iss'))}, not {shown(expected.issuer)}.",
            check="token-iss",
        )
    audience, party = claims.get("aud"), claims.get("azp")
    audiences = audience if isinstance(audience, list) else [audience]
    parties = (expected.client_id,) if len(audiences) > 1 else (None, expected.client_id)
    if expected.client_id not in audiences or party not in parties:
        raise SignInRefused(
            Code.AUDIENCE,
            f"The ID token is for aud {shown(audience)}, azp {shown(party)}; it has to be for the"
            f" client id {shown(expected.client_id)}, and, among several, from it.",
            check="token-aud",
        )


def _check_time(claims: Claims, skew: int, now: float) -> float:
    """When it is over, skew included, in seconds since the epoch."""
    expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    begins = _seconds(claims.get("nbf", claims.get("iat")))
    if expires is None or issued is None or begins is None:
        raise _malformed("The ID token's exp and iat have to be there, and numbers; so has nbf.")
    if expires + skew <= now:
        raise SignInRefused(
            Code.EXPIRED,
            f"The ID token expired {now - expires:.0f} s ago; {skew} s are tolerated.",
            check="token-exp",
        )
    if max(issued, begins) > now + skew:
        raise SignInRefused(
            Code.CLOCK_SKEW,
            f"The ID token begins in {max(issued, begins) - now:.0f} s only; {skew} s are"
            " tolerated.",
            check="token-iat",
        )
    return expires + skew


def _instant(value: object) -> datetime | None:
    seconds = _seconds(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    # Within what a date can say.
    return number if math.isfinite(number) and 0 <= number < _END_OF_TIME else None


def _check_access_token(claims: Claims, access_token: str) -> None:
    """All algorithms here go with SHA-256 (OpenID Connect Core, 3.1.3.6)."""
    said = claims.get("at_hash")
    if said is None:
        return
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    if said != base64.urlsafe_b64encode(half).decode().rstrip("="):
        raise SignInRefused(
            Code.INVALID_RESPONSE,
            "The access token is not the one that the ID token was made with (at_hash).",
            check="token-at-hash",
        )

"""Believing another party's OpenID Connect tokens: their form, signature, claims, and keys.

Nothing here reads or writes the database. Each check is a `Step` that says how it went, so that an
exchange and the rule tester go the same way.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt

from audit.streams.https import MAX_ANSWER, send
from audit.streams.targets import DeliveryFailed
from orgs.errors import InvalidArgument
from rest.wording import shown

KEY_KINDS = {
    "RS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The signatures that are believed, each with the kind of its key. All of them are public-key ones:
never `none`, never an HMAC, whose key would be public here.
"""
MAX_TOKEN = 16 * 1024
MAX_KEYS = 50
RSA_BITS = range(2048, 8193)
LEEWAY = 60
"""Seconds by which the other party's clock may differ."""
MAX_LIFETIME = 24 * 3600
"""Seconds from `iat` to `exp`: a token for longer is no proof of who runs now."""
MAX_PATTERN = 500
MAX_CONDITIONS = 20
_PUBLIC_MEMBERS = frozenset({"kty", "kid", "alg", "crv", "n", "e", "x", "y"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_TYPES = frozenset({"jwt", "application/jwt"})
# They say who signed for whom and when, not who somebody is.
_NO_IDENTITY = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "typ"})

PUBLIC_ISSUERS: dict[str, dict[str, str]] = {
    "https://token.actions.githubusercontent.com": {
        "sub": r"repo:[^/*]+/",
        "repository": r"[^/*]+/",
        "repository_id": r"\d+$",
        "repository_owner": r"[^*]+$",
        "repository_owner_id": r"\d+$",
        "enterprise": r"[^*]+$",
        "enterprise_id": r"\d+$",
    },
    "https://gitlab.com": {
        "sub": r"project_path:[^/*]+/",
        "project_path": r"[^/*]+/",
        "project_id": r"\d+$",
        "namespace_path": r"[^/*]+(/|$)",
        "namespace_id": r"\d+$",
    },
    "https://agent.buildkite.com": {
        "sub": r"organization:[^:*]+:",
        "organization_slug": r"[^*]+$",
        "organization_id": r"[^*]+$",
    },
    "https://app.terraform.io": {
        "sub": r"organization:[^:*]+:",
        "terraform_organization_id": r"[^*]+$",
        "terraform_organization_name": r"[^*]+$",
    },
    "https://accounts.google.com": {
        "sub": r"\d+$",
        "email": r"[^*]+@[^*]+$",
        "hd": r"[^*]+$",
    },
}
"""Issuers that anybody can get a token of, and how a pattern has to begin, by claim, to name one of
their customers.
"""

Jwk = dict[str, Any]
Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One check and how it went; `text` may show what the token says."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that has a token's form. Whatever it says, anybody may have written."""

    text: str = field(repr=False)
    header: Claims
    claims: Claims

    @property
    def kid(self) -> str:
        """The name of the key; empty: it has none."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else ""


class Malformed(Exception):
    """Not a signed JSON Web Token; the text says why."""


def read(text: str) -> Unverified:
    """The token's parts, not verified.

    Raises:
        Malformed: longer than 16 KiB, or not of the form of RFC 7519 over RFC 7515.
    """
    if len(text) > MAX_TOKEN:
        raise Malformed(f"It is longer than {MAX_TOKEN} characters.")
    parts = text.split(".")
    if len(parts) != 3:  # noqa: PLR2004
        raise Malformed(f"A signed token has three parts between dots; this one has {len(parts)}.")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    if not parts[2] or _BASE64URL.fullmatch(parts[2]) is None:
        raise Malformed("It has no signature.")
    return Unverified(text=text, header=header, claims=claims)


def _object(part: str, what: str) -> dict[str, Any]:
    if _BASE64URL.fullmatch(part) is None:
        raise Malformed(f"Its {what} part is not base64url.")
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise Malformed(f"Its {what} part is not base64url of JSON.") from error
    if not isinstance(found, dict):
        raise Malformed(f"Its {what} part is no JSON object.")
    return found


def check_header(token: Unverified) -> list[Step]:
    """What the token says of its signature. Places to get a key from (`jku`, `x5u`, `jwk`, `x5c`)
    are not looked at: the keys are the issuer's alone.
    """
    algorithm, kind = token.header.get("alg"), token.header.get("typ")
    is_token = kind is None or (isinstance(kind, str) and kind.lower() in _TYPES)
    return [
        Step(
            "algorithm",
            isinstance(algorithm, str) and algorithm in KEY_KINDS,
            f"alg is {shown(algorithm)}; believed are {', '.join(KEY_KINDS)}.",
        ),
        Step("type", is_token, f"typ is {shown(kind)}; it has to be JWT, or missing."),
        Step(
            "critical",
            "crit" not in token.header,
            "The header must not name extensions (crit).",
        ),
    ]


def check_signature(token: Unverified, keys: Iterable[Jwk]) -> list[Step]:
    """Whether one of the keys of that name made the signature."""
    algorithm = str(token.header.get("alg"))
    kind, curve = KEY_KINDS.get(algorithm, ("", None))
    fitting = [
        key
        for key in keys
        if token.kid
        and key["kid"] == token.kid
        and key["kty"] == kind
        and key.get("crv") == curve
        and key.get("alg", algorithm) == algorithm
    ]
    found = Step(
        "key",
        bool(fitting),
        f"kid is {shown(token.header.get('kid'))}; the issuer"
        f" {'has' if fitting else 'has no'} key of that name for {shown(algorithm)}.",
    )
    if not fitting:
        return [found]
    ok = any(_is_signed(token, key, algorithm) for key in fitting)
    fits = "fits" if ok else "does not fit the key"
    return [found, Step("signature", ok, f"The signature {fits}.")]


def _is_signed(token: Unverified, key: Jwk, algorithm: str) -> bool:
    try:
        jwt.PyJWS(algorithms=[algorithm]).decode(
            token.text, key=jwt.PyJWK.from_dict(key, algorithm), algorithms=[algorithm]
        )
    except jwt.PyJWTError:
        return False
    return True


def check_claims(claims: Claims, *, issuer: str, audience: str, now: float) -> list[Step]:
    """Who says it, for whom, and whether its time is now. `now` in seconds since 1970."""
    given = claims.get("aud")
    audiences = given if isinstance(given, list) else [given]
    subject = claims.get("sub")
    return [
        Step(
            "issuer",
            claims.get("iss") == issuer,
            f"iss is {shown(claims.get('iss'))}; it has to be {shown(issuer)}.",
        ),
        Step(
            "audience",
            audience in audiences,
            f"aud is {shown(given)}; it has to be, or hold, {shown(audience)}.",
        ),
        Step(
            "subject",
            isinstance(subject, str) and bool(subject),
            f"sub is {shown(subject)}; it has to name somebody.",
        ),
        _check_time(claims, now),
    ]


def _check_time(claims: Claims, now: float) -> Step:
    expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    begins = _seconds(claims["nbf"]) if "nbf" in claims else -math.inf
    if expires is None or issued is None or begins is None:
        return Step("time", False, "exp and iat have to be there, and numbers; so has nbf if set.")
    if expires <= now - LEEWAY:
        return Step("time", False, f"It expired {now - expires:.0f} s ago.")
    if max(issued, begins) > now + LEEWAY:
        return Step("time", False, f"It begins in {max(issued, begins) - now:.0f} s only.")
    if expires - issued > MAX_LIFETIME:
        return Step(
            "time",
            False,
            f"It is good for {expires - issued:.0f} s; at most {MAX_LIFETIME} s are believed.",
        )
    return Step("time", True, f"It is good for another {expires - now:.0f} s.")


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def check_conditions(claims: Claims, conditions: Mapping[str, str]) -> list[Step]:
    """Whether the token meets every condition of a rule."""
    steps = []
    for name, pattern in conditions.items():
        value = claims.get(name)
        values = value if isinstance(value, list) else [value]
        ok = any(isinstance(each, str) and matches(pattern, each) for each in values)
        steps.append(
            Step(
                f"condition {name}",
                ok,
                f"{name} is {shown(value)}; it has to be, or hold, {shown(pattern)}.",
            )
        )
    return steps


def matches(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which `*` stands for any characters or none.

    Takes time in proportion to the text, whatever the pattern.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    place, end = len(first), len(text) - len(last)
    if place > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def checked_conditions(issuer: str, conditions: Mapping[str, str]) -> dict[str, str]:
    """The conditions, where they say who is let in.

    Raises:
        InvalidArgument: none that says it, one that everybody meets, or too many or too long ones.
    """
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidArgument(
            f"A rule has at most {MAX_CONDITIONS} conditions, not {len(conditions)}."
        )
    for name, pattern in conditions.items():
        if not name or len(name) > MAX_PATTERN or not 1 <= len(pattern) <= MAX_PATTERN:
            raise InvalidArgument(
                f"The condition {shown(name)} has to have a name and a pattern of 1 to"
                f" {MAX_PATTERN} characters."
            )
        if not pattern.strip("*"):
            raise InvalidArgument(
                f"The condition {shown(name)} is met by everybody: {shown(pattern)} stands for any"
                " text. Say which text it has to be, or leave the condition out."
            )
    if not conditions.keys() - _NO_IDENTITY:
        raise InvalidArgument(
            "A rule needs at least one condition on a claim that says who somebody is, such as sub:"
            " without one it would let in everybody that the issuer gives tokens to."
        )
    customers = PUBLIC_ISSUERS.get(issuer.rstrip("/"))
    if customers is not None and not any(
        name in customers and re.match(customers[name], pattern)
        for name, pattern in conditions.items()
    ):
        raise InvalidArgument(
            f"Anybody can get a token of {issuer}: one condition has to name your own account"
            f" there, by one of {', '.join(customers)}, without * up to its end."
        )
    return dict(conditions)


def public_keys(document: object, *, strict: bool) -> dict[str, list[Jwk]]:
    """The keys of a JWK set that can be used here, without what is not needed of them.

    Args:
        strict: refuse what can't be used, as in a set that a person gives; else leave it out, as
            in one that is fetched, which may hold keys for other purposes.

    Raises:
        InvalidArgument: no JWK set (RFC 7517), more than 50 keys, none that can be used, or, where
            strict, one that can't.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise InvalidArgument('A JWK set has the form {"keys": [{…}, …]}.')
    if len(keys) > MAX_KEYS:
        raise InvalidArgument(f"A JWK set has at most {MAX_KEYS} keys here, not {len(keys)}.")
    usable = []
    for key in keys:
        problem = _problem(key)
        if not problem:
            usable.append({name: key[name] for name in sorted(_PUBLIC_MEMBERS & key.keys())})
        elif strict:
            raise InvalidArgument(f"The key {shown(key.get('kid'))} can't be used: {problem}")
    if not usable:
        raise InvalidArgument(
            f"The JWK set holds no key with a kid for {', '.join(KEY_KINDS)} signatures."
        )
    return {"keys": usable}


def _problem(key: Jwk) -> str:
    """Why the key can't be used; empty: it can."""
    kid, operations = key.get("kid"), key.get("key_ops", ["verify"])
    algorithm = next(
        (
            name
            for name, (kind, curve) in KEY_KINDS.items()
            if key.get("kty") == kind and key.get("crv") == curve
        ),
        None,
    )
    for_signatures = (
        key.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )
    problems = (
        (
            bool(_PRIVATE_MEMBERS & key.keys()),
            "it is a private or shared one. Give the public one, and replace this one.",
        ),
        (not isinstance(kid, str) or not kid, "it has no kid."),
        # Among what isn't printable is what no database keeps.
        (
            not all(
                isinstance(key[name], str) and key[name].isprintable()
                for name in _PUBLIC_MEMBERS & key.keys()
            ),
            "its kid and numbers have to be printable text.",
        ),
        (not for_signatures, "it is not for signatures."),
        (
            algorithm is None or key.get("alg", algorithm) != algorithm,
            f"it is not for one of {', '.join(KEY_KINDS)}.",
        ),
    )
    found = next((text for wrong, text in problems if wrong), "")
    return found or _wrong_numbers(key, str(algorithm))


def _wrong_numbers(key: Jwk, algorithm: str) -> str:
    try:
        made = jwt.PyJWK.from_dict(key, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return "its numbers make no key."
    if algorithm == "RS256" and made.key_size not in RSA_BITS:
        return f"it has {made.key_size} bits; {RSA_BITS[0]} to {RSA_BITS[-1]} are used."
    return ""


class Unfetched(Exception):
    """The issuer's keys could not be had; the text says why, for the organization's people."""


def fetch_keys(*, issuer: str, jwks_uri: str) -> dict[str, list[Jwk]]:
    """The issuer's keys, from `jwks_uri` or, where that is empty, from where its discovery document
    says.

    Over TLS with a certificate to trust, from public addresses unless the operator allows others,
    without following redirects, at most 64 KiB, in at most 20 s each.

    Raises:
        Unfetched: they can't be had or used.
    """
    if not jwks_uri:
        place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = _fetch(place)
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise Unfetched(f"{place} does not speak for the issuer {issuer}.")
        jwks_uri = str(document.get("jwks_uri"))
        try:
            check_https(jwks_uri, "jwks_uri")
        except InvalidArgument as error:
            raise Unfetched(f"{place}: {error.message}") from error
    try:
        return public_keys(_fetch(jwks_uri), strict=False)
    except InvalidArgument as error:
        raise Unfetched(f"{jwks_uri}: {error.message}") from error


def _fetch(url: str) -> object:
    headers = {"Host": urlsplit(url).netloc, "Accept": "application/json"}
    try:
        answer = send("GET", url, headers=headers, body=b"")
    except DeliveryFailed as error:
        raise Unfetched(str(error)) from error
    if answer.status != 200:  # noqa: PLR2004
        raise Unfetched(f"{url} answered {answer.status}; it has to be 200, without a redirect.")
    if len(answer.body) >= MAX_ANSWER:
        raise Unfetched(f"{url} answered more than {MAX_ANSWER} bytes.")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Unfetched(f"{url} answered no JSON.") from error


def check_https(url: str, what: str) -> str:
    """The address, where it has the form of one that may be fetched.

    Where it leads is checked when it is fetched.

    Raises:
        InvalidArgument: not https, or with user, password or fragment.
    """
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if (
        parts.scheme != "https"
        or not parts.hostname
        or not port_fits
        or parts.username is not None
        or parts.fragment
        or re.fullmatch(r"[!-~]+", url) is None
    ):
        raise InvalidArgument(
            f"{what} {shown(url)} has to be an address such as https://id.example.com/keys: https,"
            " without user, password and fragment, in ASCII."
        )
    return url

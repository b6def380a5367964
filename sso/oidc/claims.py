"""Who the claims of a believed ID token speak of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rest.wording import shown
from sso.errors import Code, SignInRefused
from sso.models import Connection

USUAL = {
    "email": "email",
    "uid": "sub",
    "name": "name",
    "first_name": "given_name",
    "last_name": "family_name",
    "groups": "groups",
    "roles": "roles",
}
"""The claims that are read where the connection names no others."""
MAX_UID = 256
MAX_EMAIL = 254
MAX_NAME = 200
MAX_VALUES = 1000
MAX_VALUE = 256
MAX_SHOWN = 100
_ADDRESS = re.compile(r"[!-?A-~]+@[!-?A-~]+")
# They say how the token was made, not who somebody is.
_NO_PERSON = frozenset(
    {"iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "jti", "at_hash", "c_hash", "s_hash"}
)

Claims = Mapping[str, Any]


def person_of(claims: Claims, connection: Connection) -> dict[str, Any]:
    """What of it goes into a `VerifiedAssertion`: `uid`, `email`, `name`, `groups`, `roles`,
    `attributes`.

    Raises:
        SignInRefused: it lacks what has to be there, or is not to be relied on.
    """
    names = {**USUAL, **connection.attribute_map}
    return {
        "uid": _uid(claims, names["uid"]),
        "email": _email(claims, names["email"]),
        "name": _name(claims, names),
        "groups": _values(claims, names["groups"], connection),
        "roles": _values(claims, names["roles"], connection),
        "attributes": _attributes(claims),
    }


def _uid(claims: Claims, name: str) -> str:
    uid = claims.get(name)
    if not isinstance(uid, str) or not 0 < len(uid) <= MAX_UID or not uid.isprintable():
        raise SignInRefused(
            Code.NO_STABLE_ID,
            f"The claim {shown(name)} is {shown(uid)}; it has to be text of 1 to {MAX_UID}"
            " printable characters that stands for the person for good.",
            check="claim-uid",
        )
    return uid


def _email(claims: Claims, name: str) -> str:
    """The address.

    Providers that say nothing of `email_verified` are believed: the caller takes addresses of
    domains alone that the organization has proven to own, and it chose this provider for them. One
    that says the address is not verified says that anybody may have typed it in.
    """
    email = claims.get(name)
    if not isinstance(email, str) or not email:
        raise SignInRefused(
            Code.NO_EMAIL,
            f"The claim {shown(name)} is {shown(email)}; it has to be the e-mail address."
            " Release it to this client, or map the claim that holds it.",
            check="claim-email",
        )
    if len(email) > MAX_EMAIL or _ADDRESS.fullmatch(email) is None:
        raise SignInRefused(
            Code.NO_EMAIL,
            f"The claim {shown(name)} is {shown(email)}; it has to be one e-mail address in ASCII.",
            check="claim-email",
        )
    verified = claims.get("email_verified")
    # Some providers write it as text.
    if verified is not None and verified is not True and verified != "true":
        raise SignInRefused(
            Code.NO_EMAIL,
            f"The provider says email_verified {shown(verified)}: the person has to verify the"
            " address there first.",
            check="claim-email-verified",
        )
    return email.lower()


def _name(claims: Claims, names: Mapping[str, str]) -> str:
    parts = [claims.get(names["first_name"]), claims.get(names["last_name"])]
    whole = claims.get(names["name"]) or " ".join(str(part) for part in parts if part)
    return _printable(whole)[:MAX_NAME].strip() if isinstance(whole, str) else ""


def _values(claims: Claims, name: str, connection: Connection) -> tuple[str, ...]:
    """The texts of a claim that is one text or a list of them.

    Raises:
        SignInRefused: they were not all sent though roles hang on them: a provider that leaves some
            out must not take anybody's roles away.
    """
    found = claims.get(name)
    elsewhere = claims.get("_claim_names")
    if (
        found is None
        and isinstance(elsewhere, Mapping)
        and name in elsewhere
        and connection.roles_mode != Connection.RolesMode.DEFAULT
    ):
        raise SignInRefused(
            Code.NO_ROLES,
            f"The provider does not send {shown(name)} itself (_claim_names), as Entra ID does not"
            " for people of more than 200 groups. Let it send the groups of this application only.",
            check="claim-overage",
        )
    listed = found if isinstance(found, list) else [found]
    if len(listed) > MAX_VALUES:
        raise SignInRefused(
            Code.INVALID_RESPONSE,
            f"The claim {shown(name)} has {len(listed)} values; at most {MAX_VALUES} are read."
            " Let the provider send fewer.",
            check="claim-values",
        )
    return tuple(
        value
        for value in listed
        if isinstance(value, str) and 0 < len(value) <= MAX_VALUE and value.isprintable()
    )


def _attributes(claims: Claims) -> dict[str, list[str]]:
    """Everything it says of the person, cut to what a page can show."""
    said = [(name, value) for name, value in claims.items() if name not in _NO_PERSON]
    return {
        _printable(name): [
            _printable(each if isinstance(each, str) else json.dumps(each))
            for each in (value if isinstance(value, list) else [value])[:MAX_SHOWN]
        ]
        for name, value in said[:MAX_SHOWN]
    }


def _printable(text: str) -> str:
    """Without what no database keeps and no page shows."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:MAX_VALUE])

"""Who the assertion is about: identifiers, attributes and what they are mapped to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from lxml import etree

from sso.errors import Code
from sso.models import Connection
from sso.saml import names
from sso.saml.gate import broken, elements, shortened

MAX_UID = 256
MAX_EMAIL = 254
MAX_NAME = 200
MAX_ATTRIBUTES = 200
MAX_VALUES = 2000
MAX_VALUE = 4096

_CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_MICROSOFT = "http://schemas.microsoft.com"
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "email": (
        "email",
        "mail",
        "emailAddress",
        "urn:oid:0.9.2342.19200300.100.1.3",
        f"{_CLAIMS}/emailaddress",
    ),
    "name": (
        "displayName",
        "name",
        "urn:oid:2.16.840.1.113730.3.1.241",
        f"{_MICROSOFT}/identity/claims/displayname",
        "cn",
        "urn:oid:2.5.4.3",
    ),
    "first_name": ("firstName", "givenName", "urn:oid:2.5.4.42", f"{_CLAIMS}/givenname"),
    "last_name": ("lastName", "surname", "sn", "urn:oid:2.5.4.4", f"{_CLAIMS}/surname"),
    "groups": ("groups", f"{_MICROSOFT}/ws/2008/06/identity/claims/groups", "memberOf"),
    "roles": ("roles", f"{_MICROSOFT}/ws/2008/06/identity/claims/role"),
}
"""Where identity providers put things, the likeliest first; `attribute_map` overrides each."""

_WHITE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Subject:
    """The person, as `sso.identities.VerifiedAssertion` describes the fields."""

    uid: str
    email: str
    name: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    attributes: dict[str, list[str]]
    name_id: str
    name_id_format: str


def read_subject(connection: Connection, assertion: etree._Element) -> Subject:
    """The person that the assertion is about, by the connection's attribute map."""
    attributes = _attributes(assertion)
    name_id, name_format = _name_id(connection, assertion)
    mapped = {
        key: _values(connection.attribute_map, key, attributes) for key in ("uid", *USUAL_NAMES)
    }
    return Subject(
        uid=_uid(connection, mapped["uid"], name_id, name_format),
        email=_email(mapped["email"], name_id, name_format),
        name=_name(mapped),
        groups=tuple(mapped["groups"]),
        roles=tuple(mapped["roles"]),
        attributes=attributes,
        name_id=name_id,
        name_id_format=name_format,
    )


def _values(
    attribute_map: Mapping[str, str], key: str, attributes: Mapping[str, list[str]]
) -> list[str]:
    chosen = attribute_map.get(key)
    candidates = (chosen,) if chosen else USUAL_NAMES.get(key, ())
    return next((attributes[name] for name in candidates if attributes.get(name)), [])


def _attributes(assertion: etree._Element) -> dict[str, list[str]]:
    """Name to values, stripped and without empty ones; a nested NameID counts as its text."""
    if elements(assertion, ".//saml:EncryptedAttribute"):
        raise broken("encryption", "An attribute is encrypted; only whole assertions are read.")
    found: dict[str, list[str]] = {}
    for attribute in elements(assertion, "saml:AttributeStatement/saml:Attribute"):
        name = attribute.get("Name", "")
        if name in found:
            raise broken(
                "duplicate-attribute", f"The attribute {shortened(name)} stands there twice."
            )
        texts = [
            text.strip()
            for value in elements(attribute, "saml:AttributeValue")
            for text in _texts(value)
        ]
        found[name] = [text for text in texts if text]
    every = list(found) + [value for values in found.values() for value in values]
    if len(found) > MAX_ATTRIBUTES or len(every) > MAX_VALUES:
        raise broken(
            "attributes",
            f"The assertion has more than {MAX_ATTRIBUTES} attributes or {MAX_VALUES} values."
            " Have the identity provider send only what is needed.",
        )
    if any(len(text) > MAX_VALUE for text in every):
        raise broken("attributes", f"An attribute has more than {MAX_VALUE} characters.")
    return found


def _texts(value: etree._Element) -> list[str]:
    if len(value):
        return [each.text or "" for each in elements(value, "saml:NameID") if not len(each)]
    return [value.text or ""]


def _name_id(connection: Connection, assertion: etree._Element) -> tuple[str, str]:
    """NameID and its format; both empty if there is none."""
    found = elements(assertion, "saml:Subject/saml:NameID")
    if not found:
        return "", ""
    if len(found) > 1 or len(found[0]):
        raise broken("nameid", "The subject has not exactly one NameID of plain text.")
    qualifier = found[0].get("SPNameQualifier")
    if qualifier is not None and qualifier != connection.sp_entity_id:
        raise broken("nameid", f"The NameID was made for {shortened(qualifier)}.", Code.AUDIENCE)
    value, name_format = (found[0].text or "").strip(), found[0].get("Format", "")
    if len(value) > MAX_UID or len(name_format) > MAX_UID or not _is_plain(value):
        raise broken(
            "nameid",
            f"NameID has more than {MAX_UID} characters or such that can't be shown.",
            Code.NO_STABLE_ID,
        )
    return value, name_format


def _uid(connection: Connection, mapped: list[str], name_id: str, name_format: str) -> str:
    if "uid" in connection.attribute_map:
        attribute = shortened(connection.attribute_map["uid"])
        if len(set(mapped)) != 1:
            raise broken(
                "uid",
                f"The attribute {attribute} has {len(set(mapped))} values; it has to have one.",
                Code.NO_STABLE_ID,
            )
        uid = mapped[0]
    else:
        if name_format == names.TRANSIENT_FORMAT:
            raise broken(
                "nameid-transient",
                "NameID is transient: it changes at every sign-in. Have the identity provider send"
                " a persistent one, or map an attribute to uid.",
                Code.NO_STABLE_ID,
            )
        # Addresses come in changing case; everything else means what it says.
        uid = name_id.lower() if name_format == names.EMAIL_FORMAT else name_id
    if not 1 <= len(uid) <= MAX_UID or not _is_plain(uid):
        raise broken(
            "uid",
            f"The identifier has {len(uid)} characters, of 1 to {MAX_UID}, or such that can't be"
            " shown.",
            Code.NO_STABLE_ID,
        )
    return uid


def _email(mapped: list[str], name_id: str, name_format: str) -> str:
    told = {value.lower() for value in mapped}
    if not told and name_format == names.EMAIL_FORMAT and name_id:
        told = {name_id.lower()}
    if not told:
        raise broken(
            "email",
            "The assertion has no e-mail address. Have the identity provider send an attribute"
            " `email`, or map the one that it sends.",
            Code.NO_EMAIL,
        )
    if len(told) > 1:
        raise broken(
            "email",
            f"The assertion has {len(told)} e-mail addresses. Map an attribute that has one.",
            Code.NO_EMAIL,
        )
    email = told.pop()
    try:
        if len(email) > MAX_EMAIL or not email.isascii() or email.count("@") != 1:
            raise ValidationError("")
        validate_email(email)
    except ValidationError:
        raise broken(
            "email", f"{shortened(email)!r} is not one ASCII e-mail address.", Code.NO_EMAIL
        ) from None
    return email


def _name(mapped: Mapping[str, list[str]]) -> str:
    """What the person is called: on one line, printable, 200 characters at most."""
    parts = [mapped["name"][0]] if mapped["name"] else []
    if not parts:
        parts = [mapped[key][0] for key in ("first_name", "last_name") if mapped[key]]
    text = _WHITE.sub(" ", " ".join(parts))
    shown = "".join(each for each in text if not _is_hidden(each))
    return " ".join(shown.split())[:MAX_NAME].strip()


def _is_plain(text: str) -> bool:
    return not any(_is_hidden(each) for each in text)


def _is_hidden(character: str) -> bool:
    """Control, format, private and unassigned characters (Unicode categories C*)."""
    return unicodedata.category(character).startswith("C")

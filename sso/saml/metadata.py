"""Metadata: ours for identity providers, and what theirs says."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from lxml import etree

from orgs.errors import InvalidArgument
from rest.wording import shown
from sso.models import Connection, SpKey
from sso.saml import names
from sso.saml.gate import elements

MAX_BYTES = 1024 * 1024
MAX_ENTITIES = 5000
MAX_CERTIFICATES = 10
MAX_ENTITY_ID = 1024
MAX_URL = 2048
_DTD = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
_NAME_ID_FORMATS = (names.EMAIL_FORMAT, names.PERSISTENT_FORMAT, names.UNSPECIFIED_FORMAT)
"""The first is what some identity providers send; the address is what people are found by."""


@dataclass(frozen=True, slots=True)
class IdpMetadata:
    """What an identity provider says of itself.

    Attributes:
        sso_url, slo_url: https addresses for the HTTP-Redirect binding; `slo_url` may be empty.
        certificates: PEM of each that it signs with, at most 10. Whether they can be relied on is
            the caller's question.
    """

    entity_id: str
    sso_url: str
    slo_url: str
    certificates: tuple[str, ...]


def sp_metadata(connection: Connection) -> bytes:
    """What the identity provider has to know of us, as XML.

    With the certificates of the current and the next key, so that an identity provider that reads
    it in time changes keys without a gap. Without an end of validity: who imports it once has to be
    able to keep it.
    """
    root = etree.Element(f"{{{names.MD}}}EntityDescriptor", nsmap={"md": names.MD, "ds": names.DS})
    root.set("entityID", connection.sp_entity_id)
    root.set("cacheDuration", "P1D")
    role = etree.SubElement(root, f"{{{names.MD}}}SPSSODescriptor")
    role.set("protocolSupportEnumeration", names.SAMLP)
    role.set("AuthnRequestsSigned", _truth(connection.signs_requests))
    wants = connection.signed_part != Connection.SignedPart.RESPONSE
    role.set("WantAssertionsSigned", _truth(wants))
    keys = {key.state: key for key in connection.sp_keys.all()}
    shown_keys = [keys[each] for each in (SpKey.State.CURRENT, SpKey.State.NEXT) if each in keys]
    for use in ("signing", "encryption"):
        for key in shown_keys:
            descriptor = etree.SubElement(role, f"{{{names.MD}}}KeyDescriptor", use=use)
            info = etree.SubElement(descriptor, f"{{{names.DS}}}KeyInfo")
            data = etree.SubElement(info, f"{{{names.DS}}}X509Data")
            certificate = etree.SubElement(data, f"{{{names.DS}}}X509Certificate")
            lines = key.certificate_pem.splitlines()
            certificate.text = "".join(line for line in lines if "-----" not in line)
    for binding in (names.REDIRECT_BINDING, names.POST_BINDING):
        etree.SubElement(
            role,
            f"{{{names.MD}}}SingleLogoutService",
            Binding=binding,
            Location=connection.sls_url,
        )
    for name_id_format in _NAME_ID_FORMATS:
        etree.SubElement(role, f"{{{names.MD}}}NameIDFormat").text = name_id_format
    etree.SubElement(
        role,
        f"{{{names.MD}}}AssertionConsumerService",
        Binding=names.POST_BINDING,
        Location=connection.acs_url,
        index="0",
        isDefault="true",
    )
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def parse_idp_metadata(xml: bytes, *, entity_id: str = "") -> IdpMetadata:
    """What the metadata of an identity provider says.

    Its signature is not looked at: it is believed because of where it comes from. Nothing that it
    names is fetched.

    Args:
        xml: at most 1 MiB, UTF-8, without a document type.
        entity_id: which one is meant; needed only where several are described.

    Raises:
        InvalidArgument: it can't be understood, or lacks what is needed.
    """
    found = _descriptors(_parsed(xml))
    if entity_id:
        found = [each for each in found if each.get("entityID") == entity_id]
        if not found:
            raise InvalidArgument(
                f"The metadata does not describe the identity provider {shown(entity_id)}."
            )
    if len(found) != 1:
        some = ", ".join(shown(each.get("entityID", "")) for each in found[:5])
        raise InvalidArgument(
            f"The metadata describes {len(found)} identity providers ({some}). Say which one is"
            " meant by its entity ID."
        )
    name = found[0].get("entityID", "").strip()
    if not 1 <= len(name) <= MAX_ENTITY_ID or not name.isprintable():
        raise InvalidArgument(
            f"The entity ID has to have 1 to {MAX_ENTITY_ID} printable characters."
        )
    role = elements(found[0], f"md:IDPSSODescriptor[{_SPEAKS_SAML_2}]")[0]
    sso_url = _location(role, "SingleSignOnService")
    if not sso_url:
        raise InvalidArgument(
            f"The identity provider {shown(name)} has no https address for the HTTP-Redirect"
            " binding, by which people are sent there. Switch that binding on."
        )
    return IdpMetadata(
        entity_id=name,
        sso_url=sso_url,
        slo_url=_location(role, "SingleLogoutService"),
        certificates=_certificates(role, name),
    )


_SPEAKS_SAML_2 = f"contains(concat(' ', @protocolSupportEnumeration, ' '), ' {names.SAMLP} ')"


def _parsed(xml: bytes) -> etree._Element:
    wanted = "Give the metadata XML that the identity provider publishes."
    if len(xml) > MAX_BYTES:
        raise InvalidArgument(
            f"The metadata has {len(xml)} bytes; at most {MAX_BYTES} are read. Give the part of"
            " your identity provider alone."
        )
    if b"\0" in xml or _DTD.search(xml):
        raise InvalidArgument(
            f"The metadata has a document type, entities or NUL bytes, which are not read. {wanted}"
        )
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root: etree._Element = etree.fromstring(xml.strip(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidArgument(
            f"The metadata is not well-formed XML ({shown(error)}). {wanted}"
        ) from None
    info = root.getroottree().docinfo
    if info.internalDTD is not None or (info.encoding or "utf-8").lower() not in {
        "utf-8",
        "us-ascii",
        "ascii",
    }:
        raise InvalidArgument(f"The metadata is not plain UTF-8. {wanted}")
    return root


def _descriptors(root: etree._Element) -> list[etree._Element]:
    every = elements(root, "descendant-or-self::md:EntityDescriptor")
    if len(every) > MAX_ENTITIES:
        raise InvalidArgument(
            f"The metadata describes more than {MAX_ENTITIES} entities. Give the part of your"
            " identity provider alone."
        )
    found = [each for each in every if elements(each, f"md:IDPSSODescriptor[{_SPEAKS_SAML_2}]")]
    if not found:
        raise InvalidArgument(
            "The metadata does not describe an identity provider that speaks SAML 2.0"
            " (IDPSSODescriptor). Take care not to give a service provider's."
        )
    return found


def _location(role: etree._Element, service: str) -> str:
    """The first https address of the service for HTTP-Redirect; empty: there is none."""
    for each in elements(role, f"md:{service}[@Binding='{names.REDIRECT_BINDING}']"):
        url = each.get("Location", "").strip()
        try:
            parts = urlsplit(url)
            is_good = parts.scheme == "https" and bool(parts.hostname)
        except ValueError:
            continue
        if is_good and len(url) <= MAX_URL and url.isascii() and url.isprintable():
            return url.partition("#")[0]
    return ""


def _certificates(role: etree._Element, name: str) -> tuple[str, ...]:
    path = "md:KeyDescriptor[not(@use) or @use='signing']//ds:X509Certificate"
    found: dict[str, None] = {}
    for each in elements(role, path)[:MAX_CERTIFICATES]:
        try:
            der = base64.b64decode("".join((each.text or "").split()), validate=True)
            read = x509.load_der_x509_certificate(der)
        except (binascii.Error, ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm):
            continue
        found[read.public_bytes(serialization.Encoding.PEM).decode()] = None
    if not found:
        raise InvalidArgument(
            f"The metadata of {shown(name)} has no signing certificate (KeyDescriptor)."
        )
    return tuple(found)


def _truth(value: bool) -> str:
    return "true" if value else "false"

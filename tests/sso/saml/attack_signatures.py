"""Signatures that are missing, of the wrong key, by weak means, or over something else."""

from __future__ import annotations

import base64
import hashlib
from copy import deepcopy

import xmlsec
from lxml import etree
from xmlsec import constants

from sso.errors import Code
from sso.models import Connection
from tests.sso import idp
from tests.sso.idp import DS, SAMLP
from tests.sso.saml.attack_tools import (
    VICTIM,
    Build,
    Case,
    Scene,
    change,
    drop_signature,
    impersonate,
    put_in_extensions,
    remove,
    sealed,
    without_signature,
)


def stripped(scene: Scene) -> etree._Element:
    """Once signed, not any more."""
    root = scene.signed()
    drop_signature(idp.assertion_of(root))
    return impersonate(root)


def empty_signature(scene: Scene) -> etree._Element:
    """A Signature with nothing in it."""
    root = scene.build(VICTIM)
    idp.find(root, "saml:Assertion/saml:Issuer").addnext(etree.Element(f"{{{DS}}}Signature"))
    return root


def hmac(scene: Scene) -> etree._Element:
    """HMAC with the bytes of the provider's certificate, which everybody knows, as the key."""
    root = scene.build(VICTIM)
    assertion = idp.assertion_of(root)
    signature = idp.signature_for(
        assertion, algorithm=constants.TransformHmacSha256.href, key_info=False
    )
    idp.find(assertion, "saml:Issuer").addnext(signature)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_binary_data(
        constants.KeyDataHmac, idp.pair().certificate.encode()
    )
    xmlsec.tree.add_ids(root, ["ID"])
    context.sign(signature)
    return idp.reparse(root)


def two_references(scene: Scene) -> etree._Element:
    """One signature over the assertion and the response."""
    root = scene.build()
    assertion = idp.assertion_of(root)
    signature = idp.signature_for(assertion)
    idp.find(assertion, "saml:Issuer").addnext(signature)
    second = xmlsec.template.add_reference(
        signature, constants.TransformSha256, uri=f"#{root.get('ID')}"
    )
    xmlsec.template.add_transform(second, constants.TransformEnveloped)
    xmlsec.template.add_transform(second, constants.TransformExclC14N)
    idp.sign_in_place(signature, idp.pair())
    return idp.reparse(root)


def second_signed_info(scene: Scene) -> etree._Element:
    """Two SignedInfo, the second over something else (CVE-2025-29775)."""
    root = scene.signed()
    first = idp.find(root, "//ds:SignedInfo")
    second = deepcopy(first)
    idp.find(second, ".//ds:DigestValue").text = base64.b64encode(b"0" * 32).decode()
    first.addnext(second)
    return root


def smuggled_digest(scene: Scene) -> etree._Element:
    """A Reference of the attacker's, with the digest of what he made, in StatusDetail
    (CVE-2024-45409).
    """
    root = scene.signed()
    reference = deepcopy(idp.find(root, "//ds:Reference"))
    evil = impersonate(idp.assertion_of(root))
    canonical = etree.tostring(without_signature(evil), method="c14n", exclusive=True)
    digest = base64.b64encode(hashlib.sha256(canonical).digest()).decode()
    idp.find(reference, "ds:DigestValue").text = digest
    detail = etree.SubElement(idp.find(root, "samlp:Status"), f"{{{SAMLP}}}StatusDetail")
    detail.append(reference)
    return root


def empty_digest(scene: Scene) -> etree._Element:
    """A namespace that can't be canonicalized, and the digest of nothing (CVE-2025-66568)."""
    root = idp.reparse(
        etree.fromstring(
            etree.tostring(scene.build(VICTIM)).replace(
                b"<saml:Assertion ", b'<saml:Assertion xmlns:r="relative" ', 1
            )
        )
    )
    assertion = idp.assertion_of(root)
    idp.find(assertion, ".//saml:AttributeValue").append(etree.Element("{relative}x"))
    signature = idp.signature_for(assertion, key_info=False)
    idp.find(assertion, "saml:Issuer").addnext(signature)
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    idp.find(signature, ".//ds:DigestValue").text = empty
    idp.find(signature, ".//ds:SignatureValue").text = base64.b64encode(b"1" * 256).decode()
    return idp.reparse(root)


def two_signatures(scene: Scene) -> etree._Element:
    """Two signatures in one element."""
    root = scene.signed()
    signature = idp.find(root, "//ds:Signature")
    signature.addnext(deepcopy(signature))
    return root


XSLT = f"""<ds:Transform xmlns:ds="{DS}" Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116">
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:template match="/"><xsl:for-each select="//*"><xsl:for-each select="//*">
<xsl:for-each select="//*"><xsl:value-of select="."/></xsl:for-each></xsl:for-each></xsl:for-each>
</xsl:template></xsl:stylesheet></ds:Transform>"""


def add_transform(root: etree._Element, xml: str) -> etree._Element:
    """A transform before the others."""
    idp.find(root, "//ds:Transforms").insert(0, etree.fromstring(xml))
    return root


def xslt(scene: Scene) -> etree._Element:
    """An XSLT transform, which must not be executed."""
    return add_transform(impersonate(scene.signed()), XSLT)


def xslt_sealed(scene: Scene) -> etree._Element:
    """The same where nobody sees it before it is decrypted."""
    return sealed(add_transform(impersonate(scene.signed()), XSLT))


XPATH = f"""<ds:Transform xmlns:ds="{DS}" Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116">
<ds:XPath>not(//*[//*[//*]])</ds:XPath></ds:Transform>"""


def duplicate_id(scene: Scene) -> etree._Element:
    """The response has the assertion's ID."""
    root = scene.signed()
    root.set("ID", idp.assertion_of(root).get("ID", ""))
    return root


def duplicate_xml_id(scene: Scene) -> etree._Element:
    """`xml:id` counts as an ID for libxml2."""
    root = scene.signed()
    detail = etree.SubElement(idp.find(root, "samlp:Status"), f"{{{SAMLP}}}StatusDetail")
    other = etree.SubElement(detail, "other")
    other.set("{http://www.w3.org/XML/1998/namespace}id", idp.assertion_of(root).get("ID", ""))
    return root


def set_reference(uri: str) -> Build:
    """Signed by the provider with a Reference to something else."""

    def build(scene: Scene) -> etree._Element:
        root = scene.build()
        assertion = idp.assertion_of(root)
        signature = idp.signature_for(assertion)
        idp.find(signature, ".//ds:Reference").set("URI", uri)
        idp.find(assertion, "saml:Issuer").addnext(signature)
        idp.sign_in_place(signature, idp.pair())
        return idp.reparse(root)

    return build


def empty_ids(scene: Scene) -> etree._Element:
    """The assertion's ID is empty, and the signature refers to nothing."""
    root = scene.signed()
    idp.assertion_of(root).set("ID", "")
    idp.find(root, "//ds:Reference").set("URI", "#")
    return root


def success_inside(element: etree._Element) -> None:
    """Refused, with success only as the second code."""
    element.set("Value", idp.RESPONDER)
    etree.SubElement(element, f"{{{SAMLP}}}StatusCode", Value=idp.SUCCESS)


CASES = (
    # ---- Presence and key of signatures ----
    Case("sig-none", lambda s: s.build(VICTIM), Code.SIGNATURE, "assertion-not-signed"),
    Case("sig-stripped", stripped, Code.SIGNATURE, "assertion-not-signed"),
    Case("sig-empty-element", empty_signature, Code.INVALID_RESPONSE, "one-reference"),
    Case("tampered", lambda s: impersonate(s.signed()), Code.SIGNATURE, "signature"),
    Case(
        "tampered-response-signed",
        lambda s: impersonate(s.signed(sign_with="response")),
        Code.SIGNATURE,
        "signature",
    ),
    Case(
        "tampered-outside-assertion-of-both",
        lambda s: put_in_extensions(s.signed(sign_with="both"), etree.Element("{urn:x}x")),
        Code.SIGNATURE,
        "signature",
    ),
    Case(
        "attacker-key-x509",
        lambda s: s.signed(VICTIM, signer=idp.pair("attacker")),
        Code.SIGNATURE,
        "signature",
    ),
    Case(
        "attacker-key-no-keyinfo",
        lambda s: idp.sign(s.build(VICTIM), signer=idp.pair("attacker"), key_info=False),
        Code.SIGNATURE,
        "signature",
    ),
    Case("hmac-with-public-certificate", hmac, Code.SIGNATURE, "sig-alg"),
    Case(
        "unsigned-encrypted-by-anyone",
        lambda s: sealed(s.build(VICTIM)),
        Code.INVALID_RESPONSE,
        "assertion-not-signed",
    ),
    Case(
        "response-signed-where-assertion-has-to",
        lambda s: s.signed(sign_with="response"),
        Code.SIGNATURE,
        "assertion-not-signed",
        fields={"signed_part": Connection.SignedPart.ASSERTION},
    ),
    Case(
        "assertion-signed-where-response-has-to",
        lambda s: s.signed(),
        Code.SIGNATURE,
        "assertion-not-signed",
        fields={"signed_part": Connection.SignedPart.RESPONSE},
    ),
    # ---- Algorithms ----
    Case(
        "rsa-sha1",
        lambda s: idp.sign(s.build(), algorithm=constants.TransformRsaSha1.href),
        Code.SIGNATURE,
        "sig-alg",
    ),
    Case(
        "c14n-inclusive",
        lambda s: idp.sign(s.build(), c14n=constants.TransformInclC14N.href),
        Code.SIGNATURE,
        "c14n-alg",
    ),
    Case(
        "digest-sha1",
        change("//ds:DigestMethod", lambda e: e.set("Algorithm", f"{DS}sha1")),
        Code.SIGNATURE,
        "digest-alg",
    ),
    Case("transform-xslt", xslt, Code.INVALID_RESPONSE, "transforms"),
    Case("transform-xslt-encrypted", xslt_sealed, Code.INVALID_RESPONSE, "transforms"),
    Case(
        "transform-xpath",
        lambda s: add_transform(s.signed(), XPATH),
        Code.INVALID_RESPONSE,
        "transforms",
    ),
    Case("no-transforms", change("//ds:Transforms", remove), Code.INVALID_RESPONSE, "transforms"),
    Case("no-signature-method", change("//ds:SignatureMethod", remove), Code.SIGNATURE, "sig-alg"),
    # ---- References and IDs ----
    Case("dup-id", duplicate_id, Code.INVALID_RESPONSE, "duplicate-id"),
    Case("dup-xml-id", duplicate_xml_id, Code.INVALID_RESPONSE, "duplicate-id"),
    Case("two-references", two_references, Code.INVALID_RESPONSE, "one-reference"),
    Case("two-signed-infos", second_signed_info, Code.INVALID_RESPONSE, "one-reference"),
    Case("two-signatures", two_signatures, Code.INVALID_RESPONSE, "signature-place"),
    Case("smuggled-digest", smuggled_digest, Code.SIGNATURE, "signature"),
    Case("digest-of-nothing", empty_digest, Code.SIGNATURE, "signature"),
    Case("reference-to-document", set_reference(""), Code.INVALID_RESPONSE, "reference-uri"),
    Case(
        "reference-by-xpointer",
        set_reference("#xpointer(/)"),
        Code.INVALID_RESPONSE,
        "reference-uri",
    ),
    Case("empty-ids", empty_ids, Code.INVALID_RESPONSE, "reference-uri"),
)

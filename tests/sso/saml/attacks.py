"""Responses that an attacker, a broken provider or an honest one might send, and what comes of it.

`CASES` is a table: each case builds the form field SAMLResponse for a connection and a pending
request, and says whether `verify` accepts it, or by which code and rule it is refused. All messages
are made here, of `tests.sso.idp`; the classes are those that have broken service providers.

People: `admin@x.example` is the victim, `mallory@x.example` has an account at the same provider.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import xmlsec
from lxml import etree
from xmlsec import constants

from sso.errors import Code
from sso.models import Connection
from tests.sso import idp
from tests.sso.idp import DS, MISSING, NS, SAML, SAMLP, XENC

VICTIM = "admin@x.example"
MALLORY = "mallory@x.example"
ISSUER = "https://idp.x.example/saml"
OTHER_ISSUER = "https://idp.y.example/saml"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
OTHER_SP = "https://other.example/sso/acs"


@dataclass(frozen=True)
class Scene:
    """What a response is made for."""

    connection: Connection
    request_id: str

    def build(self, email: str = MALLORY, **knobs: object) -> etree._Element:
        """Unsigned."""
        return idp.build(self.connection, self.request_id, email=email, **knobs)  # type: ignore[arg-type]

    def signed(
        self, email: str = MALLORY, sign_with: str = "assertion", **knobs: object
    ) -> etree._Element:
        """As an honest provider sends it."""
        return idp.decode(
            idp.make_response(
                self.connection,
                self.request_id,
                email=email,
                sign_with=sign_with,
                **knobs,  # type: ignore[arg-type]
            )
        )


Build = Callable[[Scene], etree._Element | bytes | str]


@dataclass(frozen=True)
class Case:
    """One response.

    Attributes:
        build: the document, its bytes, or the form field itself.
        code, check: how `verify` refuses it; `code` None: it is accepted.
        email: of an accepted one, whom it signs in.
        fields: what the connection has set differently.
        at_acs: how the endpoint refuses what `verify` accepts; None: it does not.
    """

    name: str
    build: Build
    code: Code | None = None
    check: str = ""
    email: str = MALLORY
    fields: Mapping[str, Any] = field(default_factory=dict)
    at_acs: Code | None = None

    def field_for(self, scene: Scene) -> str:
        """The form field SAMLResponse."""
        built = self.build(scene)
        return built if isinstance(built, str) else idp.encode(built)


# ---- Tools ----------------------------------------------------------------------------------


def impersonate(element: etree._Element) -> etree._Element:
    """Everything that says who it is says the victim; the element itself."""
    for each in element.iter(f"{{{SAML}}}NameID", f"{{{SAML}}}AttributeValue"):
        each.text = VICTIM
    return element


def evil_twin(assertion: etree._Element) -> etree._Element:
    """A copy for the victim, with another ID and unsigned."""
    twin = impersonate(deepcopy(assertion))
    twin.set("ID", "_evil")
    drop_signature(twin)
    return twin


def drop_signature(element: etree._Element) -> etree._Element:
    """Take the element's own Signature out, and give it back."""
    signature = element.find(f"{{{DS}}}Signature")
    assert signature is not None
    element.remove(signature)
    return signature


def without_signature(element: etree._Element) -> etree._Element:
    """A copy without its own Signature."""
    copy = deepcopy(element)
    drop_signature(copy)
    return copy


def seal(root: etree._Element, content: bytes) -> etree._Element:
    """The assertion replaced by `content`, encrypted to us as anybody can do it."""
    plain = idp.assertion_of(root)
    data = xmlsec.template.encrypted_data_create(
        plain, constants.TransformAes256Gcm, type=constants.TypeEncElement, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    key = xmlsec.template.add_encrypted_key(info, constants.TransformRsaOaep)
    xmlsec.template.encrypted_data_ensure_cipher_value(key)
    manager = xmlsec.KeysManager()
    certificate = idp.pair("sp").certificate
    manager.add_key(xmlsec.Key.from_memory(certificate, constants.KeyDataFormatCertPem, None))
    context = xmlsec.EncryptionContext(manager)
    context.key = xmlsec.Key.generate(constants.KeyDataAes, 256, constants.KeyDataTypeSession)
    wrapper = etree.Element(f"{{{SAML}}}EncryptedAssertion")
    wrapper.append(context.encrypt_binary(data, content))
    root.replace(plain, wrapper)
    return idp.reparse(root)


def sealed(root: etree._Element) -> etree._Element:
    """The assertion encrypted to us, whatever it says."""
    return idp.encrypt(root, idp.pair("sp").certificate)


def change(
    path: str, action: Callable[[etree._Element], object], *, sign_after: bool = False
) -> Build:
    """Change the element at an XPath of a good response, before or after it is signed."""

    def build(scene: Scene) -> etree._Element:
        root = scene.build() if sign_after else scene.signed()
        action(idp.find(root, path))
        return idp.sign(root) if sign_after else idp.reparse(root)

    return build


def knobs(**said: object) -> Build:
    """A well signed response of the provider that says something else."""
    return lambda scene: scene.signed(**said)  # type: ignore[arg-type]


def remove(element: etree._Element) -> None:
    """Take the element out."""
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def text(raw: bytes) -> Build:
    """Bytes, whatever they are."""
    return lambda _: raw


def doctype(declaration: bytes, old: bytes = b"", new: bytes = b"") -> Build:
    """A good response with a document type before it, and something replaced by an entity."""

    def build(scene: Scene) -> bytes:
        return declaration + etree.tostring(scene.signed()).replace(old or b"\0", new)

    return build


# ---- Signature wrapping ---------------------------------------------------------------------


def xsw1(scene: Scene) -> etree._Element:
    """The original response inside the signature of an evil one."""
    original = scene.signed(sign_with="response")
    evil = deepcopy(original)
    impersonate(evil).set("ID", "_evil")
    idp.find(evil, "ds:Signature").append(without_signature(original))
    return evil


def xsw2(scene: Scene) -> etree._Element:
    """The original response beside its signature in an evil one."""
    original = scene.signed(sign_with="response")
    evil = deepcopy(original)
    impersonate(evil).set("ID", "_evil")
    idp.find(evil, "ds:Signature").addprevious(without_signature(original))
    return evil


def xsw3(scene: Scene) -> etree._Element:
    """An evil assertion before the original."""
    root = scene.signed()
    assertion = idp.assertion_of(root)
    assertion.addprevious(evil_twin(assertion))
    return root


def xsw4(scene: Scene) -> etree._Element:
    """The original inside an evil assertion."""
    root = scene.signed()
    assertion = idp.assertion_of(root)
    evil = evil_twin(assertion)
    root.replace(assertion, evil)
    evil.append(assertion)
    return root


def xsw5(scene: Scene) -> etree._Element:
    """An evil assertion with the original's signature, which refers to the original after it."""
    root = scene.signed()
    evil = idp.assertion_of(root)
    original = without_signature(evil)
    impersonate(evil).set("ID", "_evil")
    root.append(original)
    return root


def xsw6(scene: Scene) -> etree._Element:
    """The same with the original inside the signature."""
    root = scene.signed()
    evil = idp.assertion_of(root)
    original = without_signature(evil)
    impersonate(evil).set("ID", "_evil")
    idp.find(evil, "ds:Signature").append(original)
    return root


def _extensions(root: etree._Element, content: etree._Element) -> etree._Element:
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    extensions.append(content)
    idp.find(root, "samlp:Status").addprevious(extensions)
    return root


def xsw7(scene: Scene) -> etree._Element:
    """An evil assertion in Extensions."""
    root = scene.signed()
    return _extensions(root, evil_twin(idp.assertion_of(root)))


def xsw8(scene: Scene) -> etree._Element:
    """The original in an Object of the signature of an evil assertion."""
    root = scene.signed()
    evil = idp.assertion_of(root)
    original = without_signature(evil)
    impersonate(evil).set("ID", "_evil")
    etree.SubElement(idp.find(evil, "ds:Signature"), f"{{{DS}}}Object").append(original)
    return root


def xsw_status_detail(scene: Scene) -> etree._Element:
    """The signed original in StatusDetail, an evil assertion in its place."""
    root = scene.signed()
    original = idp.assertion_of(root)
    root.replace(original, evil_twin(original))
    etree.SubElement(idp.find(root, "samlp:Status"), f"{{{SAMLP}}}StatusDetail").append(original)
    return root


def xsw_advice(scene: Scene) -> etree._Element:
    """The signed original as Advice of an evil assertion, which the schema allows."""
    root = scene.signed()
    original = idp.assertion_of(root)
    evil = evil_twin(original)
    root.replace(original, evil)
    advice = etree.Element(f"{{{SAML}}}Advice")
    advice.append(original)
    idp.find(evil, "saml:Conditions").addnext(advice)
    return root


def xsw_attribute_value(scene: Scene) -> etree._Element:
    """The signed original as an attribute's value of an evil assertion."""
    root = scene.signed()
    original = idp.assertion_of(root)
    evil = evil_twin(original)
    root.replace(original, evil)
    idp.find(evil, ".//saml:AttributeValue").append(original)
    return root


def xsw_whole_response(scene: Scene) -> etree._Element:
    """The signed original response in Extensions of an evil one."""
    original = scene.signed(sign_with="response")
    evil = scene.build(VICTIM)
    return _extensions(evil, original)


def second_assertion(scene: Scene) -> etree._Element:
    """The signed original first, then an evil assertion (CVE-2022-41912)."""
    root = scene.signed()
    root.append(evil_twin(idp.assertion_of(root)))
    return root


def two_signed_assertions(scene: Scene) -> etree._Element:
    """Two assertions, both well signed."""
    root = scene.signed()
    root.append(idp.assertion_of(scene.signed(VICTIM)))
    return root


def sealed_beside_signed(scene: Scene) -> etree._Element:
    """An unsigned assertion for the victim, encrypted, beside a signed one."""
    root = sealed(scene.build(VICTIM))
    root.append(idp.assertion_of(scene.signed()))
    return root


def two_sealed(scene: Scene) -> etree._Element:
    """Two encrypted assertions."""
    root = scene.signed(encrypt_to=idp.pair("sp").certificate)
    root.append(idp.find(sealed(scene.build(VICTIM)), "//saml:EncryptedAssertion"))
    return root


# ---- Signatures -----------------------------------------------------------------------------


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


# ---- IDs ------------------------------------------------------------------------------------


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


# ---- Encryption -----------------------------------------------------------------------------


def _encrypted(path: str, action: Callable[[etree._Element], object]) -> Build:
    def build(scene: Scene) -> etree._Element:
        root = scene.signed(encrypt_to=idp.pair("sp").certificate)
        action(idp.find(root, path))
        return idp.reparse(root)

    return build


def cipher_reference(element: etree._Element) -> None:
    """Ciphertext to be fetched from somewhere."""
    element.tag = f"{{{XENC}}}CipherReference"
    element.text = None
    element.set("URI", "http://169.254.169.254/latest/meta-data/")


def remote_key(element: etree._Element) -> None:
    """A key to be fetched from somewhere."""
    etree.SubElement(
        element,
        f"{{{DS}}}RetrievalMethod",
        Type=f"{XENC}EncryptedKey",
        URI="http://169.254.169.254/key",
    )


def derived_key(element: etree._Element) -> None:
    """A key to be derived in two thousand million rounds."""
    derived = etree.SubElement(element, f"{{{XENC11}}}DerivedKey")
    method = etree.SubElement(
        derived, f"{{{XENC11}}}KeyDerivationMethod", Algorithm=f"{XENC11}pbkdf2"
    )
    parameters = etree.SubElement(method, f"{{{XENC11}}}PBKDF2-params")
    etree.SubElement(parameters, f"{{{XENC11}}}IterationCount").text = "2000000000"


def garbage(element: etree._Element) -> None:
    """Ciphertext that is none."""
    element.text = base64.b64encode(b"x" * 256).decode()


def sealed_text(change_text: Callable[[bytes], bytes]) -> Build:
    """A signed assertion changed as text, then encrypted."""

    def build(scene: Scene) -> etree._Element:
        root = scene.signed()
        return seal(root, change_text(etree.tostring(idp.assertion_of(root))))

    return build


def sealed_twice(scene: Scene) -> etree._Element:
    """Encrypted inside of encrypted."""
    root = sealed(scene.signed())
    inner = etree.tostring(idp.find(root, "//xenc:EncryptedData"))
    return seal(scene.build(), inner)


def encrypted_name(scene: Scene) -> etree._Element:
    """The NameID alone encrypted, then signed."""
    root = idp.encrypt(
        scene.build(), idp.pair("sp").certificate, name="NameID", wrapper="EncryptedID"
    )
    return idp.sign(root)


def encrypted_attribute(scene: Scene) -> etree._Element:
    """An attribute alone encrypted, then signed."""
    root = idp.encrypt(
        scene.build(), idp.pair("sp").certificate, name="Attribute", wrapper="EncryptedAttribute"
    )
    return idp.sign(root)


# ---- Text -----------------------------------------------------------------------------------


def commented_name(scene: Scene) -> etree._Element:
    """`admin@x.example<!-- -->.evil.example`, signed."""
    root = scene.build()
    name = idp.find(root, "//saml:NameID")
    name.text = VICTIM
    comment = etree.Comment("x")
    comment.tail = ".evil.example"
    name.append(comment)
    return idp.sign(root)


def nested_identifier(scene: Scene) -> etree._Element:
    """An attribute whose value is a NameID, as eduPersonTargetedID has it."""
    root = scene.build(attributes={"id": "", "email": MALLORY})
    value = idp.find(root, "//saml:Attribute[@Name='id']/saml:AttributeValue")
    etree.SubElement(value, f"{{{SAML}}}NameID", Format=idp.PERSISTENT).text = "opaque"
    return idp.sign(root)


def attribute_twice(scene: Scene) -> etree._Element:
    """Two attributes of one name, signed."""
    root = scene.build()
    idp.add_attribute(idp.find(root, "//saml:AttributeStatement"), "email", [VICTIM])
    return idp.sign(root)


def many_attributes(scene: Scene) -> etree._Element:
    """More than anybody needs."""
    return scene.signed(attributes={f"a{number}": "x" for number in range(201)})


def repeated(path: str) -> Build:
    """An element twice, signed."""
    return change(path, lambda element: element.addnext(deepcopy(element)), sign_after=True)


def deep(scene: Scene) -> bytes:
    """Elements in elements in elements."""
    return (
        etree.tostring(scene.signed())
        .replace(b"<saml:AttributeValue>", b"<saml:AttributeValue>" + b"<a>" * 1000)
        .replace(b"</saml:AttributeValue>", b"</a>" * 1000 + b"</saml:AttributeValue>")
    )


def wide(scene: Scene) -> bytes:
    """Very many elements."""
    return etree.tostring(scene.signed()).replace(
        b"<saml:AttributeValue>", b"<saml:AttributeValue>" + b"<a/>" * 6000
    )


LAUGHS = b"<!DOCTYPE r [<!ENTITY l0 'ha'>%s]>" % b"".join(
    b"<!ENTITY l%d '%s'>" % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 9)
)

R = Code
_SEALED = {"requires_encryption": True}

CASES: tuple[Case, ...] = (
    # ---- What has to work ----
    Case("ok-assertion-signed", lambda s: s.signed()),
    Case("ok-response-signed", lambda s: s.signed(sign_with="response")),
    Case("ok-both-signed", lambda s: s.signed(sign_with="both")),
    Case("ok-encrypted", lambda s: s.signed(encrypt_to=idp.pair("sp").certificate)),
    Case(
        "ok-encrypted-response-signed",
        lambda s: s.signed(encrypt_to=idp.pair("sp").certificate, sign_with="both"),
        fields=_SEALED,
    ),
    Case("ok-ec-key", lambda s: s.signed(signer=idp.pair("idp-ec", kind="ec"))),
    Case("ok-session-not-on-or-after", knobs(session_lifetime=timedelta(hours=1))),
    Case("ok-no-response-issuer", knobs(response_issuer=MISSING)),
    Case("ok-no-x509-data", lambda s: idp.sign(s.build(), key_info=False)),
    Case("ok-persistent-name", knobs(name_id="opaque-1", name_id_format=idp.PERSISTENT)),
    Case("ok-name-is-email", knobs(attributes={})),
    Case("clock-ahead-60s", knobs(clock=timedelta(seconds=60))),
    Case("clock-behind-310s-lifetime-300", knobs(clock=timedelta(seconds=-310))),
    # ---- Signature wrapping ----
    Case("xsw1", xsw1, R.INVALID_RESPONSE, "duplicate-id"),
    Case("xsw2", xsw2, R.INVALID_RESPONSE, "duplicate-id"),
    Case("xsw3", xsw3, R.INVALID_RESPONSE, "one-assertion"),
    Case("xsw4", xsw4, R.INVALID_RESPONSE, "signature-place"),
    Case("xsw5", xsw5, R.INVALID_RESPONSE, "reference-uri"),
    Case("xsw6", xsw6, R.INVALID_RESPONSE, "reference-uri"),
    Case("xsw7", xsw7, R.INVALID_RESPONSE, "one-assertion"),
    Case("xsw8", xsw8, R.INVALID_RESPONSE, "signature-object"),
    Case("xsw-status-detail", xsw_status_detail, R.INVALID_RESPONSE, "signature-place"),
    Case("xsw-advice", xsw_advice, R.INVALID_RESPONSE, "signature-place"),
    Case("xsw-attribute-value", xsw_attribute_value, R.INVALID_RESPONSE, "signature-place"),
    Case("xsw-whole-response", xsw_whole_response, R.INVALID_RESPONSE, "signature-place"),
    Case("second-assertion", second_assertion, R.INVALID_RESPONSE, "one-assertion"),
    Case("two-signed-assertions", two_signed_assertions, R.INVALID_RESPONSE, "one-assertion"),
    Case("xsw3-encrypted", lambda s: sealed(xsw3(s)), R.INVALID_RESPONSE, "one-assertion"),
    Case("xsw4-encrypted", lambda s: sealed(xsw4(s)), R.INVALID_RESPONSE, "signature-place"),
    Case("xsw8-encrypted", lambda s: sealed(xsw8(s)), R.INVALID_RESPONSE, "signature-object"),
    Case(
        "xsw-advice-encrypted",
        lambda s: sealed(xsw_advice(s)),
        R.INVALID_RESPONSE,
        "signature-place",
    ),
    Case("encrypted-beside-signed", sealed_beside_signed, R.INVALID_RESPONSE, "one-assertion"),
    Case("two-encrypted", two_sealed, R.INVALID_RESPONSE, "encryption"),
    # ---- Presence and key of signatures ----
    Case("sig-none", lambda s: s.build(VICTIM), R.SIGNATURE, "assertion-not-signed"),
    Case("sig-stripped", stripped, R.SIGNATURE, "assertion-not-signed"),
    Case("sig-empty-element", empty_signature, R.INVALID_RESPONSE, "one-reference"),
    Case("tampered", lambda s: impersonate(s.signed()), R.SIGNATURE, "signature"),
    Case(
        "tampered-response-signed",
        lambda s: impersonate(s.signed(sign_with="response")),
        R.SIGNATURE,
        "signature",
    ),
    Case(
        "tampered-outside-assertion-of-both",
        lambda s: _extensions(s.signed(sign_with="both"), etree.Element("{urn:x}x")),
        R.SIGNATURE,
        "signature",
    ),
    Case(
        "attacker-key-x509",
        lambda s: s.signed(VICTIM, signer=idp.pair("attacker")),
        R.SIGNATURE,
        "signature",
    ),
    Case(
        "attacker-key-no-keyinfo",
        lambda s: idp.sign(s.build(VICTIM), signer=idp.pair("attacker"), key_info=False),
        R.SIGNATURE,
        "signature",
    ),
    Case("hmac-with-public-certificate", hmac, R.SIGNATURE, "sig-alg"),
    Case(
        "unsigned-encrypted-by-anyone",
        lambda s: sealed(s.build(VICTIM)),
        R.INVALID_RESPONSE,
        "assertion-not-signed",
    ),
    Case(
        "response-signed-where-assertion-has-to",
        lambda s: s.signed(sign_with="response"),
        R.SIGNATURE,
        "assertion-not-signed",
        fields={"signed_part": Connection.SignedPart.ASSERTION},
    ),
    Case(
        "assertion-signed-where-response-has-to",
        lambda s: s.signed(),
        R.SIGNATURE,
        "assertion-not-signed",
        fields={"signed_part": Connection.SignedPart.RESPONSE},
    ),
    # ---- Algorithms ----
    Case(
        "rsa-sha1",
        lambda s: idp.sign(s.build(), algorithm=constants.TransformRsaSha1.href),
        R.SIGNATURE,
        "sig-alg",
    ),
    Case(
        "c14n-inclusive",
        lambda s: idp.sign(s.build(), c14n=constants.TransformInclC14N.href),
        R.SIGNATURE,
        "c14n-alg",
    ),
    Case(
        "digest-sha1",
        change("//ds:DigestMethod", lambda e: e.set("Algorithm", f"{DS}sha1")),
        R.SIGNATURE,
        "digest-alg",
    ),
    Case("transform-xslt", xslt, R.INVALID_RESPONSE, "transforms"),
    Case("transform-xslt-encrypted", xslt_sealed, R.INVALID_RESPONSE, "transforms"),
    Case(
        "transform-xpath",
        lambda s: add_transform(s.signed(), XPATH),
        R.INVALID_RESPONSE,
        "transforms",
    ),
    Case("no-transforms", change("//ds:Transforms", remove), R.INVALID_RESPONSE, "transforms"),
    Case("no-signature-method", change("//ds:SignatureMethod", remove), R.SIGNATURE, "sig-alg"),
    # ---- References and IDs ----
    Case("dup-id", duplicate_id, R.INVALID_RESPONSE, "duplicate-id"),
    Case("dup-xml-id", duplicate_xml_id, R.INVALID_RESPONSE, "duplicate-id"),
    Case("two-references", two_references, R.INVALID_RESPONSE, "one-reference"),
    Case("two-signed-infos", second_signed_info, R.INVALID_RESPONSE, "one-reference"),
    Case("two-signatures", two_signatures, R.INVALID_RESPONSE, "signature-place"),
    Case("smuggled-digest", smuggled_digest, R.SIGNATURE, "signature"),
    Case("digest-of-nothing", empty_digest, R.SIGNATURE, "signature"),
    Case("reference-to-document", set_reference(""), R.INVALID_RESPONSE, "reference-uri"),
    Case(
        "reference-by-xpointer",
        set_reference("#xpointer(/)"),
        R.INVALID_RESPONSE,
        "reference-uri",
    ),
    Case("empty-ids", empty_ids, R.INVALID_RESPONSE, "reference-uri"),
    # ---- Encryption ----
    Case(
        "not-encrypted", lambda s: s.signed(), R.INVALID_RESPONSE, "not-encrypted", fields=_SEALED
    ),
    Case(
        "encrypted-to-somebody-else",
        lambda s: s.signed(encrypt_to=idp.pair("other-sp").certificate),
        R.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "ciphertext-garbage",
        _encrypted("//saml:EncryptedAssertion/xenc:EncryptedData/xenc:CipherData/*", garbage),
        R.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "ciphertext-from-elsewhere",
        _encrypted("//xenc:EncryptedData/xenc:CipherData/*", cipher_reference),
        R.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "key-from-elsewhere",
        _encrypted("//xenc:EncryptedData/ds:KeyInfo", remote_key),
        R.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "key-derived-for-hours",
        _encrypted("//xenc:EncryptedData/ds:KeyInfo", derived_key),
        R.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "key-transport-pkcs1",
        _encrypted(
            "//xenc:EncryptedKey/xenc:EncryptionMethod",
            lambda e: e.set("Algorithm", f"{XENC}rsa-1_5"),
        ),
        R.INVALID_RESPONSE,
        "encryption-alg",
    ),
    Case(
        "triple-des",
        _encrypted(
            "//xenc:EncryptedData/xenc:EncryptionMethod",
            lambda e: e.set("Algorithm", f"{XENC}tripledes-cbc"),
        ),
        R.INVALID_RESPONSE,
        "encryption-alg",
    ),
    Case(
        "no-key-info",
        _encrypted("//xenc:EncryptedData/ds:KeyInfo", remove),
        R.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "encrypted-comment",
        sealed_text(lambda raw: raw.replace(b"@x.example", b"<!--x-->@x.example")),
        R.INVALID_RESPONSE,
        "comment-or-pi",
    ),
    Case(
        "encrypted-entity",
        sealed_text(lambda raw: raw.replace(b"@x.example", b"&who;@x.example")),
        R.INVALID_RESPONSE,
    ),
    Case(
        "encrypted-doctype",
        sealed_text(lambda raw: b"<!DOCTYPE x [<!ENTITY who 'admin'>]>" + raw),
        R.INVALID_RESPONSE,
    ),
    Case("encrypted-text", sealed_text(lambda _: b"hello"), R.INVALID_RESPONSE),
    Case(
        "encrypted-evil-before-signed",
        sealed_text(lambda raw: etree.tostring(evil_twin(etree.fromstring(raw))) + raw),
        R.INVALID_RESPONSE,
        "assertion-not-signed",
    ),
    # What follows the assertion inside of what was encrypted is never part of any tree.
    Case(
        "encrypted-evil-after-signed",
        sealed_text(lambda raw: raw + etree.tostring(evil_twin(etree.fromstring(raw)))),
    ),
    Case(
        "encrypted-something-else",
        sealed_text(lambda _: b"<x xmlns='urn:x'/>"),
        R.INVALID_RESPONSE,
        "schema",
    ),
    Case("encrypted-twice", sealed_twice, R.INVALID_RESPONSE, "encryption"),
    Case("encrypted-name", encrypted_name, R.INVALID_RESPONSE, "encryption"),
    Case("encrypted-attribute", encrypted_attribute, R.INVALID_RESPONSE, "encryption"),
    Case(
        "encrypted-tampered",
        lambda s: sealed(impersonate(s.signed())),
        R.INVALID_RESPONSE,
        "signature",
    ),
    # ---- Issuer and tenant ----
    Case("wrong-assertion-issuer", knobs(issuer="https://evil/"), R.ISSUER, "issuer"),
    Case("wrong-response-issuer", knobs(response_issuer="https://evil/"), R.ISSUER, "issuer"),
    Case(
        "other-tenant",
        knobs(email=VICTIM, issuer=OTHER_ISSUER, signer=idp.pair("idp-y")),
        R.ISSUER,
        "issuer",
    ),
    Case(
        "other-tenant-under-our-name",
        knobs(email=VICTIM, signer=idp.pair("idp-y")),
        R.SIGNATURE,
        "signature",
    ),
    # ---- Time ----
    Case(
        "expired",
        knobs(
            not_before=timedelta(seconds=-900),
            lifetime=timedelta(seconds=-600),
        ),
        R.EXPIRED,
        "expired",
    ),
    Case("scd-expired-only", knobs(scd_lifetime=timedelta(seconds=-600)), R.EXPIRED, "expired"),
    Case(
        "not-yet-valid",
        knobs(
            not_before=timedelta(seconds=900),
            lifetime=timedelta(seconds=1800),
        ),
        R.CLOCK_SKEW,
        "not-yet-valid",
    ),
    Case("clock-ahead-10m", knobs(clock=timedelta(minutes=10)), R.CLOCK_SKEW, "not-yet-valid"),
    Case("clock-behind-10m", knobs(clock=timedelta(minutes=-10)), R.EXPIRED, "expired"),
    Case(
        "clock-behind-2s-without-tolerance",
        knobs(clock=timedelta(seconds=-302)),
        R.EXPIRED,
        "expired",
        fields={"clock_skew_seconds": 0},
    ),
    Case(
        "session-over",
        knobs(session_lifetime=timedelta(seconds=-10)),
        R.EXPIRED,
        "session-over",
    ),
    Case(
        "no-conditions",
        change("//saml:Conditions", remove, sign_after=True),
        R.AUDIENCE,
        "audience",
    ),
    Case(
        "no-conditions-not-on-or-after",
        change("//saml:Conditions", lambda e: e.attrib.pop("NotOnOrAfter"), sign_after=True),
        R.INVALID_RESPONSE,
        "conditions-nooa",
    ),
    Case(
        "no-scd-not-on-or-after",
        change(
            "//saml:SubjectConfirmationData",
            lambda e: e.attrib.pop("NotOnOrAfter"),
            sign_after=True,
        ),
        R.INVALID_RESPONSE,
        "scd-time",
    ),
    Case(
        "scd-not-before",
        change(
            "//saml:SubjectConfirmationData",
            lambda e: e.set("NotBefore", "2020-01-01T00:00:00Z"),
            sign_after=True,
        ),
        R.INVALID_RESPONSE,
        "scd-time",
    ),
    Case(
        "instant-of-another-age",
        change(
            "//saml:Conditions",
            lambda e: e.set("NotOnOrAfter", "99999-01-01T00:00:00Z"),
            sign_after=True,
        ),
        R.INVALID_RESPONSE,
        "instant",
    ),
    Case(
        "instant-at-the-end-of-time",
        change(
            "//saml:Conditions",
            lambda e: e.set("NotOnOrAfter", "9999-12-31T23:59:59Z"),
            sign_after=True,
        ),
        R.INVALID_RESPONSE,
        "instant",
    ),
    Case(
        "instant-that-is-none",
        change("//saml:Conditions", lambda e: e.set("NotOnOrAfter", "soon"), sign_after=True),
        R.INVALID_RESPONSE,
        "schema",
    ),
    # ---- Audience, Destination, Recipient ----
    Case("wrong-audience", knobs(audience="https://other.example/sp"), R.AUDIENCE, "audience"),
    Case("no-audience", knobs(audience=MISSING), R.AUDIENCE, "audience"),
    Case(
        "two-audience-restrictions",
        change(
            "//saml:AudienceRestriction",
            lambda e: etree.SubElement(
                etree.SubElement(e.getparent(), f"{{{SAML}}}AudienceRestriction"),  # type: ignore[arg-type]
                f"{{{SAML}}}Audience",
            ).__setattr__("text", "https://other.example/sp"),
            sign_after=True,
        ),
        R.AUDIENCE,
        "audience",
    ),
    Case("no-destination", knobs(destination=MISSING), R.DESTINATION, "destination"),
    Case("wrong-destination", knobs(destination=OTHER_SP), R.DESTINATION, "destination"),
    Case(
        "longer-destination",
        lambda s: s.signed(destination=f"{s.connection.acs_url}/x"),
        R.DESTINATION,
        "destination",
    ),
    Case("no-recipient", knobs(recipient=MISSING), R.DESTINATION, "recipient"),
    Case("wrong-recipient", knobs(recipient=OTHER_SP), R.DESTINATION, "recipient"),
    Case(
        "longer-recipient",
        lambda s: s.signed(recipient=f"https://evil.example/?{s.connection.acs_url}"),
        R.DESTINATION,
        "recipient",
    ),
    Case(
        "other-connection",
        lambda s: s.signed(destination=s.connection.acs_url.replace("a", "b")),
        R.DESTINATION,
        "destination",
    ),
    # ---- Binding to the request ----
    Case(
        "irt-response-wrong",
        knobs(response_in_response_to="_other"),
        R.UNSOLICITED,
        "in-response-to",
    ),
    Case(
        "irt-both-wrong",
        lambda s: idp.make_response(s.connection, "_other"),
        R.UNSOLICITED,
        "in-response-to",
    ),
    Case(
        "irt-response-stripped",
        change(
            "/samlp:Response[@InResponseTo]",
            lambda e: e.attrib.pop("InResponseTo"),
        ),
        R.UNSOLICITED,
        "in-response-to",
    ),
    Case("irt-scd-missing", knobs(scd_in_response_to=MISSING), R.UNSOLICITED, "scd-in-response-to"),
    Case("irt-scd-wrong", knobs(scd_in_response_to="_o"), R.UNSOLICITED, "scd-in-response-to"),
    Case(
        "irt-response-rewritten",
        lambda s: change("/samlp:Response", lambda e: e.set("InResponseTo", s.request_id))(
            Scene(s.connection, "_stolen")
        ),
        R.UNSOLICITED,
        "scd-in-response-to",
    ),
    Case(
        "unsolicited",
        lambda s: idp.make_response(s.connection, None),
        R.UNSOLICITED,
        "in-response-to",
    ),
    # ---- Subject ----
    Case(
        "two-confirmations", repeated("//saml:SubjectConfirmation"), R.INVALID_RESPONSE, "scd-count"
    ),
    Case(
        "no-confirmation",
        change("//saml:SubjectConfirmation", remove, sign_after=True),
        R.INVALID_RESPONSE,
        "scd-count",
    ),
    Case(
        "holder-of-key",
        change(
            "//saml:SubjectConfirmation",
            lambda e: e.set("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"),
            sign_after=True,
        ),
        R.INVALID_RESPONSE,
        "scd-count",
    ),
    Case(
        "two-authn-statements",
        repeated("//saml:AuthnStatement"),
        R.INVALID_RESPONSE,
        "authn-statement",
    ),
    Case(
        "no-authn-statement",
        change("//saml:AuthnStatement", remove, sign_after=True),
        R.INVALID_RESPONSE,
        "authn-statement",
    ),
    # ---- Identity text and mapping ----
    Case("comment-truncation", commented_name, R.INVALID_RESPONSE, "comment-or-pi"),
    Case("dup-attribute-email", attribute_twice, R.INVALID_RESPONSE, "duplicate-attribute"),
    Case("multi-value-email", knobs(attributes={"email": [MALLORY, VICTIM]}), R.NO_EMAIL, "email"),
    Case(
        "email-missing",
        knobs(name_id="opaque", name_id_format=idp.PERSISTENT, attributes={}),
        R.NO_EMAIL,
        "email",
    ),
    Case(
        "foreign-domain-email",
        knobs(email="boss@victim.example"),
        email="boss@victim.example",
        at_acs=R.DOMAIN_NOT_OWNED,
    ),
    Case("email-two-at", knobs(email="a@victim.example@x.example"), R.NO_EMAIL, "email"),
    Case("email-not-ascii", knobs(email="adm\u0131n@x.example"), R.NO_EMAIL, "email"),
    Case("email-newline", knobs(email="admin@x.example\nx@evil.example"), R.NO_STABLE_ID, "nameid"),
    Case(
        "email-newline-in-attribute",
        knobs(name_id="opaque", attributes={"email": "admin@x.example\nx@evil.example"}),
        R.NO_EMAIL,
        "email",
    ),
    Case("email-too-long", knobs(name_id="o", email="a" * 250 + "@x.example"), R.NO_EMAIL, "email"),
    Case(
        "nameid-transient", knobs(name_id_format=idp.TRANSIENT), R.NO_STABLE_ID, "nameid-transient"
    ),
    Case("nameid-too-long", knobs(name_id="a" * 257), R.NO_STABLE_ID, "nameid"),
    Case("nameid-hidden-character", knobs(name_id="admin\u202e"), R.NO_STABLE_ID, "nameid"),
    Case("nameid-empty", knobs(name_id=" "), R.NO_STABLE_ID, "uid"),
    Case("nameid-missing", knobs(name_id=MISSING), R.NO_STABLE_ID, "uid"),
    Case(
        "nameid-of-another-service",
        change(
            "//saml:NameID",
            lambda e: e.set("SPNameQualifier", "https://other.example/sp"),
            sign_after=True,
        ),
        R.AUDIENCE,
        "nameid",
    ),
    Case(
        "uid-from-nested-name",
        nested_identifier,
        fields={"attribute_map": {"uid": "id"}},
    ),
    Case(
        "uid-attribute-missing",
        lambda s: s.signed(),
        R.NO_STABLE_ID,
        "uid",
        fields={"attribute_map": {"uid": "employeeNumber"}},
    ),
    Case(
        "uid-attribute-of-two-values",
        knobs(attributes={"email": MALLORY, "n": ["1", "2"]}),
        R.NO_STABLE_ID,
        "uid",
        fields={"attribute_map": {"uid": "n"}},
    ),
    Case(
        "transient-with-mapped-uid",
        knobs(name_id_format=idp.TRANSIENT, attributes={"email": MALLORY, "n": "7"}),
        fields={"attribute_map": {"uid": "n"}},
    ),
    Case("many-attributes", many_attributes, R.INVALID_RESPONSE, "attributes"),
    Case(
        "long-attribute",
        knobs(attributes={"email": MALLORY, "x": "x" * 5000}),
        R.INVALID_RESPONSE,
        "attributes",
    ),
    # ---- Parser ----
    Case(
        "xxe-external",
        doctype(b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>', b"mallory@", b"&x;@"),
        R.INVALID_RESPONSE,
        "dtd",
    ),
    Case(
        "xxe-parameter-entity",
        doctype(b'<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1/x.dtd"> %x;]>'),
        R.INVALID_RESPONSE,
        "dtd",
    ),
    Case("billion-laughs", doctype(LAUGHS, b"mallory@", b"&l8;@"), R.INVALID_RESPONSE, "dtd"),
    Case(
        "id-by-entity",
        doctype(b"<!DOCTYPE r [<!ENTITY i 'evil'>]>", b'ID="', b'ID="&i;'),
        R.INVALID_RESPONSE,
        "dtd",
    ),
    Case("doctype-lower-case", doctype(b"<!doctype r>"), R.INVALID_RESPONSE, "dtd"),
    Case(
        "doctype-default-attribute",
        doctype(b"<!DOCTYPE r [<!ATTLIST r ID CDATA 'x'><!NOTATION n PUBLIC 'x'>]>"),
        R.INVALID_RESPONSE,
        "dtd",
    ),
    Case(
        "utf16",
        lambda s: etree.tostring(s.signed(), encoding="UTF-16"),
        R.INVALID_RESPONSE,
        "dtd",
    ),
    Case(
        "latin1",
        lambda s: etree.tostring(s.signed(), encoding="ISO-8859-1"),
        R.INVALID_RESPONSE,
        "encoding",
    ),
    Case(
        "utf7",
        lambda s: b"<?xml version='1.0' encoding='UTF-7'?>" + etree.tostring(s.signed()),
        R.INVALID_RESPONSE,
    ),
    Case(
        "huge-attribute",
        lambda s: etree.tostring(s.signed()).replace(b"mallory@", b"a" * 400_000),
        R.INVALID_RESPONSE,
        "too-large",
    ),
    Case("deep", deep, R.INVALID_RESPONSE, "xml"),
    Case("wide", wide, R.INVALID_RESPONSE, "too-many-elements"),
    Case("not-xml", text(b"hello"), R.INVALID_RESPONSE, "xml"),
    Case("empty", lambda _: "", R.INVALID_RESPONSE, "xml"),
    Case("not-base64", lambda _: "%%%", R.INVALID_RESPONSE, "bad-base64"),
    Case("not-ascii", lambda _: "PHNhbWxw\u00fc", R.INVALID_RESPONSE, "bad-base64"),
    Case("half", lambda s: etree.tostring(s.signed())[:1500], R.INVALID_RESPONSE, "xml"),
    Case(
        "processing-instruction",
        lambda s: b"<?x y?>" + etree.tostring(s.signed()),
        R.INVALID_RESPONSE,
        "comment-or-pi",
    ),
    # ---- Protocol ----
    Case(
        "status-responder",
        knobs(status=idp.RESPONDER, status_message="<b>no</b>"),
        R.IDP_REFUSED,
        "status",
    ),
    Case(
        "status-refused-around-success",
        change("//samlp:StatusCode", success_inside),
        R.IDP_REFUSED,
        "status",
    ),
    Case("no-status", change("//samlp:Status", remove), R.INVALID_RESPONSE, "status"),
    Case("version-1.1", knobs(version="1.1"), R.INVALID_RESPONSE, "version"),
    Case(
        "no-assertion",
        change("//saml:Assertion", remove),
        R.INVALID_RESPONSE,
        "one-assertion",
    ),
    Case(
        "logout-response-as-response",
        lambda s: idp.sign(idp.build_logout_response(s.connection, s.request_id), "response"),
        R.INVALID_RESPONSE,
        "not-a-response",
    ),
    Case(
        "assertion-as-response",
        lambda s: idp.assertion_of(s.signed()),
        R.INVALID_RESPONSE,
        "not-a-response",
    ),
    Case(
        "signature-at-the-end",
        lambda s: _move_signature(s.signed()),
        R.INVALID_RESPONSE,
        "schema",
    ),
)


def _move_signature(root: etree._Element) -> etree._Element:
    assertion = idp.assertion_of(root)
    assertion.append(drop_signature(assertion))
    return root


__all__ = ["CASES", "MALLORY", "NS", "VICTIM", "Case", "Scene"]

"""Odd text, odd bytes, odd messages."""

from __future__ import annotations

from lxml import etree

from sso.errors import Code
from tests.sso import idp
from tests.sso.idp import MISSING, SAML
from tests.sso.saml.attack_signatures import success_inside
from tests.sso.saml.attack_tools import (
    MALLORY,
    VICTIM,
    Case,
    Scene,
    change,
    doctype,
    drop_signature,
    knobs,
    remove,
    text,
)


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


def _move_signature(root: etree._Element) -> etree._Element:
    assertion = idp.assertion_of(root)
    assertion.append(drop_signature(assertion))
    return root


CASES = (
    # ---- Identity text and mapping ----
    Case("comment-truncation", commented_name, Code.INVALID_RESPONSE, "comment-or-pi"),
    Case("dup-attribute-email", attribute_twice, Code.INVALID_RESPONSE, "duplicate-attribute"),
    Case(
        "multi-value-email", knobs(attributes={"email": [MALLORY, VICTIM]}), Code.NO_EMAIL, "email"
    ),
    Case(
        "email-missing",
        knobs(name_id="opaque", name_id_format=idp.PERSISTENT, attributes={}),
        Code.NO_EMAIL,
        "email",
    ),
    Case(
        "foreign-domain-email",
        knobs(email="boss@victim.example"),
        email="boss@victim.example",
        at_acs=Code.DOMAIN_NOT_OWNED,
    ),
    Case("email-two-at", knobs(email="a@victim.example@x.example"), Code.NO_EMAIL, "email"),
    Case("email-not-ascii", knobs(email="adm\u0131n@x.example"), Code.NO_EMAIL, "email"),
    Case(
        "email-newline", knobs(email="admin@x.example\nx@evil.example"), Code.NO_STABLE_ID, "nameid"
    ),
    Case(
        "email-newline-in-attribute",
        knobs(name_id="opaque", attributes={"email": "admin@x.example\nx@evil.example"}),
        Code.NO_EMAIL,
        "email",
    ),
    Case(
        "email-too-long", knobs(name_id="o", email="a" * 250 + "@x.example"), Code.NO_EMAIL, "email"
    ),
    Case(
        "nameid-transient",
        knobs(name_id_format=idp.TRANSIENT),
        Code.NO_STABLE_ID,
        "nameid-transient",
    ),
    Case("nameid-too-long", knobs(name_id="a" * 257), Code.NO_STABLE_ID, "nameid"),
    Case("nameid-hidden-character", knobs(name_id="admin\u202e"), Code.NO_STABLE_ID, "nameid"),
    Case("nameid-empty", knobs(name_id=" "), Code.NO_STABLE_ID, "uid"),
    Case("nameid-missing", knobs(name_id=MISSING), Code.NO_STABLE_ID, "uid"),
    Case(
        "nameid-of-another-service",
        change(
            "//saml:NameID",
            lambda e: e.set("SPNameQualifier", "https://other.example/sp"),
            sign_after=True,
        ),
        Code.AUDIENCE,
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
        Code.NO_STABLE_ID,
        "uid",
        fields={"attribute_map": {"uid": "employeeNumber"}},
    ),
    Case(
        "uid-attribute-of-two-values",
        knobs(attributes={"email": MALLORY, "n": ["1", "2"]}),
        Code.NO_STABLE_ID,
        "uid",
        fields={"attribute_map": {"uid": "n"}},
    ),
    Case(
        "transient-with-mapped-uid",
        knobs(name_id_format=idp.TRANSIENT, attributes={"email": MALLORY, "n": "7"}),
        fields={"attribute_map": {"uid": "n"}},
    ),
    Case("many-attributes", many_attributes, Code.INVALID_RESPONSE, "attributes"),
    Case(
        "long-attribute",
        knobs(attributes={"email": MALLORY, "x": "x" * 5000}),
        Code.INVALID_RESPONSE,
        "attributes",
    ),
    # ---- Parser ----
    Case(
        "xxe-external",
        doctype(b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>', b"mallory@", b"&x;@"),
        Code.INVALID_RESPONSE,
        "dtd",
    ),
    Case(
        "xxe-parameter-entity",
        doctype(b'<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1/x.dtd"> %x;]>'),
        Code.INVALID_RESPONSE,
        "dtd",
    ),
    Case("billion-laughs", doctype(LAUGHS, b"mallory@", b"&l8;@"), Code.INVALID_RESPONSE, "dtd"),
    Case(
        "id-by-entity",
        doctype(b"<!DOCTYPE r [<!ENTITY i 'evil'>]>", b'ID="', b'ID="&i;'),
        Code.INVALID_RESPONSE,
        "dtd",
    ),
    Case("doctype-lower-case", doctype(b"<!doctype r>"), Code.INVALID_RESPONSE, "dtd"),
    Case(
        "doctype-default-attribute",
        doctype(b"<!DOCTYPE r [<!ATTLIST r ID CDATA 'x'><!NOTATION n PUBLIC 'x'>]>"),
        Code.INVALID_RESPONSE,
        "dtd",
    ),
    Case(
        "utf16",
        lambda s: etree.tostring(s.signed(), encoding="UTF-16"),
        Code.INVALID_RESPONSE,
        "dtd",
    ),
    Case(
        "latin1",
        lambda s: etree.tostring(s.signed(), encoding="ISO-8859-1"),
        Code.INVALID_RESPONSE,
        "encoding",
    ),
    Case(
        "utf7",
        lambda s: b"<?xml version='1.0' encoding='UTF-7'?>" + etree.tostring(s.signed()),
        Code.INVALID_RESPONSE,
    ),
    Case(
        "huge-attribute",
        lambda s: etree.tostring(s.signed()).replace(b"mallory@", b"a" * 400_000),
        Code.INVALID_RESPONSE,
        "too-large",
    ),
    Case("deep", deep, Code.INVALID_RESPONSE, "xml"),
    Case("wide", wide, Code.INVALID_RESPONSE, "too-many-elements"),
    Case("not-xml", text(b"hello"), Code.INVALID_RESPONSE, "xml"),
    Case("empty", lambda _: "", Code.INVALID_RESPONSE, "xml"),
    Case("not-base64", lambda _: "%%%", Code.INVALID_RESPONSE, "bad-base64"),
    Case("not-ascii", lambda _: "PHNhbWxw\u00fc", Code.INVALID_RESPONSE, "bad-base64"),
    Case("half", lambda s: etree.tostring(s.signed())[:1500], Code.INVALID_RESPONSE, "xml"),
    Case(
        "processing-instruction",
        lambda s: b"<?x y?>" + etree.tostring(s.signed()),
        Code.INVALID_RESPONSE,
        "comment-or-pi",
    ),
    # ---- Protocol ----
    Case(
        "status-responder",
        knobs(status=idp.RESPONDER, status_message="<b>no</b>"),
        Code.IDP_REFUSED,
        "status",
    ),
    Case(
        "status-refused-around-success",
        change("//samlp:StatusCode", success_inside),
        Code.IDP_REFUSED,
        "status",
    ),
    Case("no-status", change("//samlp:Status", remove), Code.INVALID_RESPONSE, "status"),
    Case("version-1.1", knobs(version="1.1"), Code.INVALID_RESPONSE, "version"),
    Case(
        "no-assertion",
        change("//saml:Assertion", remove),
        Code.INVALID_RESPONSE,
        "one-assertion",
    ),
    Case(
        "logout-response-as-response",
        lambda s: idp.sign(idp.build_logout_response(s.connection, s.request_id), "response"),
        Code.INVALID_RESPONSE,
        "not-a-response",
    ),
    Case(
        "assertion-as-response",
        lambda s: idp.assertion_of(s.signed()),
        Code.INVALID_RESPONSE,
        "not-a-response",
    ),
    Case(
        "signature-at-the-end",
        lambda s: _move_signature(s.signed()),
        Code.INVALID_RESPONSE,
        "schema",
    ),
)

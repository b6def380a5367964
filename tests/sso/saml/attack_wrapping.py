"""Signature wrapping: something signed is there, and something else is to be read."""

from __future__ import annotations

from copy import deepcopy

from lxml import etree

from sso.errors import Code
from tests.sso import idp
from tests.sso.idp import DS, SAML, SAMLP
from tests.sso.saml.attack_tools import (
    VICTIM,
    Case,
    Scene,
    evil_twin,
    impersonate,
    put_in_extensions,
    sealed,
    without_signature,
)


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


def xsw7(scene: Scene) -> etree._Element:
    """An evil assertion in Extensions."""
    root = scene.signed()
    return put_in_extensions(root, evil_twin(idp.assertion_of(root)))


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
    return put_in_extensions(evil, original)


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


CASES = (
    Case("xsw1", xsw1, Code.INVALID_RESPONSE, "duplicate-id"),
    Case("xsw2", xsw2, Code.INVALID_RESPONSE, "duplicate-id"),
    Case("xsw3", xsw3, Code.INVALID_RESPONSE, "one-assertion"),
    Case("xsw4", xsw4, Code.INVALID_RESPONSE, "signature-place"),
    Case("xsw5", xsw5, Code.INVALID_RESPONSE, "reference-uri"),
    Case("xsw6", xsw6, Code.INVALID_RESPONSE, "reference-uri"),
    Case("xsw7", xsw7, Code.INVALID_RESPONSE, "one-assertion"),
    Case("xsw8", xsw8, Code.INVALID_RESPONSE, "signature-object"),
    Case("xsw-status-detail", xsw_status_detail, Code.INVALID_RESPONSE, "signature-place"),
    Case("xsw-advice", xsw_advice, Code.INVALID_RESPONSE, "signature-place"),
    Case("xsw-attribute-value", xsw_attribute_value, Code.INVALID_RESPONSE, "signature-place"),
    Case("xsw-whole-response", xsw_whole_response, Code.INVALID_RESPONSE, "signature-place"),
    Case("second-assertion", second_assertion, Code.INVALID_RESPONSE, "one-assertion"),
    Case("two-signed-assertions", two_signed_assertions, Code.INVALID_RESPONSE, "one-assertion"),
    Case("xsw3-encrypted", lambda s: sealed(xsw3(s)), Code.INVALID_RESPONSE, "one-assertion"),
    Case("xsw4-encrypted", lambda s: sealed(xsw4(s)), Code.INVALID_RESPONSE, "signature-place"),
    Case("xsw8-encrypted", lambda s: sealed(xsw8(s)), Code.INVALID_RESPONSE, "signature-object"),
    Case(
        "xsw-advice-encrypted",
        lambda s: sealed(xsw_advice(s)),
        Code.INVALID_RESPONSE,
        "signature-place",
    ),
    Case("encrypted-beside-signed", sealed_beside_signed, Code.INVALID_RESPONSE, "one-assertion"),
    Case("two-encrypted", two_sealed, Code.INVALID_RESPONSE, "encryption"),
)

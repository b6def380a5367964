"""Encrypted assertions, which anybody can make: our certificate is public."""

from __future__ import annotations

import base64
from collections.abc import Callable

from lxml import etree

from sso.errors import Code
from tests.sso import idp
from tests.sso.idp import DS, XENC
from tests.sso.saml.attack_tools import (
    XENC11,
    Build,
    Case,
    Scene,
    evil_twin,
    impersonate,
    remove,
    seal,
    sealed,
)


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


_SEALED = {"requires_encryption": True}
CASES = (
    Case(
        "not-encrypted",
        lambda s: s.signed(),
        Code.INVALID_RESPONSE,
        "not-encrypted",
        fields=_SEALED,
    ),
    Case(
        "encrypted-to-somebody-else",
        lambda s: s.signed(encrypt_to=idp.pair("other-sp").certificate),
        Code.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "ciphertext-garbage",
        _encrypted("//saml:EncryptedAssertion/xenc:EncryptedData/xenc:CipherData/*", garbage),
        Code.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "ciphertext-from-elsewhere",
        _encrypted("//xenc:EncryptedData/xenc:CipherData/*", cipher_reference),
        Code.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "key-from-elsewhere",
        _encrypted("//xenc:EncryptedData/ds:KeyInfo", remote_key),
        Code.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "key-derived-for-hours",
        _encrypted("//xenc:EncryptedData/ds:KeyInfo", derived_key),
        Code.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "key-transport-pkcs1",
        _encrypted(
            "//xenc:EncryptedKey/xenc:EncryptionMethod",
            lambda e: e.set("Algorithm", f"{XENC}rsa-1_5"),
        ),
        Code.INVALID_RESPONSE,
        "encryption-alg",
    ),
    Case(
        "triple-des",
        _encrypted(
            "//xenc:EncryptedData/xenc:EncryptionMethod",
            lambda e: e.set("Algorithm", f"{XENC}tripledes-cbc"),
        ),
        Code.INVALID_RESPONSE,
        "encryption-alg",
    ),
    Case(
        "no-key-info",
        _encrypted("//xenc:EncryptedData/ds:KeyInfo", remove),
        Code.INVALID_RESPONSE,
        "encryption",
    ),
    Case(
        "encrypted-comment",
        sealed_text(lambda raw: raw.replace(b"@x.example", b"<!--x-->@x.example")),
        Code.INVALID_RESPONSE,
        "comment-or-pi",
    ),
    Case(
        "encrypted-entity",
        sealed_text(lambda raw: raw.replace(b"@x.example", b"&who;@x.example")),
        Code.INVALID_RESPONSE,
    ),
    Case(
        "encrypted-doctype",
        sealed_text(lambda raw: b"<!DOCTYPE x [<!ENTITY who 'admin'>]>" + raw),
        Code.INVALID_RESPONSE,
    ),
    Case("encrypted-text", sealed_text(lambda _: b"hello"), Code.INVALID_RESPONSE),
    Case(
        "encrypted-evil-before-signed",
        sealed_text(lambda raw: etree.tostring(evil_twin(etree.fromstring(raw))) + raw),
        Code.INVALID_RESPONSE,
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
        Code.INVALID_RESPONSE,
        "schema",
    ),
    Case("encrypted-twice", sealed_twice, Code.INVALID_RESPONSE, "encryption"),
    Case("encrypted-name", encrypted_name, Code.INVALID_RESPONSE, "encryption"),
    Case("encrypted-attribute", encrypted_attribute, Code.INVALID_RESPONSE, "encryption"),
    Case(
        "encrypted-tampered",
        lambda s: sealed(impersonate(s.signed())),
        Code.INVALID_RESPONSE,
        "signature",
    ),
)

"""What the tables of attacks are written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import xmlsec
from lxml import etree
from xmlsec import constants

from sso.errors import Code
from sso.models import Connection
from tests.sso import idp
from tests.sso.idp import DS, SAML, SAMLP

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


def put_in_extensions(root: etree._Element, content: etree._Element) -> etree._Element:
    """The message with `content` in its Extensions."""
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    extensions.append(content)
    idp.find(root, "samlp:Status").addprevious(extensions)
    return root


def repeated(path: str) -> Build:
    """An element twice, signed."""
    return change(path, lambda element: element.addnext(deepcopy(element)), sign_after=True)

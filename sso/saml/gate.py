"""What a message has to look like before any cryptography runs on it.

First the bytes, then the structure: each rule is named, and the refusal carries the name. The
structure is checked twice where an assertion was encrypted, since anybody can encrypt to us: our
certificate is public.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from typing import cast

from lxml import etree

from sso.errors import Code, SignInRefused
from sso.saml import names

MAX_BYTES = 256 * 1024
MAX_ELEMENTS = 5000
_MAX_TRANSFORMS = 2
_ENCODINGS = frozenset({"utf-8", "us-ascii", "ascii"})
_DTD = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
_NC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,255}")
_WHITE = re.compile(r"[ \t\r\n]+")


def broken(check: str, reason: str, code: Code = Code.INVALID_RESPONSE) -> SignInRefused:
    """The refusal of a message that breaks the rule `check`."""
    return SignInRefused(code, reason, check=check)


# ---- Bytes ----------------------------------------------------------------------------------


def decode(raw: str) -> bytes:
    """The bytes of a base64 form field, at most 256 KiB."""
    if len(raw) > MAX_BYTES * 4 // 3 + 4:
        raise broken("too-large", f"The message has more than {MAX_BYTES} bytes.")
    try:
        return base64.b64decode(_WHITE.sub("", raw).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise broken("bad-base64", "The message is not base64.") from None


def parse(message: bytes, *roots: str) -> etree._Element:
    """The document, if it is plain XML in UTF-8 whose root is one of `roots`."""
    if len(message) > MAX_BYTES:
        raise broken("too-large", f"The message has more than {MAX_BYTES} bytes.")
    # A NUL byte also gives away UTF-16 and UTF-32.
    if b"\0" in message or _DTD.search(message):
        raise broken("dtd", "The message has a document type, an entity or a NUL byte.")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(message, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise broken("xml", f"The message is not well-formed XML: {shortened(error)}") from None
    info = root.getroottree().docinfo
    if info.internalDTD is not None:
        raise broken("dtd", "The message has a document type.")
    if (info.encoding or "utf-8").lower() not in _ENCODINGS:
        raise broken("encoding", f"The message is encoded in {shortened(info.encoding)}.")
    if root.tag not in roots:
        raise broken("not-a-response", f"The message is {shortened(root.tag)}.")
    return root


# ---- Structure ------------------------------------------------------------------------------


def check_structure(root: etree._Element) -> None:
    """Hold a message to everything that has to be so before its signatures are looked at.

    By XPath throughout: python3-saml's elements hide comments from iteration.
    """
    everything = elements(root, "//*")
    if len(everything) > MAX_ELEMENTS:
        raise broken("too-many-elements", f"The message has {len(everything)} elements.")
    if root.xpath("//comment() | //processing-instruction()"):
        raise broken("comment-or-pi", "The message has a comment or a processing instruction.")
    _check_ids(everything)
    signatures = elements(root, "//ds:Signature")
    if len({_parent(signature) for signature in signatures}) != len(signatures):
        raise broken("signature-place", "An element is signed twice.")
    for signature in signatures:
        _check_signature(root, signature)
    _check_encryption(root)


def _check_ids(everything: list[etree._Element]) -> None:
    """Attributes that any part of libxml2 or SAML takes for an ID, in any namespace."""
    counted = Counter(
        value
        for element in everything
        for name, value in element.items()
        if str(name).rpartition("}")[2].lower() in {"id", "assertionid"}
    )
    twice = next((value for value, times in counted.items() if times > 1), None)
    if twice is not None:
        raise broken("duplicate-id", f"The ID {shortened(twice)} stands there twice.")


def _check_signature(root: etree._Element, signature: etree._Element) -> None:
    parent = _parent(signature)
    is_assertion = parent.tag == names.ASSERTION and parent.getparent() is root
    if parent is not root and not is_assertion:
        raise broken("signature-place", f"A signature stands in {shortened(parent.tag)}.")
    if elements(signature, ".//ds:Object"):
        raise broken("signature-object", "A signature has an Object.")
    references = elements(signature, ".//ds:Reference")
    if len(references) != 1 or len(elements(signature, "ds:SignedInfo/ds:Reference")) != 1:
        raise broken("one-reference", f"A signature has {len(references)} References.")
    if len(elements(signature, ".//ds:SignedInfo")) != 1:
        raise broken("one-reference", "A signature has more than one SignedInfo.")
    own = parent.get("ID", "")
    if not _NC_NAME.fullmatch(own) or references[0].get("URI") != f"#{own}":
        raise broken("reference-uri", "A signature does not refer to the element it stands in.")
    _check_algorithms(signature, references[0])


def _check_algorithms(signature: etree._Element, reference: etree._Element) -> None:
    for check, element, path, allowed in (
        ("sig-alg", signature, "ds:SignedInfo/ds:SignatureMethod", names.SIGNATURE_METHODS),
        ("c14n-alg", signature, "ds:SignedInfo/ds:CanonicalizationMethod", {names.EXC_C14N}),
        ("digest-alg", reference, "ds:DigestMethod", names.DIGEST_METHODS),
    ):
        found = [each.get("Algorithm", "") for each in elements(element, path)]
        if len(found) != 1 or found[0] not in allowed:
            raise broken(
                check,
                f"The signature uses {shortened(', '.join(found)) or 'nothing'} as"
                f" {path.rpartition(':')[2]}. Use SHA-256 and exclusive canonicalization.",
                Code.SIGNATURE,
            )
    transforms = elements(reference, ".//ds:Transform")
    used = [each.get("Algorithm", "") for each in transforms]
    inside = {str(child.tag) for each in transforms for child in elements(each, ".//*")}
    if (
        not 1 <= len(used) <= _MAX_TRANSFORMS
        or len(set(used)) != len(used)
        or not set(used) <= {names.EXC_C14N, names.ENVELOPED}
        or not inside <= {f"{{{names.EXC_C14N}}}InclusiveNamespaces"}
    ):
        raise broken("transforms", "The signature's transforms are not the two of SAML.")


def _check_encryption(root: etree._Element) -> None:
    """Encrypted assertions only, of known shape: nothing that is fetched, derived or nested.

    XML Encryption lets a message name addresses to fetch ciphertext and keys from, and derive keys
    in as many rounds as it likes; both would run on an unauthenticated message.
    """
    # Only an assertion is decrypted here; anything else encrypted would go unread.
    for data in elements(root, "//xenc:EncryptedData"):
        parent = _parent(data)
        if parent.tag != names.ENCRYPTED_ASSERTION or parent.getparent() is not root:
            raise broken("encryption", f"{shortened(parent.tag)} is encrypted; that is not read.")
    for wrapper in elements(root, "//saml:EncryptedAssertion"):
        if len(elements(wrapper, "xenc:EncryptedData")) != 1:
            raise broken("encryption", "An EncryptedAssertion has not one EncryptedData.")
        if len(elements(wrapper, ".//xenc:EncryptedKey")) != 1:
            raise broken("encryption", "An EncryptedAssertion has not one EncryptedKey.")
        for element in elements(wrapper, ".//*"):
            _check_encrypted_part(element)


_ENCRYPTION_ELEMENTS = frozenset(
    {
        *(
            f"{{{names.XENC}}}{name}"
            for name in (
                "EncryptedData",
                "EncryptedKey",
                "EncryptionMethod",
                "CipherData",
                "CipherValue",
                "CarriedKeyName",
                "ReferenceList",
                "DataReference",
                "OAEPparams",
            )
        ),
        *(
            f"{{{names.DS}}}{name}"
            for name in (
                "KeyInfo",
                "KeyName",
                "DigestMethod",
                "RetrievalMethod",
                "X509Data",
                "X509Certificate",
                "X509IssuerSerial",
                "X509IssuerName",
                "X509SerialNumber",
                "X509SKI",
                "X509SubjectName",
            )
        ),
        f"{{{names.XENC11}}}MGF",
    }
)


def _check_encrypted_part(element: etree._Element) -> None:
    if element.tag not in _ENCRYPTION_ELEMENTS:
        raise broken("encryption", f"An EncryptedAssertion has a {shortened(element.tag)}.")
    uri = element.get("URI", "#")
    if not uri.startswith("#") or not (uri == "#" or _NC_NAME.fullmatch(uri[1:])):
        raise broken("encryption", "An EncryptedAssertion refers to something outside.")
    if element.tag == f"{{{names.DS}}}RetrievalMethod" and (
        element.get("Type") != f"{names.XENC}EncryptedKey"
        or _parent(_parent(element)).tag != f"{{{names.XENC}}}EncryptedData"
    ):
        raise broken("encryption", "An EncryptedAssertion retrieves something else than its key.")
    if element.tag == f"{{{names.XENC}}}EncryptionMethod":
        parent = _parent(element).tag
        data = parent == f"{{{names.XENC}}}EncryptedData"
        allowed = names.BLOCK_CIPHERS if data else names.KEY_TRANSPORTS
        algorithm = element.get("Algorithm", "")
        if algorithm not in allowed:
            raise broken(
                "encryption-alg",
                f"The assertion is encrypted by {shortened(algorithm) or 'nothing'}."
                " Use AES-GCM with RSA-OAEP.",
            )


# ---- Small things ---------------------------------------------------------------------------


def shortened(value: object, limit: int = 200) -> str:
    """Text of the message for a reason: printable, on one line, `limit` characters at most."""
    text = "".join(each if each.isprintable() else " " for each in str(value)[: limit + 1])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def elements(start: etree._Element, path: str) -> list[etree._Element]:
    """The elements at an XPath with the usual prefixes."""
    return cast("list[etree._Element]", start.xpath(path, namespaces=names.NS))


def _parent(element: etree._Element) -> etree._Element:
    """The parent; the root has none and stands for itself."""
    parent = element.getparent()
    return element if parent is None else parent

"""The one way from a response to a person: `verify`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import xmlsec
from django.db import DatabaseError
from django.utils import timezone
from lxml import etree
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from kms.envelope import KeyUnavailable
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection
from sso.saml import binding, gate, names
from sso.saml.gate import broken, elements, shortened
from sso.saml.instants import Clock
from sso.saml.keys import private_keys
from sso.saml.settings import library_settings
from sso.saml.signatures import Signers, signed_parts
from sso.saml.subject import read_subject

_SCHEMA = "saml-schema-protocol-2.0.xsd"
_MAX_ID = 256
_RESPONSE_SIGNATURE = OneLogin_Saml2_Utils.RESPONSE_SIGNATURE_XPATH
_ASSERTION_SIGNATURE = OneLogin_Saml2_Utils.ASSERTION_SIGNATURE_XPATH
_BOTH = (_RESPONSE_SIGNATURE, _ASSERTION_SIGNATURE)


def in_response_to(raw: str) -> str:
    """Which request the response claims to answer; empty: none. Nothing is verified yet.

    Raises:
        SignInRefused: the field is not a response at all.
    """
    with refusing():
        claimed = gate.parse(gate.decode(raw), names.RESPONSE).get("InResponseTo", "")
        if len(claimed) > _MAX_ID:
            raise broken("in-response-to", f"InResponseTo has more than {_MAX_ID} characters.")
        return claimed


def verify(
    raw: str, connection: Connection, request_id: str | None, *, now: datetime | None = None
) -> VerifiedAssertion:
    """What a SAML response proves, everything checked but two things.

    Whether the assertion was used before, and whether the e-mail address lies in a domain of the
    organization, are the caller's questions.

    Args:
        raw: the form field SAMLResponse as it came.
        connection: whose identity provider has to have signed it.
        request_id: the AuthnRequest that it has to answer; None: nobody asked, which only some
            connections allow.
        now: left out: now.

    Raises:
        SignInRefused: always with the rule that was broken, whatever arrives.
    """
    clock = Clock(now or timezone.now(), timedelta(seconds=connection.clock_skew_seconds))
    with refusing():
        signers = Signers.of(connection, clock)
        message = gate.decode(raw)
        root = gate.parse(message, names.RESPONSE)
        gate.check_structure(root)
        _check_message(root)
        if not elements(root, "//saml:EncryptedAssertion"):
            if connection.requires_encryption:
                raise broken("not-encrypted", "The assertion has to be encrypted to our key.")
            document = OneLogin_Saml2_Response(
                library_settings(connection), base64.b64encode(message)
            )
            gate.check_structure(document.get_xml_document())
            _check_signatures(connection, document, signers)
        else:
            # Whether it could be decrypted, and what came out, is not told in public: with CBC,
            # an answer to that opens intercepted assertions (Jager and Somorovsky, 2011).
            with _keeping_secret():
                document = _decrypted(connection, message)
                _check_signatures(connection, document, signers)
        return _read(connection, document.get_xml_document(), request_id, clock)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn every exception of the libraries into a refusal."""
    try:
        yield
    except (SignInRefused, DatabaseError):
        raise
    except Exception as error:
        raise broken(
            "library", f"The message can't be read: {type(error).__name__}: {shortened(error)}"
        ) from error


@contextmanager
def _keeping_secret() -> Iterator[None]:
    """Give every refusal the same public code; the reason and the rule stay."""
    try:
        with refusing():
            yield
    except SignInRefused as refused:
        raise SignInRefused(Code.INVALID_RESPONSE, refused.reason, check=refused.check) from refused


def _check_message(root: etree._Element) -> None:
    """Version and status, of which the identity provider's refusal is the usual one."""
    if root.get("Version") != "2.0":
        raise broken("version", f"The version is {shortened(root.get('Version'))}, not 2.0.")
    codes = elements(root, "samlp:Status/samlp:StatusCode")
    if len(codes) != 1:
        raise broken("status", "The response has not exactly one status.")
    if codes[0].get("Value") == names.SUCCESS:
        return
    told = [codes[0], *elements(codes[0], "samlp:StatusCode")]
    code = " / ".join(each.get("Value", "").rpartition(":")[2] for each in told)
    text = " ".join(each.text or "" for each in elements(root, "samlp:Status/samlp:StatusMessage"))
    raise broken(
        "status",
        f"The identity provider refused: {shortened(code, 100)}"
        + (f", {shortened(text)}" if text.strip() else ""),
        Code.IDP_REFUSED,
    )


def _opened(
    connection: Connection, message: bytes, *, private_key: str = ""
) -> OneLogin_Saml2_Response:
    """The library's view of exactly the bytes that the gate saw."""
    settings = library_settings(connection, private_key=private_key)
    return OneLogin_Saml2_Response(settings, base64.b64encode(message))


def _decrypted(connection: Connection, message: bytes) -> OneLogin_Saml2_Response:
    """The response with its assertion decrypted by whichever of our keys opens it, and checked."""
    try:
        keys = private_keys(connection)
    except KeyUnavailable as error:
        raise broken("sp-key", f"Our own key can't be opened: {error}") from error
    document = None
    for _, key in keys:
        try:
            document = _opened(connection, message, private_key=key)
        except xmlsec.Error:
            continue
        break
    if document is None:
        raise broken("encryption", "The assertion can't be decrypted with any of our keys.")
    tree = document.get_xml_document()
    # As bytes again: what hides in the decrypted tree, such as an entity, is found by the parser.
    gate.check_structure(gate.parse(etree.tostring(tree), names.RESPONSE))
    gate.check_structure(tree)
    if elements(tree, "//xenc:EncryptedData"):
        raise broken("encryption", "Something inside the encrypted assertion is encrypted again.")
    return document


def _check_signatures(
    connection: Connection, document: OneLogin_Saml2_Response, signers: Signers
) -> None:
    """Schema, issuers and signatures of the tree that is read afterwards.

    The library's own `is_valid` is not used: it compares addresses loosely and times with
    tolerances that can't be set. Its parts are, and `binding` has the rest.
    """
    outer, tree = document.document, document.get_xml_document()
    for each in {outer, tree}:
        if isinstance(OneLogin_Saml2_XML.validate_xml(each, _SCHEMA), str):
            raise broken("schema", "The response does not follow the schema of SAML 2.0.")
    if not document.validate_num_assertions():
        raise broken("one-assertion", "The response has not exactly one assertion.")
    binding.check_issuers(connection, tree, binding.only_assertion(tree))
    document.process_signed_elements()
    signed = signed_parts(tree, _BOTH)
    wanted = {
        Connection.SignedPart.EITHER: signed or {_ASSERTION_SIGNATURE},
        Connection.SignedPart.ASSERTION: {_ASSERTION_SIGNATURE},
        Connection.SignedPart.RESPONSE: {_RESPONSE_SIGNATURE},
    }[Connection.SignedPart(connection.signed_part)]
    if not wanted <= signed:
        label = Connection.SignedPart(connection.signed_part).label
        raise broken("assertion-not-signed", f"Not signed: {label}.", Code.SIGNATURE)
    if _RESPONSE_SIGNATURE in signed:
        # Over what was sent: the assertion still encrypted.
        signers.require_xml(outer, _RESPONSE_SIGNATURE)
    if _ASSERTION_SIGNATURE in signed:
        signers.require_xml(tree, _ASSERTION_SIGNATURE)


def _read(
    connection: Connection, root: etree._Element, request_id: str | None, clock: Clock
) -> VerifiedAssertion:
    """What the verified tree says, if it says it to us and now."""
    assertion = binding.only_assertion(root)
    confirmation = binding.only_confirmation(connection, assertion)
    binding.check_addressee(connection, root, assertion)
    binding.check_request(connection, root, confirmation, request_id)
    over = binding.check_times(root, assertion, confirmation, clock)
    session_index, session_ends, authenticated_at = binding.check_session(assertion, clock)
    subject = read_subject(connection, assertion)
    return VerifiedAssertion(
        connection_id=connection.pk,
        assertion_id=assertion.get("ID", ""),
        not_on_or_after=over,
        issuer=connection.idp_entity_id,
        uid=subject.uid,
        email=subject.email,
        name=subject.name,
        groups=subject.groups,
        roles=subject.roles,
        attributes=subject.attributes,
        name_id=subject.name_id,
        name_id_format=subject.name_id_format,
        session_index=session_index,
        session_not_on_or_after=session_ends,
        authenticated_at=authenticated_at,
    )

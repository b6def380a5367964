"""Single logout: messages from identity providers, and ours to them."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import unquote_plus

from django.utils import timezone
from lxml import etree
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from sso.errors import Code
from sso.models import Connection
from sso.saml import gate, names
from sso.saml.gate import broken, elements, shortened
from sso.saml.instants import Clock, instant
from sso.saml.requests import new_message, redirect
from sso.saml.signatures import Signers
from sso.saml.verify import refusing

MAX_AGE = timedelta(minutes=5)
"""How old a message may be, beside the tolerance for clocks."""
MAX_TEXT = 256
MAX_SESSIONS = 50
MAX_RELAY_STATE = 512
_SCHEMA = "saml-schema-protocol-2.0.xsd"
_FIELDS = frozenset({"SAMLRequest", "SAMLResponse"})
_SIGNED = ("RelayState", "SigAlg")


@dataclass(frozen=True, slots=True)
class LogoutMessage:
    """A logout message whose signature is good.

    Attributes:
        kind: the identity provider asks for a logout, or answers ours.
        id: its own; one that comes twice is the caller's question.
        in_response_to: of a response: the id of our request.
        status: of a response: the address of the status.
        name_id, name_id_format, session_indexes: of a request: whom to sign out; without session
            indexes, all sessions of that name.
        relay_state: goes back with the answer; never an address to go to.
    """

    kind: Literal["request", "response"]
    id: str
    in_response_to: str = ""
    status: str = ""
    name_id: str = ""
    name_id_format: str = ""
    session_indexes: tuple[str, ...] = ()
    relay_state: str = ""


def parse_logout(
    method: Literal["GET", "POST"], raw: str | Mapping[str, str], connection: Connection
) -> LogoutMessage:
    """A signed LogoutRequest or LogoutResponse of the connection's identity provider.

    Args:
        raw: of a GET the query string exactly as it came, over which the signature is; of a POST
            the form's fields.

    Raises:
        SignInRefused: always with the rule that was broken, whatever arrives.
    """
    clock = Clock(timezone.now(), timedelta(seconds=connection.clock_skew_seconds))
    with refusing():
        signers = Signers.of(connection, clock)
        if method == "GET" and isinstance(raw, str):
            root, relay_state = _from_query(raw, signers)
        elif method == "POST" and not isinstance(raw, str):
            root, relay_state = _from_form(raw, signers)
        else:
            raise broken("method", "A query string comes by GET, a form by POST.")
        _check(connection, root, clock)
        return _message(root, relay_state)


def logout_request_redirect(
    connection: Connection, name_id: str, name_id_format: str, session_index: str, request_id: str
) -> str:
    """The address at the identity provider that ends a session there; always signed.

    Raises:
        KeyUnavailable: the connection's key can't be opened.
    """
    root = new_message(connection, "LogoutRequest", request_id, connection.slo_url)
    named = etree.SubElement(root, f"{{{names.SAML}}}NameID")
    named.text = name_id
    if name_id_format:
        named.set("Format", name_id_format)
    if session_index:
        etree.SubElement(root, f"{{{names.SAMLP}}}SessionIndex").text = session_index
    return redirect(connection, connection.slo_url, ("SAMLRequest", root))


def logout_response_redirect(
    connection: Connection, in_response_to: str, relay_state: str, status: str
) -> str:
    """The address at the identity provider that answers its LogoutRequest; always signed.

    Args:
        relay_state: what came with the request; goes back as it is.
        status: address of the status, such as `sso.saml.names.SUCCESS`.

    Raises:
        KeyUnavailable: the connection's key can't be opened.
    """
    root = new_message(
        connection, "LogoutResponse", f"_{secrets.token_hex(16)}", connection.slo_url
    )
    root.set("InResponseTo", in_response_to)
    told = etree.SubElement(root, f"{{{names.SAMLP}}}Status")
    etree.SubElement(told, f"{{{names.SAMLP}}}StatusCode", Value=status)
    return redirect(connection, connection.slo_url, ("SAMLResponse", root), relay_state=relay_state)


# ---- Bindings -------------------------------------------------------------------------------


def _from_query(query: str, signers: Signers) -> tuple[etree._Element, str]:
    """The message of a query string, its signature verified (SAML bindings, 3.4.4.1)."""
    if len(query) > gate.MAX_BYTES:
        raise broken("too-large", f"The query has more than {gate.MAX_BYTES} characters.")
    raw: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in raw:
            raise broken("query", f"The parameter {shortened(name)} stands there twice.")
        raw[name] = value
    field = _field(raw)
    if "Signature" not in raw or "SigAlg" not in raw:
        raise broken("not-signed", "The message is not signed.", Code.SIGNATURE)
    signed = "&".join(f"{name}={raw[name]}" for name in (field, *_SIGNED) if name in raw)
    signers.require_query(
        unquote_plus(raw["SigAlg"]), signed.encode(), _unspaced(unquote_plus(raw["Signature"]))
    )
    message = _inflated(gate.decode(_unspaced(unquote_plus(raw[field]))))
    root = gate.parse(message, _root_of(field))
    gate.check_structure(root)
    if elements(root, "//ds:Signature"):
        raise broken("signature-place", "The message is signed twice, in the query and inside.")
    return root, _relay_state(unquote_plus(raw.get("RelayState", "")))


def _from_form(form: Mapping[str, str], signers: Signers) -> tuple[etree._Element, str]:
    """The message of a form, its own signature verified."""
    field = _field(form)
    root = gate.parse(gate.decode(form[field]), _root_of(field))
    gate.check_structure(root)
    signatures = elements(root, "//ds:Signature")
    if len(signatures) != 1 or signatures[0].getparent() is not root:
        raise broken("not-signed", "The message is not signed.", Code.SIGNATURE)
    _check_schema(root)
    signers.require_xml(root, "/*/ds:Signature")
    return root, _relay_state(form.get("RelayState", ""))


def _field(fields: Mapping[str, str]) -> str:
    found = _FIELDS & fields.keys()
    if len(found) != 1:
        raise broken("no-message", "There has to be one of SAMLRequest and SAMLResponse.")
    return next(iter(found))


def _root_of(field: str) -> str:
    return names.LOGOUT_REQUEST if field == "SAMLRequest" else names.LOGOUT_RESPONSE


def _unspaced(text: str) -> str:
    """A `+` of base64 that was not escaped arrives as a space."""
    return text.replace(" ", "+")


def _inflated(packed: bytes) -> bytes:
    """The bytes that were deflated, at most 256 KiB whatever they would grow to."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        message = unpacker.decompress(packed, gate.MAX_BYTES + 1)
    except zlib.error:
        raise broken("deflate", "The message is not deflated.") from None
    if len(message) > gate.MAX_BYTES:
        raise broken("too-large", f"The message has more than {gate.MAX_BYTES} bytes.")
    if not unpacker.eof:
        raise broken("deflate", "The message is cut off.")
    return message


def _relay_state(text: str) -> str:
    if len(text) > MAX_RELAY_STATE:
        raise broken("relay-state", f"RelayState has more than {MAX_RELAY_STATE} characters.")
    return text


# ---- Content --------------------------------------------------------------------------------


def _check_schema(root: etree._Element) -> None:
    if isinstance(OneLogin_Saml2_XML.validate_xml(root, _SCHEMA), str):
        raise broken("schema", "The message does not follow the schema of SAML 2.0.")


def _check(connection: Connection, root: etree._Element, clock: Clock) -> None:
    """By this identity provider, for this address, of now."""
    _check_schema(root)
    if root.get("Version") != "2.0":
        raise broken("version", f"The version is {shortened(root.get('Version'))}, not 2.0.")
    issuers = [(each.text or "").strip() for each in root.findall(names.ISSUER)]
    if not connection.idp_entity_id or issuers != [connection.idp_entity_id]:
        raise broken(
            "issuer", f"The issuer is {shortened(issuers) if issuers else 'not told'}.", Code.ISSUER
        )
    if root.get("Destination") != connection.sls_url:
        raise broken(
            "destination",
            f"Destination is {shortened(root.get('Destination'))}; it has to be"
            f" {connection.sls_url}.",
            Code.DESTINATION,
        )
    issued = root.get("IssueInstant", "")
    clock.require_begun(issued, "IssueInstant")
    if clock.now - instant(issued, "IssueInstant") > MAX_AGE + clock.skew:
        raise broken("expired", "The message is too old.", Code.EXPIRED)
    until = root.get("NotOnOrAfter")
    if until is not None:
        clock.require_not_over(until, "NotOnOrAfter")


def _message(root: etree._Element, relay_state: str) -> LogoutMessage:
    if root.tag == names.LOGOUT_RESPONSE:
        codes = elements(root, "samlp:Status/samlp:StatusCode")
        return LogoutMessage(
            kind="response",
            id=_short(root.get("ID", "")),
            in_response_to=_short(root.get("InResponseTo", "")),
            status=_short(codes[0].get("Value", "") if codes else ""),
            relay_state=relay_state,
        )
    named = elements(root, "saml:NameID")
    if len(named) != 1 or len(named[0]):
        raise broken("nameid", "The message does not name anybody by a NameID in plain text.")
    indexes = elements(root, "samlp:SessionIndex")
    if len(indexes) > MAX_SESSIONS:
        raise broken("session-index", f"The message names more than {MAX_SESSIONS} sessions.")
    return LogoutMessage(
        kind="request",
        id=_short(root.get("ID", "")),
        name_id=_short((named[0].text or "").strip()),
        name_id_format=_short(named[0].get("Format", "")),
        session_indexes=tuple(_short((each.text or "").strip()) for each in indexes),
        relay_state=relay_state,
    )


def _short(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise broken("too-long", f"A value has more than {MAX_TEXT} characters.")
    return text

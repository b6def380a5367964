"""What we send to the identity provider through the browser (HTTP-Redirect binding)."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.utils import timezone
from lxml import etree

from kms.envelope import KeyUnavailable
from sso.models import Connection
from sso.saml import names
from sso.saml.keys import signing_key


def authn_redirect(
    connection: Connection, request_id: str, *, relay_state: str, force: bool, email: str = ""
) -> str:
    """The address at the identity provider that asks it to sign somebody in.

    Args:
        request_id: ID of the request; an XML name, such as `_` and hexadecimal digits.
        relay_state: comes back with the response; empty: left out.
        force: have the person prove anew who they are.
        email: a hint for the provider's form, as `login_hint`; whoever does not know it ignores
            it. Not as Subject, which would oblige the provider to that very person.

    Raises:
        KeyUnavailable: the connection signs requests and its key can't be opened.
    """
    root = new_message(connection, "AuthnRequest", request_id, connection.sso_url)
    root.set("ProtocolBinding", names.POST_BINDING)
    root.set("AssertionConsumerServiceURL", connection.acs_url)
    if force:
        root.set("ForceAuthn", "true")
    etree.SubElement(
        root,
        f"{{{names.SAMLP}}}NameIDPolicy",
        Format=names.UNSPECIFIED_FORMAT,
        AllowCreate="true",
    )
    url = redirect(
        connection,
        connection.sso_url,
        ("SAMLRequest", root),
        relay_state=relay_state,
        signs=connection.signs_requests,
    )
    return f"{url}&login_hint={quote(email, safe='')}" if email else url


def redirect(
    connection: Connection,
    url: str,
    message: tuple[str, etree._Element],
    *,
    relay_state: str = "",
    signs: bool = True,
) -> str:
    """`url` with the message in its query, signed by RSA-SHA256 (SAML bindings, 3.4.4.1).

    Args:
        message: `SAMLRequest` or `SAMLResponse`, and the element.
    """
    field, root = message
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(etree.tostring(root)) + packer.flush()
    query = f"{field}={_quoted(base64.b64encode(packed))}"
    if relay_state:
        query += f"&RelayState={_quoted(relay_state.encode())}"
    if signs:
        query += f"&SigAlg={_quoted(names.RSA_SHA256.encode())}"
        query += f"&Signature={_quoted(base64.b64encode(_signature(connection, query)))}"
    return f"{url}{'&' if urlsplit(url).query else '?'}{query}"


def new_message(
    connection: Connection, name: str, message_id: str, destination: str
) -> etree._Element:
    """The root of a message of ours, with its Issuer."""
    root = etree.Element(
        f"{{{names.SAMLP}}}{name}", nsmap={"samlp": names.SAMLP, "saml": names.SAML}
    )
    root.set("ID", message_id)
    root.set("Version", "2.0")
    root.set("IssueInstant", timezone.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    root.set("Destination", destination)
    etree.SubElement(root, names.ISSUER).text = connection.sp_entity_id
    return root


def _signature(connection: Connection, query: str) -> bytes:
    _, pem = signing_key(connection)
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyUnavailable(f"The key of the connection {connection.pk} is not an RSA key.")
    return key.sign(query.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())


def _quoted(value: bytes) -> str:
    return quote(value, safe="")

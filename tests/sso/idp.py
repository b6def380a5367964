"""A SAML identity provider of our own, for tests: it says whatever it is told to, signed.

    idp.install(connection)
    answer = idp.make_response(connection, request_id, email="ada@acme.example")
    browser.post(connection.acs_url, {"SAMLResponse": answer, "RelayState": ""})

`build`, `sign`, `encrypt` and `encode` are the steps of `make_response`, for responses that no
honest provider would send.
"""

from __future__ import annotations

import base64
import secrets
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from xmlsec import constants

from kms.installation import provider
from sso.models import Connection, IdpCertificate, SpKey

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
DS = "http://www.w3.org/2000/09/xmldsig#"
MD = "urn:oasis:names:tc:SAML:2.0:metadata"
XENC = "http://www.w3.org/2001/04/xmlenc#"
NS = {"samlp": SAMLP, "saml": SAML, "ds": DS, "md": MD, "xenc": XENC}

EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
RESPONDER = "urn:oasis:names:tc:SAML:2.0:status:Responder"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
POST_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"

LIFETIME = timedelta(seconds=300)
MISSING = "(left out)"
"""As a value: the attribute or element is not there at all."""


# ---- Keys -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A private key (PEM) and its self-signed certificate (PEM)."""

    key: str
    certificate: str

    @property
    def algorithm(self) -> str:
        """The signature algorithm of the key with SHA-256."""
        key = serialization.load_pem_private_key(self.key.encode(), None)
        return RSA_SHA256 if isinstance(key, rsa.RSAPrivateKey) else ECDSA_SHA256

    @property
    def base64_certificate(self) -> str:
        """As XML carries it: DER in base64, no header."""
        return "".join(line for line in self.certificate.splitlines() if "-----" not in line)


@lru_cache(maxsize=32)
def pair(name: str = "idp", *, kind: str = "rsa", bits: int = 2048, days: int = 365) -> Pair:
    """The pair that goes by `name`, made once per process.

    Args:
        name: pairs of different names have different keys.
        kind: `rsa`, or `ec` for P-256.
        bits: size of an RSA key.
        days: from now until the certificate ends; negative: it ended so long ago.
    """
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind == "ec":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return Pair(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        certify(key, name, days=days),
    )


def certify(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, name: str, *, days: float = 365
) -> str:
    """A self-signed certificate in PEM that ends in `days` and began 400 days before that."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=400))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def install(connection: Connection, *pairs: Pair) -> None:
    """Have the connection believe `pairs` (left out: `pair()`), and give it a key of its own."""
    for each in pairs or (pair(),):
        add_certificate(connection, each)
    add_sp_key(connection, pair("sp"))


def add_certificate(connection: Connection, of: Pair) -> IdpCertificate:
    """Have the connection believe one more pair."""
    read = x509.load_pem_x509_certificate(of.certificate.encode())
    return IdpCertificate.objects.create(
        connection=connection,
        pem=of.certificate,
        fingerprint=read.fingerprint(hashes.SHA256()).hex(),
        not_before=read.not_valid_before_utc,
        not_after=read.not_valid_after_utc,
        source=IdpCertificate.Source.MANUAL,
    )


def add_sp_key(
    connection: Connection, of: Pair, *, state: SpKey.State = SpKey.State.CURRENT
) -> SpKey:
    """Give the connection a key, wrapped as services wrap it."""
    number = uuid.uuid4()
    wrapped = provider().wrap(
        of.key.encode(), context={"purpose": "saml-sp-key", "key": str(number)}
    )
    read = x509.load_pem_x509_certificate(of.certificate.encode())
    return SpKey.objects.create(
        id=number,
        connection=connection,
        state=state,
        certificate_pem=of.certificate,
        wrapped_key=wrapped.dump(),
        not_after=read.not_valid_after_utc,
    )


# ---- Responses ------------------------------------------------------------------------------


def make_response(
    connection: Connection,
    request_id: str | None,
    *,
    email: str = "ada@acme.example",
    sign_with: str = "assertion",
    signer: Pair | None = None,
    encrypt_to: str = "",
    **knobs: object,
) -> str:
    """The form field `SAMLResponse`: a response as an honest provider sends it.

    Args:
        request_id: ID of the AuthnRequest that it answers; None: nobody asked.
        email: NameID and attribute `email`, unless `knobs` say something else.
        sign_with: `assertion`, `response`, `both` or `none`.
        signer: whose key signs; left out: `pair()`.
        encrypt_to: PEM certificate of ours that the signed assertion is encrypted to, such as
            `idp.pair("sp").certificate`; empty: it is not.
        knobs: of `build`.
    """
    signer = signer or pair()
    root = build(connection, request_id, email=email, **knobs)  # type: ignore[arg-type]
    if root.find(f"{{{SAML}}}Assertion") is None:
        return encode(root if sign_with == "none" else sign(root, "response", signer))
    if sign_with in {"assertion", "both"}:
        root = sign(root, "assertion", signer)
    if encrypt_to:
        root = encrypt(root, encrypt_to)
    if sign_with in {"response", "both"}:
        root = sign(root, "response", signer)
    return encode(root)


def build(  # noqa: PLR0913, PLR0915  all by name; one line per element
    connection: Connection,
    request_id: str | None,
    *,
    email: str = "ada@acme.example",
    name_id: str | None = None,
    name_id_format: str = EMAIL_FORMAT,
    attributes: Mapping[str, str | Sequence[str]] | None = None,
    groups: Sequence[str] = (),
    roles: Sequence[str] = (),
    display_name: str = "",
    session_index: str | None = None,
    session_lifetime: timedelta | None = None,
    proven_ago: timedelta = timedelta(0),
    clock: timedelta = timedelta(),
    lifetime: timedelta = LIFETIME,
    not_before: timedelta = timedelta(seconds=-60),
    scd_lifetime: timedelta | None = None,
    issuer: str | None = None,
    response_issuer: str | None = None,
    destination: str | None = None,
    recipient: str | None = None,
    audience: str | None = None,
    response_in_response_to: str | None = None,
    scd_in_response_to: str | None = None,
    status: str = SUCCESS,
    status_message: str = "",
    version: str = "2.0",
    assertion_id: str = "",
) -> etree._Element:
    """An unsigned response.

    Args:
        name_id: left out: the e-mail address; `MISSING`: a Subject without one.
        attributes: name to value or values; left out: `email`. `groups`, `roles` and
            `display_name` are added to them.
        session_lifetime: of SessionNotOnOrAfter; None: there is none.
        proven_ago: how long ago AuthnInstant is.
        clock: how far the provider's clock is ahead of ours; moves every instant.
        lifetime, not_before: of Conditions, from the provider's now.
        scd_lifetime: of SubjectConfirmationData; left out: `lifetime`.
        issuer, response_issuer, destination, recipient, audience: left out: the right one;
            `MISSING`: none.
        response_in_response_to, scd_in_response_to: left out: `request_id`; `MISSING`: none.
    """
    now = datetime.now(UTC) + clock
    said: dict[str, str | Sequence[str]] = dict(attributes or {})
    if attributes is None:
        said["email"] = email
    for name, values in (("groups", groups), ("roles", roles)):
        if values:
            said[name] = list(values)
    if display_name:
        said["displayName"] = display_name
    issuer = connection.idp_entity_id if issuer is None else issuer

    root = etree.Element(f"{{{SAMLP}}}Response", nsmap={"samlp": SAMLP, "saml": SAML})
    _put(root, "ID", new_id())
    _put(root, "Version", version)
    _put(root, "IssueInstant", instant(now))
    _put(root, "Destination", connection.acs_url if destination is None else destination)
    _put(root, "InResponseTo", _first(response_in_response_to, request_id))
    _child(root, SAML, "Issuer", issuer if response_issuer is None else response_issuer)
    status_element = etree.SubElement(root, f"{{{SAMLP}}}Status")
    etree.SubElement(status_element, f"{{{SAMLP}}}StatusCode", Value=status)
    _child(status_element, SAMLP, "StatusMessage", status_message or MISSING)
    if status != SUCCESS:
        return root

    assertion = etree.SubElement(root, f"{{{SAML}}}Assertion")
    _put(assertion, "ID", assertion_id or new_id())
    _put(assertion, "Version", "2.0")
    _put(assertion, "IssueInstant", instant(now))
    _child(assertion, SAML, "Issuer", issuer)
    subject = etree.SubElement(assertion, f"{{{SAML}}}Subject")
    named = _child(subject, SAML, "NameID", email if name_id is None else name_id)
    if named is not None:
        named.set("Format", name_id_format)
    confirmation = etree.SubElement(
        subject,
        f"{{{SAML}}}SubjectConfirmation",
        Method="urn:oasis:names:tc:SAML:2.0:cm:bearer",
    )
    data = etree.SubElement(confirmation, f"{{{SAML}}}SubjectConfirmationData")
    _put(data, "NotOnOrAfter", instant(now + (lifetime if scd_lifetime is None else scd_lifetime)))
    _put(data, "Recipient", connection.acs_url if recipient is None else recipient)
    _put(data, "InResponseTo", _first(scd_in_response_to, request_id))
    conditions = etree.SubElement(assertion, f"{{{SAML}}}Conditions")
    _put(conditions, "NotBefore", instant(now + not_before))
    _put(conditions, "NotOnOrAfter", instant(now + lifetime))
    if audience != MISSING:
        restriction = etree.SubElement(conditions, f"{{{SAML}}}AudienceRestriction")
        _child(restriction, SAML, "Audience", audience or connection.sp_entity_id)
    statement = etree.SubElement(assertion, f"{{{SAML}}}AuthnStatement")
    _put(statement, "AuthnInstant", instant(now - proven_ago))
    _put(statement, "SessionIndex", session_index or new_id())
    if session_lifetime is not None:
        _put(statement, "SessionNotOnOrAfter", instant(now + session_lifetime))
    context = etree.SubElement(statement, f"{{{SAML}}}AuthnContext")
    _child(
        context,
        SAML,
        "AuthnContextClassRef",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
    )
    if said:
        told = etree.SubElement(assertion, f"{{{SAML}}}AttributeStatement")
        for name, values in said.items():
            add_attribute(told, name, [values] if isinstance(values, str) else values)
    return root


def add_attribute(statement: etree._Element, name: str, values: Sequence[str]) -> etree._Element:
    """One more Attribute of an AttributeStatement."""
    attribute = etree.SubElement(statement, f"{{{SAML}}}Attribute", Name=name)
    for value in values:
        _child(attribute, SAML, "AttributeValue", value)
    return attribute


def find(root: etree._Element, path: str) -> etree._Element:
    """The first element at an XPath with the usual prefixes."""
    found = root.xpath(path, namespaces=NS)
    assert isinstance(found, list)
    element = found[0]
    assert isinstance(element, etree._Element)
    return element


def assertion_of(root: etree._Element) -> etree._Element:
    """The first assertion, wherever it stands."""
    return find(root, "//saml:Assertion")


def sign(
    root: etree._Element,
    part: str = "assertion",
    signer: Pair | None = None,
    *,
    algorithm: str = "",
    c14n: str = "http://www.w3.org/2001/10/xml-exc-c14n#",
    key_info: bool = True,
) -> etree._Element:
    """The document anew, with `part` (`assertion` or `response`) signed right after its Issuer.

    `response` stands for the root, whatever message it is. `algorithm` left out: with SHA-256, as
    the key has it.
    """
    signer = signer or pair()
    algorithm = algorithm or signer.algorithm
    element = root if part == "response" else assertion_of(root)
    signature = signature_for(element, algorithm=algorithm, c14n=c14n, key_info=key_info)
    issuer = element.find(f"{{{SAML}}}Issuer")
    if issuer is None:
        element.insert(0, signature)
    else:
        issuer.addnext(signature)
    sign_in_place(signature, signer, key_info=key_info)
    return reparse(root)


def signature_for(
    element: etree._Element,
    *,
    algorithm: str = RSA_SHA256,
    c14n: str = "http://www.w3.org/2001/10/xml-exc-c14n#",
    key_info: bool = True,
) -> etree._Element:
    """An empty Signature over `element`, not in the tree yet."""
    signature = xmlsec.template.create(
        element,
        _TRANSFORMS[c14n],
        _TRANSFORMS[algorithm],
        ns="ds",
    )
    reference = xmlsec.template.add_reference(
        signature, constants.TransformSha256, uri=f"#{element.get('ID')}"
    )
    xmlsec.template.add_transform(reference, constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, _TRANSFORMS[c14n])
    if key_info:
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    return signature


_TRANSFORMS = {
    each.href: each
    for each in (
        constants.TransformExclC14N,
        constants.TransformInclC14N,
        constants.TransformRsaSha1,
        constants.TransformRsaSha256,
        constants.TransformRsaSha384,
        constants.TransformRsaSha512,
        constants.TransformEcdsaSha256,
        constants.TransformHmacSha256,
    )
}


def sign_in_place(signature: etree._Element, signer: Pair, *, key_info: bool = True) -> None:
    """Fill a Signature that stands where it belongs."""
    context = xmlsec.SignatureContext()
    key = xmlsec.Key.from_memory(signer.key, constants.KeyDataFormatPem, None)
    if key_info:
        key.load_cert_from_memory(signer.certificate, constants.KeyDataFormatCertPem)
    context.key = key
    root = signature.getroottree().getroot()
    xmlsec.tree.add_ids(root, ["ID"])
    context.sign(signature)


def encrypt(
    root: etree._Element,
    certificate: str,
    *,
    name: str = "Assertion",
    wrapper: str = "EncryptedAssertion",
) -> etree._Element:
    """The document anew, with the first element `name` encrypted to a PEM certificate."""
    plain = find(root, f"//saml:{name}")
    data = xmlsec.template.encrypted_data_create(
        plain, constants.TransformAes256Gcm, type=constants.TypeEncElement, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    key_info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    encrypted_key = xmlsec.template.add_encrypted_key(key_info, constants.TransformRsaOaep)
    xmlsec.template.encrypted_data_ensure_cipher_value(encrypted_key)
    manager = xmlsec.KeysManager()
    public = xmlsec.Key.from_memory(certificate, constants.KeyDataFormatCertPem, None)
    manager.add_key(public)
    context = xmlsec.EncryptionContext(manager)
    context.key = xmlsec.Key.generate(constants.KeyDataAes, 256, constants.KeyDataTypeSession)
    place = etree.Element(f"{{{SAML}}}{wrapper}", nsmap={"saml": SAML})
    encrypted = context.encrypt_xml(data, plain)
    parent = encrypted.getparent()
    assert parent is not None
    parent.replace(encrypted, place)
    place.append(encrypted)
    return reparse(root)


# ---- Logout ---------------------------------------------------------------------------------


def build_logout_request(
    connection: Connection,
    *,
    name_id: str,
    name_id_format: str = EMAIL_FORMAT,
    session_indexes: Sequence[str] = (),
    destination: str | None = None,
    issuer: str | None = None,
    clock: timedelta = timedelta(),
) -> etree._Element:
    """An unsigned LogoutRequest of the provider."""
    root = _logout_root(connection, "LogoutRequest", destination, issuer, clock)
    named = _child(root, SAML, "NameID", name_id)
    if named is not None:
        named.set("Format", name_id_format)
    for index in session_indexes:
        _child(root, SAMLP, "SessionIndex", index)
    return root


def build_logout_response(
    connection: Connection,
    in_response_to: str,
    *,
    status: str = SUCCESS,
    destination: str | None = None,
    issuer: str | None = None,
    clock: timedelta = timedelta(),
) -> etree._Element:
    """An unsigned LogoutResponse of the provider."""
    root = _logout_root(connection, "LogoutResponse", destination, issuer, clock)
    _put(root, "InResponseTo", in_response_to)
    element = etree.SubElement(root, f"{{{SAMLP}}}Status")
    etree.SubElement(element, f"{{{SAMLP}}}StatusCode", Value=status)
    return root


def _logout_root(
    connection: Connection,
    name: str,
    destination: str | None,
    issuer: str | None,
    clock: timedelta,
) -> etree._Element:
    root = etree.Element(f"{{{SAMLP}}}{name}", nsmap={"samlp": SAMLP, "saml": SAML})
    _put(root, "ID", new_id())
    _put(root, "Version", "2.0")
    _put(root, "IssueInstant", instant(datetime.now(UTC) + clock))
    _put(root, "Destination", connection.sls_url if destination is None else destination)
    _child(root, SAML, "Issuer", connection.idp_entity_id if issuer is None else issuer)
    return root


def redirect_query(
    root: etree._Element,
    *,
    relay_state: str = "",
    signer: Pair | None = None,
    algorithm: str = RSA_SHA256,
) -> str:
    """The message as a signed query string (HTTP-Redirect binding)."""
    kind = "SAMLResponse" if str(root.tag).endswith("Response") else "SAMLRequest"
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(etree.tostring(root)) + packer.flush()
    query = f"{kind}={quote(base64.b64encode(packed), safe='')}"
    if relay_state:
        query += f"&RelayState={quote(relay_state, safe='')}"
    query += f"&SigAlg={quote(algorithm, safe='')}"
    key = serialization.load_pem_private_key((signer or pair()).key.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    signature = key.sign(query.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{query}&Signature={quote(base64.b64encode(signature), safe='')}"


# ---- Metadata -------------------------------------------------------------------------------


def metadata(
    entity_id: str = "https://idp.example/saml",
    *pairs: Pair,
    sso_url: str = "https://idp.example/sso",
    slo_url: str = "https://idp.example/slo",
) -> bytes:
    """Metadata of the provider with the certificates of `pairs` (left out: `pair()`)."""
    root = etree.Element(f"{{{MD}}}EntityDescriptor", nsmap={"md": MD, "ds": DS})
    _put(root, "entityID", entity_id)
    role = etree.SubElement(root, f"{{{MD}}}IDPSSODescriptor", protocolSupportEnumeration=SAMLP)
    for each in pairs or (pair(),):
        descriptor = etree.SubElement(role, f"{{{MD}}}KeyDescriptor", use="signing")
        info = etree.SubElement(descriptor, f"{{{DS}}}KeyInfo")
        data = etree.SubElement(info, f"{{{DS}}}X509Data")
        _child(data, DS, "X509Certificate", each.base64_certificate)
    if slo_url:
        etree.SubElement(
            role, f"{{{MD}}}SingleLogoutService", Binding=REDIRECT_BINDING, Location=slo_url
        )
    etree.SubElement(role, f"{{{MD}}}SingleSignOnService", Binding=POST_BINDING, Location=sso_url)
    etree.SubElement(
        role, f"{{{MD}}}SingleSignOnService", Binding=REDIRECT_BINDING, Location=sso_url
    )
    return etree.tostring(root)


# ---- Small things ---------------------------------------------------------------------------


def encode(message: etree._Element | bytes) -> str:
    """As the form field of the POST binding has it."""
    raw = message if isinstance(message, bytes) else etree.tostring(message)
    return base64.b64encode(raw).decode()


def decode(field: str) -> etree._Element:
    """The inverse of `encode`."""
    return etree.fromstring(base64.b64decode(field))


def reparse(root: etree._Element) -> etree._Element:
    """The document as whoever receives it sees it."""
    return etree.fromstring(etree.tostring(root))


def new_id() -> str:
    """An ID as XML wants it."""
    return f"_{secrets.token_hex(16)}"


def instant(at: datetime) -> str:
    """As XML Schema has it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _first(value: str | None, otherwise: str | None) -> str:
    if value is not None:
        return value
    return MISSING if otherwise is None else otherwise


def _put(element: etree._Element, name: str, value: str) -> None:
    if value != MISSING:
        element.set(name, value)


def _child(parent: etree._Element, namespace: str, name: str, text: str) -> etree._Element | None:
    if text == MISSING:
        return None
    element = etree.SubElement(parent, f"{{{namespace}}}{name}")
    element.text = text
    return element

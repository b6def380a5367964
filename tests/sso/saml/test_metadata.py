"""Our metadata, and what is made of theirs."""

from __future__ import annotations

import time

import pytest
from lxml import etree
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from orgs.errors import InvalidArgument
from sso.models import Connection, SpKey
from sso.saml.metadata import parse_idp_metadata, sp_metadata
from tests import factories
from tests.sso import idp
from tests.sso.support import make_connection

ENTITY = "https://idp.example/saml"
OTHER = "https://other.example/saml"


@pytest.fixture
def connection(db: None) -> Connection:
    organization = factories.make_organization(factories.make_user("owner@x.example"), "X")
    return make_connection(organization)


# ---- Ours ----


def test_our_metadata_follows_the_schema_and_never_ends(connection: Connection) -> None:
    idp.add_sp_key(connection, idp.pair("sp"))
    root = etree.fromstring(sp_metadata(connection))
    found = OneLogin_Saml2_XML.validate_xml(root, "saml-schema-metadata-2.0.xsd")
    assert not isinstance(found, str)
    assert root.get("entityID") == connection.sp_entity_id
    assert root.get("validUntil") is None
    consumer = idp.find(root, "//md:AssertionConsumerService")
    assert consumer.get("Location") == connection.acs_url
    assert consumer.get("Binding") == idp.POST_BINDING


def test_current_and_next_key_stand_there_to_sign_and_to_encrypt(connection: Connection) -> None:
    for state in SpKey.State:
        idp.add_sp_key(connection, idp.pair(f"sp-{state.value}"), state=state)
    root = etree.fromstring(sp_metadata(connection))
    wanted = [idp.pair(f"sp-{name}").base64_certificate for name in ("current", "next")]
    for use in ("signing", "encryption"):
        path = f"//md:KeyDescriptor[@use='{use}']//ds:X509Certificate/text()"
        assert root.xpath(path, namespaces=idp.NS) == wanted


def test_our_metadata_says_what_has_to_be_signed(connection: Connection) -> None:
    for part, wanted in (("either", "true"), ("assertion", "true"), ("response", "false")):
        connection.signed_part = part
        role = idp.find(etree.fromstring(sp_metadata(connection)), "//md:SPSSODescriptor")
        assert role.get("WantAssertionsSigned") == wanted
        assert role.get("AuthnRequestsSigned") == "true"


# ---- Theirs ----


def test_everything_that_is_needed_is_read() -> None:
    found = parse_idp_metadata(idp.metadata(ENTITY, idp.pair(), idp.pair("idp-next")))
    assert found.entity_id == ENTITY
    assert found.sso_url == "https://idp.example/sso"
    assert found.slo_url == "https://idp.example/slo"
    certificates = [idp.pair().certificate, idp.pair("idp-next").certificate]
    assert list(found.certificates) == certificates


def test_logout_address_may_be_missing() -> None:
    assert parse_idp_metadata(idp.metadata(ENTITY, slo_url="")).slo_url == ""


def several(*documents: bytes) -> bytes:
    """As federations publish it."""
    root = etree.Element(f"{{{idp.MD}}}EntitiesDescriptor")
    for each in documents:
        root.append(etree.fromstring(each))
    return etree.tostring(root)


def test_one_of_several_is_chosen_by_its_entity_id() -> None:
    both = several(idp.metadata(ENTITY), idp.metadata(OTHER, sso_url="https://other.example/sso"))
    with pytest.raises(InvalidArgument, match="2 identity providers"):
        parse_idp_metadata(both)
    assert parse_idp_metadata(both, entity_id=OTHER).sso_url == "https://other.example/sso"
    with pytest.raises(InvalidArgument, match="does not describe"):
        parse_idp_metadata(both, entity_id="https://third.example")


def test_encryption_keys_are_not_taken_for_signing_keys() -> None:
    document = idp.metadata(ENTITY).replace(b'use="signing"', b'use="encryption"')
    with pytest.raises(InvalidArgument, match="no signing certificate"):
        parse_idp_metadata(document)
    document = idp.metadata(ENTITY).replace(b' use="signing"', b"")
    assert parse_idp_metadata(document).certificates


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/sso",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "",
        "https://[",
    ],
    ids=["http", "javascript", "file", "no-host", "empty", "broken"],
)
def test_addresses_that_are_not_https_are_not_taken(url: str) -> None:
    with pytest.raises(InvalidArgument, match="https"):
        parse_idp_metadata(idp.metadata(ENTITY, sso_url=url))
    assert parse_idp_metadata(idp.metadata(ENTITY, slo_url=url)).slo_url == ""


LAUGHS = b"<!DOCTYPE r [<!ENTITY l0 'ha'>%s]><r>&l8;</r>" % b"".join(
    b"<!ENTITY l%d '%s'>" % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 9)
)
HOSTILE = {
    "empty": b"",
    "not-xml": b"hello",
    "html": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "billion-laughs": LAUGHS,
    "external-entity": b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
    "huge": b"<r>" + b"x" * (1024 * 1024) + b"</r>",
    "deep": b"<a>" * 2000 + b"</a>" * 2000,
    "wide": several(*[f"<m:EntityDescriptor xmlns:m='{idp.MD}'/>".encode()] * 5001),
    "utf16": idp.metadata(ENTITY).decode().encode("utf-16"),
    "latin1": b"<?xml version='1.0' encoding='latin-1'?>" + idp.metadata(ENTITY),
    "service-provider": idp.metadata(ENTITY).replace(b"IDPSSODescriptor", b"SPSSODescriptor"),
    "saml-1": idp.metadata(ENTITY).replace(b"SAML:2.0:protocol", b"SAML:1.1:protocol"),
    "no-entity-id": idp.metadata(""),
    "long-entity-id": idp.metadata("https://" + "x" * 2000),
    "line-in-entity-id": idp.metadata("https://x\ny").replace(b"&#10;", b"&#10;"),
    "no-certificate": idp.metadata(ENTITY).replace(b"X509Certificate", b"X509CRL"),
    "certificate-garbage": idp.metadata(ENTITY).replace(b"MII", b"AAA"),
    "nul": idp.metadata(ENTITY) + b"\0",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_and_useless_metadata_is_refused_in_words(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidArgument) as refused:
        parse_idp_metadata(HOSTILE[name])
    assert len(refused.value.message) > 20
    assert time.monotonic() - began < 10


def test_comments_and_white_space_do_no_harm() -> None:
    document = b"\n <!-- x -->" + idp.metadata(ENTITY).replace(b"<ds:X509Data>", b"<ds:X509Data>\n")
    assert parse_idp_metadata(document).entity_id == ENTITY

"""Logout messages count only when signed, fresh, and addressed here."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from lxml import etree

from sso.errors import Code, SignInRefused
from sso.models import Connection
from sso.saml import names
from sso.saml.logout import (
    LogoutMessage,
    logout_request_redirect,
    logout_response_redirect,
    parse_logout,
)
from sso.saml.requests import authn_redirect
from sso.saml.signatures import Signers
from tests import factories
from tests.sso import idp
from tests.sso.support import make_connection

NAME = "ada@acme.example"


@pytest.fixture
def connection(db: None) -> Connection:
    organization = factories.make_organization(factories.make_user("owner@x.example"), "X")
    made = make_connection(organization, slo_url="https://idp.example/slo?tenant=x")
    idp.install(made)
    return made


def by_query(root: etree._Element, connection: Connection, **said: str) -> LogoutMessage:
    return parse_logout("GET", idp.redirect_query(root, **said), connection)  # type: ignore[arg-type]


def by_form(root: etree._Element, connection: Connection) -> LogoutMessage:
    field = "SAMLResponse" if str(root.tag).endswith("Response") else "SAMLRequest"
    return parse_logout("POST", {field: idp.encode(root), "RelayState": "r"}, connection)


def refusal(call: Callable[[], object]) -> SignInRefused:
    with pytest.raises(SignInRefused) as refused:
        call()
    return refused.value


# ---- Theirs ----


def test_signed_request_says_whom_to_sign_out(connection: Connection) -> None:
    root = idp.build_logout_request(connection, name_id=NAME, session_indexes=["_a", "_b"])
    found = by_query(root, connection, relay_state="https://evil.example/")
    assert found == LogoutMessage(
        kind="request",
        id=root.get("ID", ""),
        name_id=NAME,
        name_id_format=idp.EMAIL_FORMAT,
        session_indexes=("_a", "_b"),
        relay_state="https://evil.example/",
    )
    found = by_form(idp.sign(root, "response"), connection)
    assert (found.name_id, found.session_indexes, found.relay_state) == (NAME, ("_a", "_b"), "r")


def test_signed_response_says_what_it_answers(connection: Connection) -> None:
    root = idp.build_logout_response(connection, "_ours")
    for found in (by_query(root, connection), by_form(idp.sign(root, "response"), connection)):
        assert (found.kind, found.in_response_to, found.status) == (
            "response",
            "_ours",
            names.SUCCESS,
        )


def test_unsigned_messages_are_refused(connection: Connection) -> None:
    root = idp.build_logout_request(connection, name_id=NAME)
    query = idp.redirect_query(root).partition("&SigAlg")[0]
    assert refusal(lambda: parse_logout("GET", query, connection)).code == Code.SIGNATURE
    assert refusal(lambda: by_form(root, connection)).code == Code.SIGNATURE


def test_messages_of_another_key_are_refused(connection: Connection) -> None:
    root = idp.build_logout_request(connection, name_id=NAME)
    query = idp.redirect_query(root, signer=idp.pair("attacker"))
    assert refusal(lambda: parse_logout("GET", query, connection)).code == Code.SIGNATURE
    signed = idp.sign(root, "response", idp.pair("attacker"))
    assert refusal(lambda: by_form(signed, connection)).code == Code.SIGNATURE


def test_changed_messages_are_refused(connection: Connection) -> None:
    root = idp.build_logout_request(connection, name_id=NAME)
    query = idp.redirect_query(root, relay_state="here")
    evil = query.replace("RelayState=here", "RelayState=there")
    assert refusal(lambda: parse_logout("GET", evil, connection)).code == Code.SIGNATURE
    signed = idp.sign(root, "response")
    idp.find(signed, "//saml:NameID").text = "admin@acme.example"
    assert refusal(lambda: by_form(signed, connection)).code == Code.SIGNATURE


def test_parameter_that_stands_there_twice_is_refused(connection: Connection) -> None:
    query = idp.redirect_query(idp.build_logout_request(connection, name_id=NAME))
    other = idp.redirect_query(idp.build_logout_request(connection, name_id="admin"))
    both = f"{query}&{other.split('&')[0]}"
    assert refusal(lambda: parse_logout("GET", both, connection)).check == "query"


def test_request_and_response_in_one_message_are_refused(connection: Connection) -> None:
    query = idp.redirect_query(idp.build_logout_request(connection, name_id=NAME))
    both = f"{query}&SAMLResponse=x"
    assert refusal(lambda: parse_logout("GET", both, connection)).check == "no-message"


def test_sha1_is_refused(connection: Connection) -> None:
    root = idp.build_logout_request(connection, name_id=NAME)
    query = idp.redirect_query(root, algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1")
    assert refusal(lambda: parse_logout("GET", query, connection)).check == "sig-alg"


def wrapped(root: etree._Element) -> etree._Element:
    """The signed message inside an evil one."""
    signed = idp.sign(root, "response")
    evil = idp.reparse(root)
    evil.set("ID", "_evil")
    idp.find(evil, "saml:NameID").text = "admin@acme.example"
    extensions = etree.Element(f"{{{idp.SAMLP}}}Extensions")
    extensions.append(signed)
    idp.find(evil, "saml:Issuer").addnext(extensions)
    return evil


def test_signature_wrapping_is_refused(connection: Connection) -> None:
    root = wrapped(idp.build_logout_request(connection, name_id=NAME))
    assert refusal(lambda: by_form(root, connection)).check == "signature-place"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"destination": "https://other.example/sls"}, Code.DESTINATION),
        ({"destination": idp.MISSING}, Code.DESTINATION),
        ({"issuer": "https://evil/"}, Code.ISSUER),
        ({"issuer": idp.MISSING}, Code.ISSUER),
        ({"clock": timedelta(minutes=10)}, Code.CLOCK_SKEW),
        ({"clock": timedelta(minutes=-10)}, Code.EXPIRED),
        ({"name_id": idp.MISSING}, Code.INVALID_RESPONSE),
        ({"name_id": "x" * 300}, Code.INVALID_RESPONSE),
        ({"session_indexes": ["_x"] * 51}, Code.INVALID_RESPONSE),
    ],
    ids=[
        "destination",
        "no-destination",
        "issuer",
        "no-issuer",
        "early",
        "late",
        "no-name",
        "long-name",
        "many-sessions",
    ],
)
def test_signed_messages_have_to_be_for_here_and_now(
    connection: Connection, said: dict[str, object], code: Code
) -> None:
    root = idp.build_logout_request(connection, **{"name_id": NAME, **said})  # type: ignore[arg-type]
    assert refusal(lambda: by_query(root, connection)).code == code
    assert refusal(lambda: by_form(idp.sign(root, "response"), connection)).code == code


def test_encrypted_name_is_refused(connection: Connection) -> None:
    root = idp.encrypt(
        idp.build_logout_request(connection, name_id=NAME),
        idp.pair("sp").certificate,
        name="NameID",
        wrapper="EncryptedID",
    )
    assert refusal(lambda: by_query(root, connection)).check == "encryption"


def deflated(raw: bytes) -> str:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return quote(base64.b64encode(packer.compress(raw) + packer.flush()), safe="")


def test_deflate_bombs_and_noise_are_refused(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the identity provider had signed them: what is behind the signature is at stake.
    monkeypatch.setattr(Signers, "require", lambda *_: None)
    tail = f"&SigAlg={quote(names.RSA_SHA256, safe='')}&Signature=AAAA"
    for body in (deflated(b" " * 50_000_000), deflated(b"hello"), "AAAA", "%ff%fe", "", "%%%"):
        for field in ("SAMLRequest", "SAMLResponse"):
            query = f"{field}={body}{tail}"
            assert refusal(partial(parse_logout, "GET", query, connection)).code
    cut_off = deflated(etree.tostring(idp.build_logout_request(connection, name_id=NAME)))[:200]
    query = f"SAMLRequest={cut_off}{tail}"
    assert refusal(lambda: parse_logout("GET", query, connection)).code == Code.INVALID_RESPONSE


@pytest.mark.parametrize(
    "query",
    ["", "x", "&&&", "SAMLRequest", "Signature=1&SigAlg=2", "\udcff=1", "é=ü"],
    ids=["empty", "name", "ampersands", "no-value", "no-message", "surrogate", "not-ascii"],
)
def test_queries_without_a_message_are_refused(connection: Connection, query: str) -> None:
    assert refusal(lambda: parse_logout("GET", query, connection)).code
    assert refusal(lambda: parse_logout("POST", {query: query}, connection)).code


# ---- Ours ----


def message_in(url: str) -> etree._Element:
    fields = parse_qs(urlsplit(url).query)
    raw = (fields.get("SAMLRequest") or fields["SAMLResponse"])[0]
    return etree.fromstring(zlib.decompress(base64.b64decode(raw), -15))


def as_theirs(connection: Connection) -> Signers:
    """Whoever knows our certificate."""
    return Signers((idp.pair("sp").certificate,), ())


def check_signed(url: str, connection: Connection) -> None:
    signed, _, signature = urlsplit(url).query.removeprefix("tenant=x&").partition("&Signature=")
    algorithm = parse_qs(signed)["SigAlg"][0]
    raw = parse_qs(f"s={signature}")["s"][0]
    as_theirs(connection).require_query(algorithm, signed.encode(), raw)
    with pytest.raises(SignInRefused):
        as_theirs(connection).require_query(algorithm, signed.encode() + b"x", raw)


def test_our_logout_request_is_signed_and_names_the_session(connection: Connection) -> None:
    url = logout_request_redirect(connection, "a<b&c", idp.PERSISTENT, "_s", "_r")
    assert url.startswith("https://idp.example/slo?tenant=x&SAMLRequest=")
    check_signed(url, connection)
    root = message_in(url)
    assert root.get("ID") == "_r"
    assert root.get("Destination") == connection.slo_url
    assert idp.find(root, "saml:NameID").text == "a<b&c"
    assert idp.find(root, "samlp:SessionIndex").text == "_s"


def test_our_logout_response_is_signed_and_returns_the_relay_state(connection: Connection) -> None:
    url = logout_response_redirect(connection, "_theirs", "a b&c", names.SUCCESS)
    check_signed(url, connection)
    assert parse_qs(urlsplit(url).query)["RelayState"] == ["a b&c"]
    root = message_in(url)
    assert root.get("InResponseTo") == "_theirs"
    assert idp.find(root, "//samlp:StatusCode").get("Value") == names.SUCCESS


def test_our_authn_request_is_signed_and_asks_for_an_answer_here(connection: Connection) -> None:
    url = authn_redirect(connection, "_r", relay_state="s", force=True, email="ada+x@acme.example")
    root = message_in(url)
    assert root.get("AssertionConsumerServiceURL") == connection.acs_url
    assert root.get("ForceAuthn") == "true"
    assert idp.find(root, "saml:Issuer").text == connection.sp_entity_id
    url, _, hint = url.partition("&login_hint=")
    assert hint == "ada%2Bx%40acme.example"
    check_signed(url, connection)


def test_requests_are_not_signed_where_the_connection_does_not_sign(
    connection: Connection,
) -> None:
    connection.signs_requests = False
    url = authn_redirect(connection, "_r", relay_state="", force=False)
    assert set(parse_qs(urlsplit(url).query)) == {"SAMLRequest"}
    assert message_in(url).get("ForceAuthn") is None

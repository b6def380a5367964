"""Certificates, keys, clocks and the rest that the table of responses does not tell."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import DatabaseError
from django.utils import timezone

from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection, IdpCertificate, SpKey
from sso.saml import keys
from sso.saml.verify import in_response_to, verify
from tests import factories
from tests.sso import idp
from tests.sso.support import make_connection

REQUEST = "_0123456789abcdef"


@pytest.fixture
def connection(db: None) -> Connection:
    organization = factories.make_organization(factories.make_user("owner@x.example"), "X")
    return make_connection(organization)


def respond(connection: Connection, request_id: str | None = REQUEST, **said: object) -> str:
    return idp.make_response(connection, request_id, **said)  # type: ignore[arg-type]


def refusal(raw: str, connection: Connection, request_id: str | None = REQUEST) -> SignInRefused:
    with pytest.raises(SignInRefused) as refused:
        verify(raw, connection, request_id)
    return refused.value


# ---- Certificates of the identity provider ----


def again(of: idp.Pair, *, days: float) -> idp.Pair:
    """The same key with a certificate of another time."""
    key = serialization.load_pem_private_key(of.key.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return idp.Pair(of.key, idp.certify(key, "again", days=days))


def test_expired_certificate_does_not_count(connection: Connection) -> None:
    expired = again(idp.pair(), days=-1)
    idp.install(connection, expired)
    refused = refusal(respond(connection, signer=expired), connection)
    assert refused.code == Code.CERTIFICATE
    assert "expired on" in refused.reason


def test_certificate_of_tomorrow_does_not_count(connection: Connection) -> None:
    early = again(idp.pair(), days=401)
    idp.install(connection, early)
    refused = refusal(respond(connection, signer=early), connection)
    assert refused.code == Code.CERTIFICATE
    assert "not valid before" in refused.reason


def test_certificate_counts_within_the_tolerance_for_clocks(connection: Connection) -> None:
    idp.install(connection)
    a_minute_ago = again(idp.pair(), days=-1 / 1440)
    connection.certificates.update(pem=a_minute_ago.certificate)
    raw = respond(connection)
    for skew, is_good in ((0, False), (300, True)):
        connection.clock_skew_seconds = skew
        if is_good:
            assert verify(raw, connection, REQUEST).uid
        else:
            assert refusal(raw, connection).code == Code.CERTIFICATE


def test_rsa_key_of_1024_bits_does_not_count(connection: Connection) -> None:
    weak = idp.pair("weak", bits=1024)
    idp.install(connection, weak)
    refused = refusal(respond(connection, signer=weak), connection)
    assert refused.code == Code.CERTIFICATE
    assert "1024" in refused.reason


def test_connection_without_certificates_believes_nobody(connection: Connection) -> None:
    assert refusal(respond(connection), connection).code == Code.CERTIFICATE


def test_both_certificates_count_during_a_change_and_a_removed_one_does_not(
    connection: Connection,
) -> None:
    old, new = idp.pair(), idp.pair("idp-next")
    idp.install(connection, old, new)
    for signer in (old, new):
        assert verify(respond(connection, signer=signer), connection, REQUEST).uid
    IdpCertificate.objects.filter(pem=old.certificate).delete()
    assert verify(respond(connection, signer=new), connection, REQUEST).uid
    assert refusal(respond(connection, signer=old), connection).code == Code.SIGNATURE


def test_expired_certificate_beside_a_good_one_is_named(connection: Connection) -> None:
    expired = again(idp.pair(), days=-1)
    idp.install(connection, expired, idp.pair("idp-next"))
    assert refusal(respond(connection, signer=expired), connection).code == Code.CERTIFICATE


# ---- Our keys ----


@pytest.mark.parametrize("state", list(SpKey.State), ids=lambda state: state.value)
def test_every_key_of_ours_opens_assertions(connection: Connection, state: SpKey.State) -> None:
    idp.add_certificate(connection, idp.pair())
    for each in SpKey.State:
        of = idp.pair("sp") if each == state else idp.pair(f"sp-{each.value}")
        idp.add_sp_key(connection, of, state=each)
    raw = respond(connection, encrypt_to=idp.pair("sp").certificate)
    assert verify(raw, connection, REQUEST).email == "ada@acme.example"


def test_current_key_comes_first(connection: Connection) -> None:
    for each in (SpKey.State.PREVIOUS, SpKey.State.NEXT, SpKey.State.CURRENT):
        idp.add_sp_key(connection, idp.pair(f"sp-{each.value}"), state=each)
    found = [certificate for certificate, _ in keys.private_keys(connection)]
    wanted = [idp.pair(f"sp-{name}").certificate for name in ("current", "next", "previous")]
    assert found == wanted


def test_key_that_cannot_be_opened_is_a_refusal(connection: Connection) -> None:
    idp.install(connection)
    connection.sp_keys.update(wrapped_key="{}")
    raw = respond(connection, encrypt_to=idp.pair("sp").certificate)
    assert refusal(raw, connection).check == "sp-key"
    # Nothing is encrypted: the key is not needed.
    assert verify(respond(connection), connection, REQUEST).uid


def test_what_is_wrong_with_an_encrypted_assertion_is_not_told_apart(
    connection: Connection,
) -> None:
    idp.install(connection)
    sp = idp.pair("sp").certificate
    refused = [
        refusal(respond(connection, encrypt_to=sp, sign_with="none"), connection),
        refusal(respond(connection, encrypt_to=sp, signer=idp.pair("attacker")), connection),
        refusal(respond(connection, encrypt_to=sp, issuer="https://evil/"), connection),
        refusal(respond(connection, encrypt_to=idp.pair("other-sp").certificate), connection),
    ]
    assert {each.code for each in refused} == {Code.INVALID_RESPONSE}
    assert len({each.check for each in refused}) == 4


# ---- Unsolicited ----


def test_unsolicited_response_needs_the_switch_and_no_request_id_anywhere(
    connection: Connection,
) -> None:
    idp.install(connection)
    raw = respond(connection, None)
    assert refusal(raw, connection, None).code == Code.UNSOLICITED
    connection.allows_idp_initiated = True
    assert in_response_to(raw) == ""
    assert verify(raw, connection, None).uid
    # Not as the answer to a request, and the answer to a request not as this.
    assert refusal(raw, connection).code == Code.UNSOLICITED
    assert refusal(respond(connection), connection, None).code == Code.UNSOLICITED
    half = respond(connection, None, scd_in_response_to="_x")
    assert refusal(half, connection, None).code == Code.UNSOLICITED


def test_empty_request_id_matches_nothing(connection: Connection) -> None:
    idp.install(connection)
    raw = respond(connection, None, response_in_response_to="", scd_in_response_to="")
    assert refusal(raw, connection, "").code in {Code.UNSOLICITED, Code.INVALID_RESPONSE}


# ---- What comes out ----


def test_everything_that_is_said_comes_out(connection: Connection) -> None:
    idp.install(connection)
    raw = respond(
        connection,
        email="Ada@Acme.example",
        groups=["staff", "search"],
        roles=["pinecone:OrgOwner"],
        display_name="  Ada \u202e Lovelace ",
        session_index="_s1",
        session_lifetime=timedelta(hours=1),
    )
    found = verify(raw, connection, REQUEST)
    assert found.connection_id == connection.pk
    assert found.issuer == connection.idp_entity_id
    assert (found.uid, found.email, found.name) == (
        "ada@acme.example",
        "ada@acme.example",
        "Ada Lovelace",
    )
    assert found.groups == ("staff", "search")
    assert found.roles == ("pinecone:OrgOwner",)
    assert found.name_id == "Ada@Acme.example"
    assert found.name_id_format == idp.EMAIL_FORMAT
    assert found.session_index == "_s1"
    assert found.session_not_on_or_after is not None
    assert found.attributes["groups"] == ["staff", "search"]
    tolerance = timedelta(seconds=connection.clock_skew_seconds)
    left = found.not_on_or_after - timezone.now()
    assert idp.LIFETIME < left <= idp.LIFETIME + tolerance
    assert VerifiedAssertion.from_json(found.to_json()) == found


def test_replayed_assertion_is_refused_for_its_age_from_the_moment_that_is_told(
    connection: Connection,
) -> None:
    idp.install(connection)
    raw = respond(connection)
    until = verify(raw, connection, REQUEST).not_on_or_after
    assert verify(raw, connection, REQUEST, now=until - timedelta(seconds=1)).uid
    with pytest.raises(SignInRefused) as refused:
        verify(raw, connection, REQUEST, now=until)
    assert refused.value.code == Code.EXPIRED


@pytest.mark.parametrize("skew", [0, 300], ids=["no-tolerance", "300s"])
def test_tolerance_is_the_same_in_both_directions(connection: Connection, skew: int) -> None:
    idp.install(connection)
    connection.clock_skew_seconds = skew
    raw = respond(connection, not_before=timedelta())
    issued = idp.find(idp.decode(raw), "//saml:Assertion").get("IssueInstant", "")
    at = datetime.fromisoformat(issued)
    edge = timedelta(seconds=skew)
    assert verify(raw, connection, REQUEST, now=at - edge).uid
    last = at + idp.LIFETIME + edge
    assert verify(raw, connection, REQUEST, now=last - timedelta(seconds=1)).uid
    for moment, code in (
        (at - edge - timedelta(seconds=1), Code.CLOCK_SKEW),
        (last, Code.EXPIRED),
    ):
        with pytest.raises(SignInRefused) as refused:
            verify(raw, connection, REQUEST, now=moment)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("attributes", "attribute_map", "name", "groups"),
    [
        ({"givenName": "Ada", "sn": "Lovelace"}, {}, "Ada Lovelace", ()),
        ({"cn": "Ada L."}, {}, "Ada L.", ()),
        ({"memberOf": ["a", "b"]}, {}, "", ("a", "b")),
        ({"groups": ["a"], "teams": ["t"]}, {"groups": "teams"}, "", ("t",)),
        ({"groups": ["a"]}, {"groups": "teams"}, "", ()),
    ],
    ids=["first-and-last", "cn", "member-of", "mapped", "mapped-to-nothing"],
)
def test_attributes_go_by_their_usual_names_unless_mapped(
    connection: Connection,
    attributes: dict[str, str | list[str]],
    attribute_map: dict[str, str],
    name: str,
    groups: tuple[str, ...],
) -> None:
    idp.install(connection)
    connection.attribute_map = attribute_map
    raw = respond(connection, attributes={"mail": "ada@acme.example", **attributes})
    found = verify(raw, connection, REQUEST)
    assert (found.email, found.name, found.groups) == ("ada@acme.example", name, groups)


def test_refusal_of_the_identity_provider_is_quoted_short_and_on_one_line(
    connection: Connection,
) -> None:
    idp.install(connection)
    raw = respond(connection, status=idp.RESPONDER, status_message="no\n\u202e" + "x" * 5000)
    refused = refusal(raw, connection)
    assert refused.code == Code.IDP_REFUSED
    assert refused.reason.isprintable()
    assert len(refused.reason) < 500


def test_failing_database_is_not_taken_for_a_bad_response(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    idp.install(connection)

    def fail(_: Connection) -> list[tuple[str, str]]:
        raise DatabaseError("gone")

    monkeypatch.setattr("sso.saml.verify.private_keys", fail)
    raw = respond(connection, encrypt_to=idp.pair("sp").certificate)
    with pytest.raises(DatabaseError):
        verify(raw, connection, REQUEST)

"""Certificates of identity providers: which are believed, and warnings before they end."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from django.utils import timezone

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from orgs.models import OutgoingMail
from sso import expiry, tasks
from sso.certificate_files import read_certificates, usable
from sso.models import Connection, IdpCertificate, SetupLink, SpKey
from sso.selectors.connections import certificates_of, expiring
from sso.services import certificates as service
from sso.services.certificates import add_certificate, remove_certificate
from sso.services.sp_keys import new_sp_key
from tests.cast import Cast
from tests.sso import idp
from tests.sso.support import make_connection

State = Connection.State
NOW = timezone.now()


@pytest.fixture
def owner(cast: Cast) -> Actor:
    return cast.actor(cast.alice)


@pytest.fixture
def connection(cast: Cast) -> Connection:
    return make_connection(cast.organization, state=State.DRAFT)


def body(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if "-----" not in line)


def certify(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, algorithm)
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


class TestReading:
    @pytest.mark.parametrize("kind", ["rsa", "ec"])
    def test_pem_and_its_body_alone_are_the_same(self, kind: str) -> None:
        pem = idp.pair(f"read-{kind}", kind=kind).certificate
        wrapped = "\r\n ".join(body(pem)[n : n + 40] for n in range(0, len(body(pem)), 40))
        texts = [pem, body(pem), wrapped, f"  \n{pem}\r\n", f"subject=CN=idp\n{pem}"]
        found = {read_certificates(text, now=NOW)[0].fingerprint for text in texts}
        der = base64.b64decode(body(pem))
        assert found == {x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex()}

    def test_each_of_a_chain_is_taken_once(self) -> None:
        one, two = idp.pair("one").certificate, idp.pair("two").certificate
        assert len(read_certificates(one + two + one, now=NOW)) == 2

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "can't be read"),
            ("not base64 at all!", "no base64"),
            ("ü" * 10, "no base64"),
            ("AAAA", "can't be read"),
            ("MIIB", "can't be read"),
            ("x" * 16385, "at most 16384"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", "0 certificates"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "can't be read"),
            ("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n" * 11, "11 certificates"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "private key"),
        ],
        ids=lambda value: value[:40].strip() or "empty",
    )
    def test_what_is_none_is_refused(self, text: str, said: str) -> None:
        with pytest.raises(InvalidArgument, match=said) as found:
            read_certificates(text, now=NOW)
        assert len(found.value.message) < 500

    def test_damage_anywhere_is_a_refusal(self) -> None:
        der = base64.b64decode(body(idp.pair().certificate))
        for place in range(0, len(der), 7):
            damaged = der[:place] + bytes([der[place] ^ 0x55]) + der[place + 1 :]
            try:
                read_certificates(base64.b64encode(damaged).decode(), now=NOW)
            except InvalidArgument:
                continue

    @pytest.mark.parametrize("kind", ["rsa1024", "ed25519", "p192"])
    def test_weak_and_unusual_keys_are_refused(self, kind: str) -> None:
        made = {
            "rsa1024": lambda: idp.pair("weak", bits=1024).certificate,
            "ed25519": lambda: certify(ed25519.Ed25519PrivateKey.generate()),
            "p192": lambda: certify(ec.generate_private_key(ec.SECP224R1())),
        }[kind]()
        with pytest.raises(InvalidArgument, match="key is"):
            read_certificates(made, now=NOW)

    def test_one_that_is_over_is_refused(self) -> None:
        over = idp.pair("over", days=-1).certificate
        with pytest.raises(InvalidArgument, match="is over since"):
            read_certificates(over, now=NOW)
        assert usable([over, "junk", idp.pair().certificate], now=NOW) == read_certificates(
            idp.pair().certificate, now=NOW
        )


class TestAdding:
    def test_it_is_told_by_its_fingerprint(self, connection: Connection, owner: Actor) -> None:
        pem = idp.pair().certificate
        row = add_certificate(actor=owner, connection_id=connection.pk, pem=pem)
        assert list(certificates_of(owner, connection.pk)) == [row]
        assert row.source == IdpCertificate.Source.MANUAL
        event = AuditEvent.objects.get(type="sso_certificate.added")
        assert event.detail["fingerprint"] == row.fingerprint
        connection.refresh_from_db()
        # A second one does not make a test void: the first is believed as before.
        assert (connection.version, connection.config_version) == (2, 1)

    def test_the_same_twice_is_refused(self, connection: Connection, owner: Actor) -> None:
        pem = idp.pair().certificate
        add_certificate(actor=owner, connection_id=connection.pk, pem=pem)
        with pytest.raises(AlreadyExists):
            add_certificate(actor=owner, connection_id=connection.pk, pem=body(pem))

    def test_there_are_so_many_at_most(
        self, connection: Connection, owner: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "MAX_CERTIFICATES", 1)
        chain = idp.pair("one").certificate + idp.pair("two").certificate
        with pytest.raises(QuotaExceeded):
            add_certificate(actor=owner, connection_id=connection.pk, pem=chain)
        assert not connection.certificates.exists()

    def test_openid_connect_has_none(self, cast: Cast, owner: Actor) -> None:
        made = make_connection(cast.organization, protocol="oidc", idp_entity_id="")
        with pytest.raises(InvalidArgument, match=r"SAML 2\.0"):
            add_certificate(actor=owner, connection_id=made.pk, pem=idp.pair().certificate)

    def test_members_may_not_and_strangers_see_nothing(
        self, connection: Connection, cast: Cast
    ) -> None:
        row = idp.add_certificate(connection, idp.pair())
        for who, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(who)
            with pytest.raises(error):
                add_certificate(actor=actor, connection_id=connection.pk, pem="x")
            with pytest.raises(error):
                remove_certificate(actor=actor, connection_id=connection.pk, certificate_id=row.pk)


class TestRemoving:
    def test_the_last_one_that_is_not_over_stays_while_in_use(
        self, connection: Connection, owner: Actor
    ) -> None:
        old = idp.add_certificate(connection, idp.pair("old"))
        over = idp.add_certificate(connection, idp.pair("over", days=-1))
        Connection.objects.update(state=State.ACTIVE)
        remove_certificate(actor=owner, connection_id=connection.pk, certificate_id=over.pk)
        with pytest.raises(FailedPrecondition, match="last certificate"):
            remove_certificate(actor=owner, connection_id=connection.pk, certificate_id=old.pk)
        add_certificate(actor=owner, connection_id=connection.pk, pem=idp.pair("new").certificate)
        remove_certificate(actor=owner, connection_id=connection.pk, certificate_id=old.pk)
        connection.refresh_from_db()
        assert connection.certificates.count() == 1
        assert connection.config_version == 3

    def test_a_draft_may_be_without(self, connection: Connection, owner: Actor) -> None:
        row = idp.add_certificate(connection, idp.pair())
        remove_certificate(actor=owner, connection_id=connection.pk, certificate_id=row.pk)
        assert not connection.certificates.exists()

    def test_a_certificate_of_another_connection_is_none(
        self, connection: Connection, owner: Actor, cast: Cast
    ) -> None:
        foreign = idp.add_certificate(make_connection(cast.other_organization), idp.pair())
        with pytest.raises(NotFound):
            remove_certificate(actor=owner, connection_id=connection.pk, certificate_id=foreign.pk)


class TestWarnings:
    @pytest.fixture
    def row(self, connection: Connection) -> IdpCertificate:
        Connection.objects.update(state=State.ACTIVE)
        return idp.add_certificate(connection, idp.pair())

    @staticmethod
    def subjects(row: IdpCertificate | SpKey, **left: float) -> Iterator[str]:
        type(row).objects.filter(pk=row.pk).update(not_after=timezone.now() + timedelta(**left))
        before = set(OutgoingMail.objects.values_list("pk", flat=True))
        tasks.warn_of_expiry()
        tasks.warn_of_expiry()
        found = OutgoingMail.objects.exclude(pk__in=before).order_by("to")
        return iter(found.values_list("subject", flat=True))

    def test_owners_are_told_once_at_each_step(self, row: IdpCertificate) -> None:
        told = [
            (days, len(list(self.subjects(row, days=days))))
            for days in (40, 31.5, 30.5, 29, 15.5, 14.5, 10, 7.5, 3, 1.5, 0.5, -0.1, -3)
        ]
        assert told == [
            (40, 0),
            (31.5, 0),
            (30.5, 1),
            (29, 0),
            (15.5, 0),
            (14.5, 1),
            (10, 0),
            (7.5, 1),
            (3, 0),
            (1.5, 1),
            (0.5, 0),
            (-0.1, 1),
            (-3, 0),
        ]

    def test_who_looks_late_hears_once(self, row: IdpCertificate) -> None:
        (subject,) = self.subjects(row, days=5.5)
        assert subject.endswith("ends in 5 days")
        (subject,) = self.subjects(row, days=-1)
        assert subject.endswith("is over")

    def test_our_own_key_counts_too(self, connection: Connection, row: IdpCertificate) -> None:
        key = new_sp_key(connection, SpKey.State.CURRENT)
        key.save(force_insert=True)
        (subject,) = self.subjects(key, days=2)
        assert subject.startswith("Our certificate for")

    def test_it_says_whether_a_longer_one_is_there(
        self, connection: Connection, row: IdpCertificate
    ) -> None:
        list(self.subjects(row, days=20))
        assert "Nobody can sign in" in OutgoingMail.objects.get().text
        idp.add_certificate(connection, idp.pair("new", days=500))
        list(self.subjects(row, days=2))
        assert "nothing is to be done" in OutgoingMail.objects.latest("created_at").text

    def test_what_is_not_in_use_is_left_alone(self, row: IdpCertificate) -> None:
        Connection.objects.update(state=State.DISABLED)
        assert list(self.subjects(row, days=3)) == []
        assert expiring(row.connection.organization_id) == []

    def test_a_page_shows_what_ends_soon(
        self, connection: Connection, row: IdpCertificate, cast: Cast
    ) -> None:
        IdpCertificate.objects.update(not_after=timezone.now() + timedelta(days=40))
        assert expiring(cast.organization.pk) == []
        IdpCertificate.objects.update(not_after=timezone.now() - timedelta(hours=1))
        (found,) = expiring(cast.organization.pk)
        assert (found.connection, found.kind, found.is_over) == (connection, "certificate", True)
        assert expiring(cast.other_organization.pk) == []


def test_links_that_ended_long_ago_are_forgotten(connection: Connection) -> None:
    for number, days in enumerate((31, 29)):
        SetupLink.objects.create(
            connection=connection,
            token_hash=str(number),
            expires_at=timezone.now() - timedelta(days=days),
        )
    tasks.forget_old_setup_links()
    assert SetupLink.objects.count() == 1
    assert expiry.forget_old_links() == 0

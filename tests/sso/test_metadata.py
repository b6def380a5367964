"""Metadata of identity providers: taken over from a file or an address, and kept fresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from orgs.models import OutgoingMail
from sso import metadata_source, tasks
from sso.models import Connection, Identity, IdpCertificate
from sso.services.connections import update_connection
from sso.services.metadata import import_metadata, set_metadata_url
from tests.audit.receivers import HttpReceiver, Received, http_receiver, make_certificate
from tests.cast import Cast
from tests.orgs.racing import at_once
from tests.sso import idp
from tests.sso.support import make_connection

State = Connection.State
ENTITY = "https://idp.example/saml"


@pytest.fixture
def owner(cast: Cast) -> Actor:
    return cast.actor(cast.alice)


@pytest.fixture
def draft(cast: Cast) -> Connection:
    return make_connection(
        cast.organization, state=State.DRAFT, name="Okta", idp_entity_id="", sso_url=""
    )


@pytest.fixture
def place(settings: Any) -> Iterator[HttpReceiver]:
    """Where the identity provider publishes its metadata."""
    settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
    with http_receiver() as found:
        found.url = found.url.rstrip("/") + "/metadata"
        publish(found, idp.metadata())
        yield found


@pytest.fixture
def fetched(draft: Connection, owner: Actor, place: HttpReceiver) -> Connection:
    """An active connection whose metadata was fetched a while ago."""
    set_metadata_url(actor=owner, connection_id=draft.pk, url=place.url)
    Connection.objects.update(state=State.ACTIVE)
    return later(draft)


def publish(place: HttpReceiver, body: bytes, status: int = 200, **headers: str) -> None:
    def answer(_: Received) -> tuple[int, dict[str, str], bytes]:
        return status, headers, body

    place.answer = answer


def later(connection: Connection) -> Connection:
    """As if the last attempt were an hour ago."""
    Connection.objects.filter(pk=connection.pk).update(
        metadata_tried_at=timezone.now() - timedelta(hours=1, seconds=1)
    )
    connection.refresh_from_db()
    return connection


def refresh(connection: Connection) -> Connection:
    tasks.refresh_metadata(str(connection.pk))
    connection.refresh_from_db()
    return connection


def fingerprints(connection: Connection) -> set[str]:
    return set(connection.certificates.values_list("fingerprint", flat=True))


def events(action: str) -> list[AuditEvent]:
    rows = AuditEvent.objects.filter(type="sso_metadata.refreshed").order_by("time")
    return [row for row in rows if row.detail["action"] == action]


class TestFiles:
    def test_everything_is_taken_over(self, draft: Connection, owner: Actor) -> None:
        import_metadata(actor=owner, connection_id=draft.pk, xml=idp.metadata())
        draft.refresh_from_db()
        assert draft.idp_entity_id == ENTITY
        assert draft.sso_url == "https://idp.example/sso"
        assert draft.slo_url == "https://idp.example/slo"
        (certificate,) = draft.certificates.all()
        assert certificate.source == IdpCertificate.Source.METADATA
        assert draft.config_version == 2
        (event,) = events("uploaded")
        assert event.changes["idp_entity_id"]["after"] == ENTITY

    def test_the_same_again_changes_nothing(self, draft: Connection, owner: Actor) -> None:
        for _ in range(2):
            import_metadata(actor=owner, connection_id=draft.pk, xml=idp.metadata())
        draft.refresh_from_db()
        assert draft.version == 2
        assert len(events("uploaded")) == 1

    def test_certificates_roll_over(self, draft: Connection, owner: Actor) -> None:
        manual = idp.add_certificate(draft, idp.pair("by hand")).fingerprint
        old, new = idp.pair("old"), idp.pair("new")
        take = partial(import_metadata, actor=owner, connection_id=draft.pk)
        take(xml=idp.metadata(ENTITY, old))
        both = fingerprints(draft)
        take(xml=idp.metadata(ENTITY, old, new))
        assert len(fingerprints(draft)) == 3
        take(xml=idp.metadata(ENTITY, new))
        assert manual in fingerprints(draft)
        assert fingerprints(draft) & both == {manual}

    def test_those_that_can_not_be_relied_on_are_left_out(
        self, draft: Connection, owner: Actor
    ) -> None:
        over, weak = idp.pair("over", days=-1), idp.pair("weak", bits=1024)
        take = partial(import_metadata, actor=owner, connection_id=draft.pk)
        with pytest.raises(InvalidArgument, match="can be relied on"):
            take(xml=idp.metadata(ENTITY, over, weak))
        draft.refresh_from_db()
        assert draft.idp_entity_id == ""
        take(xml=idp.metadata(ENTITY, over, weak, idp.pair()))
        assert draft.certificates.count() == 1

    def test_another_identity_provider_before_it_is_in_use(
        self, draft: Connection, owner: Actor, cast: Cast
    ) -> None:
        take = partial(import_metadata, actor=owner, connection_id=draft.pk)
        take(xml=idp.metadata())
        idp.add_certificate(draft, idp.pair("by hand"))
        Identity.objects.create(connection=draft, user=cast.bob, uid="1", opens_sessions=True)
        take(xml=idp.metadata("https://second.example", idp.pair("second")))
        draft.refresh_from_db()
        assert draft.idp_entity_id == "https://second.example"
        # What the first one signs, by whatever key, is not believed any more, and its ids mean
        # nobody.
        assert not draft.identities.exists()
        assert draft.certificates.count() == 1

    @pytest.mark.parametrize("state", [State.ACTIVE, State.ENFORCED])
    def test_not_another_identity_provider_while_people_sign_in(
        self, draft: Connection, owner: Actor, state: Connection.State
    ) -> None:
        take = partial(import_metadata, actor=owner, connection_id=draft.pk)
        take(xml=idp.metadata())
        Connection.objects.update(state=state)
        before = fingerprints(draft)
        with pytest.raises(InvalidArgument):
            take(xml=idp.metadata("https://second.example", idp.pair("second")))
        draft.refresh_from_db()
        assert draft.idp_entity_id == ENTITY
        assert fingerprints(draft) == before

    def test_of_several_the_one_at_hand_is_meant(self, draft: Connection, owner: Actor) -> None:
        one, two = idp.metadata(), idp.metadata("https://second.example")
        both = (
            b'<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">'
            + one
            + two
            + b"</md:EntitiesDescriptor>"
        )
        take = partial(import_metadata, actor=owner, connection_id=draft.pk)
        with pytest.raises(InvalidArgument, match="2 identity providers"):
            take(xml=both)
        update_connection(
            actor=owner,
            connection_id=draft.pk,
            changes={"idp_entity_id": "https://second.example"},
        )
        take(xml=both)
        draft.refresh_from_db()
        assert draft.idp_entity_id == "https://second.example"
        assert draft.sso_url

    def test_not_the_identity_provider_of_another_connection(
        self, draft: Connection, owner: Actor, cast: Cast
    ) -> None:
        make_connection(cast.organization, idp_entity_id=ENTITY)
        with pytest.raises(AlreadyExists):
            import_metadata(actor=owner, connection_id=draft.pk, xml=idp.metadata())
        assert not draft.certificates.exists()

    @pytest.mark.parametrize(
        "xml",
        [
            b"",
            b"<html/>",
            b"\xff\xfe\x00",
            b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
            b"<a>" * 100_000,
            b" " * (512 * 1024 + 1),
        ],
        ids=["empty", "html", "bytes", "entities", "deep", "long"],
    )
    def test_what_is_none_is_refused(self, draft: Connection, owner: Actor, xml: bytes) -> None:
        with pytest.raises(InvalidArgument):
            import_metadata(actor=owner, connection_id=draft.pk, xml=xml)

    def test_addresses_with_a_password_are_refused(self, draft: Connection, owner: Actor) -> None:
        xml = idp.metadata(sso_url="https://user:pw@idp.example/sso")
        with pytest.raises(InvalidArgument):
            import_metadata(actor=owner, connection_id=draft.pk, xml=xml)

    def test_openid_connect_has_none(self, cast: Cast, owner: Actor) -> None:
        made = make_connection(cast.organization, protocol="oidc", idp_entity_id="")
        with pytest.raises(InvalidArgument, match=r"SAML 2\.0"):
            import_metadata(actor=owner, connection_id=made.pk, xml=idp.metadata())

    def test_members_may_not_and_strangers_see_nothing(
        self, draft: Connection, cast: Cast, place: HttpReceiver
    ) -> None:
        for who, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(who)
            with pytest.raises(error):
                import_metadata(actor=actor, connection_id=draft.pk, xml=idp.metadata())
            with pytest.raises(error):
                set_metadata_url(actor=actor, connection_id=draft.pk, url=place.url)
        # Nobody has us ask a place who may not.
        assert place.received == []


class TestAddresses:
    def test_it_is_fetched_at_once(
        self, draft: Connection, owner: Actor, place: HttpReceiver
    ) -> None:
        set_metadata_url(actor=owner, connection_id=draft.pk, url=place.url)
        draft.refresh_from_db()
        assert draft.metadata_url == place.url
        assert draft.idp_entity_id == ENTITY
        assert draft.metadata_fetched_at is not None
        (request,) = place.received
        assert request.method == "GET"
        assert request.headers["host"] == place.url.split("/")[2]
        assert metadata_source.due() == []

    def test_empty_takes_it_back_and_keeps_what_is_known(
        self, fetched: Connection, owner: Actor
    ) -> None:
        set_metadata_url(actor=owner, connection_id=fetched.pk, url="")
        fetched.refresh_from_db()
        assert fetched.metadata_url == ""
        assert fetched.sso_url
        assert metadata_source.due() == []

    @pytest.mark.parametrize(
        "url",
        [
            "http://idp.example/metadata",
            "file:///etc/passwd",
            "https://user:pw@idp.example/",
            "gopher://idp.example",
            "//idp.example",
        ],
    )
    def test_other_addresses_are_refused(self, draft: Connection, owner: Actor, url: str) -> None:
        with pytest.raises(InvalidArgument):
            set_metadata_url(actor=owner, connection_id=draft.pk, url=url)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]", "0x7f000001"]
    )
    def test_nothing_inside_is_asked(self, draft: Connection, owner: Actor, host: str) -> None:
        with pytest.raises(FailedPrecondition, match=r"not a public address|can't be resolved"):
            set_metadata_url(
                actor=owner, connection_id=draft.pk, url=f"https://{host}/latest/meta-data"
            )
        draft.refresh_from_db()
        assert draft.metadata_url == ""

    def test_a_certificate_that_nobody_vouches_for_is_refused(
        self, draft: Connection, owner: Actor, tmp_path: Path, settings: Any
    ) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        with (
            http_receiver(make_certificate(tmp_path)[0]) as server,
            pytest.raises(FailedPrecondition, match="does not show a certificate to trust"),
        ):
            set_metadata_url(actor=owner, connection_id=draft.pk, url=server.url)

    def test_redirects_and_errors_are_not_followed(
        self, draft: Connection, owner: Actor, place: HttpReceiver
    ) -> None:
        for status in (301, 302, 404, 500):
            publish(place, idp.metadata(), status, Location="http://127.0.0.1:1/")
            with pytest.raises(FailedPrecondition, match=f"answered {status}"):
                set_metadata_url(actor=owner, connection_id=draft.pk, url=place.url)
        assert len(place.received) == 4
        draft.refresh_from_db()
        assert draft.metadata_url == ""

    def test_what_is_too_long_is_refused(
        self, draft: Connection, owner: Actor, place: HttpReceiver
    ) -> None:
        publish(place, idp.metadata() + b" " * 512 * 1024)
        with pytest.raises(FailedPrecondition, match="more than"):
            set_metadata_url(actor=owner, connection_id=draft.pk, url=place.url)
        # Longer than other answers may be, as the metadata of a big one is.
        publish(place, idp.metadata() + b" " * 100 * 1024)
        set_metadata_url(actor=owner, connection_id=draft.pk, url=place.url)

    def test_nothing_is_kept_of_a_place_that_says_nonsense(
        self, draft: Connection, owner: Actor, place: HttpReceiver
    ) -> None:
        publish(place, b"<html>Sign in</html>")
        with pytest.raises(InvalidArgument):
            set_metadata_url(actor=owner, connection_id=draft.pk, url=place.url)
        draft.refresh_from_db()
        assert (draft.metadata_url, draft.version) == ("", 1)

    def test_one_given_among_other_fields_is_fetched_soon(
        self, draft: Connection, owner: Actor, place: HttpReceiver
    ) -> None:
        update_connection(actor=owner, connection_id=draft.pk, changes={"metadata_url": place.url})
        assert metadata_source.due() == [draft.pk]
        assert refresh(draft).idp_entity_id == ENTITY


class TestKeepingFresh:
    def test_nothing_new_is_no_event(self, fetched: Connection, place: HttpReceiver) -> None:
        before = fetched.version
        assert refresh(fetched).version == before
        assert events("refreshed") == []
        assert fetched.metadata_fetched_at is not None

    def test_a_new_certificate_is_believed_at_once(
        self, fetched: Connection, place: HttpReceiver
    ) -> None:
        publish(place, idp.metadata(ENTITY, idp.pair(), idp.pair("new")))
        before = fetched.config_version
        assert len(fingerprints(refresh(fetched))) == 2
        # Both sign: what was tested still holds.
        assert fetched.config_version == before
        publish(place, idp.metadata(ENTITY, idp.pair("new")))
        assert len(fingerprints(refresh(later(fetched)))) == 1
        assert fetched.config_version == before + 1
        assert [event.actor_kind for event in events("refreshed")] == ["system", "system"]

    def test_the_entity_id_is_pinned_in_every_state(
        self, fetched: Connection, place: HttpReceiver
    ) -> None:
        publish(place, idp.metadata("https://evil.example", idp.pair("evil")))
        before = fingerprints(fetched)
        for state in (State.ACTIVE, State.ENFORCED, State.TESTING, State.DRAFT):
            Connection.objects.update(state=state)
            refresh(later(fetched))
            assert fetched.idp_entity_id == ENTITY
            assert fingerprints(fetched) == before
            assert "evil" in fetched.metadata_error or ENTITY in fetched.metadata_error

    def test_failures_are_kept_and_mailed_once(
        self, fetched: Connection, place: HttpReceiver
    ) -> None:
        publish(place, b"", 503)
        assert "answered 503" in refresh(fetched).metadata_error
        refresh(later(fetched))
        assert fetched.sso_url
        (mail,) = OutgoingMail.objects.all()
        assert mail.subject == "The metadata of Okta can't be refreshed"
        publish(place, idp.metadata())
        assert refresh(later(fetched)).metadata_error == ""
        publish(place, b"", 503)
        refresh(later(fetched))
        assert OutgoingMail.objects.count() == 2

    def test_a_place_that_is_gone_is_a_failure(
        self, fetched: Connection, place: HttpReceiver, settings: Any
    ) -> None:
        Connection.objects.update(metadata_url="http://127.0.0.1:9/metadata")
        assert "can't be reached" in refresh(fetched).metadata_error

    def test_it_is_asked_once_an_hour(self, fetched: Connection, place: HttpReceiver) -> None:
        place.received.clear()
        assert metadata_source.due() == [fetched.pk]
        refresh(fetched)
        refresh(fetched)
        assert metadata_source.due() == []
        assert len(place.received) == 1

    def test_a_queue_that_does_not_answer_is_no_failure(
        self, fetched: Connection, without_queue: Callable[[Any], None]
    ) -> None:
        without_queue(tasks.refresh_metadata)
        tasks.refresh_due_metadata()
        assert metadata_source.due() == [fetched.pk]

    def test_what_is_switched_off_is_left_alone(self, fetched: Connection) -> None:
        Connection.objects.update(state=State.DISABLED)
        assert metadata_source.due() == []

    def test_an_address_that_changed_meanwhile_decides(
        self, fetched: Connection, place: HttpReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(url: str) -> bytes:
            Connection.objects.update(metadata_url="https://idp.example/other")
            return idp.metadata(ENTITY, idp.pair("late"))

        monkeypatch.setattr(metadata_source, "fetch", slow)
        before = fingerprints(fetched)
        assert fingerprints(refresh(fetched)) == before


@pytest.mark.django_db(transaction=True)
def test_two_workers_ask_once(cast: Cast, place: HttpReceiver) -> None:
    connection = make_connection(
        cast.organization, idp_entity_id=ENTITY, metadata_url=place.url, state=State.ACTIVE
    )
    call = partial(tasks.refresh_metadata, str(connection.pk))
    assert at_once(call, call) == {"done": 2}
    assert len(place.received) == 1
    assert connection.certificates.count() == 1

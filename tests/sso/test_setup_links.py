"""Set-up links: one use, 72 hours, for a connection that nobody signs in by yet."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
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
from sso.models import Connection, SetupLink
from sso.services.setup_links import create_setup_link, open_setup_link, use_setup_link
from tests.cast import Cast
from tests.orgs.racing import at_once
from tests.sso import idp
from tests.sso.support import make_connection

State = Connection.State


@pytest.fixture
def owner(cast: Cast) -> Actor:
    return cast.actor(cast.alice)


@pytest.fixture
def draft(cast: Cast) -> Connection:
    return make_connection(cast.organization, state=State.DRAFT, idp_entity_id="", sso_url="")


@pytest.fixture
def token(draft: Connection, owner: Actor) -> str:
    return create_setup_link(actor=owner, connection_id=draft.pk)[1]


use = partial(use_setup_link, ip="203.0.113.9", request_id="request-1")


class TestMaking:
    def test_only_the_hash_is_kept(self, token: str, draft: Connection, cast: Cast) -> None:
        link = SetupLink.objects.get()
        assert len(token) >= 43
        assert token not in str(vars(link))
        assert timedelta(hours=71) < link.expires_at - timezone.now() <= timedelta(hours=72)
        assert open_setup_link(token).connection == draft
        event = AuditEvent.objects.get(type="sso_setup_link.created")
        assert token not in str(event.detail)

    def test_a_new_one_ends_the_one_before(
        self, token: str, draft: Connection, owner: Actor
    ) -> None:
        _, second = create_setup_link(actor=owner, connection_id=draft.pk)
        with pytest.raises(NotFound):
            open_setup_link(token)
        assert open_setup_link(second).connection == draft

    @pytest.mark.parametrize("state", [State.ACTIVE, State.ENFORCED, State.DISABLED])
    def test_not_for_a_connection_in_use(
        self, draft: Connection, owner: Actor, state: Connection.State
    ) -> None:
        Connection.objects.update(state=state)
        with pytest.raises(FailedPrecondition):
            create_setup_link(actor=owner, connection_id=draft.pk)

    def test_not_for_openid_connect(self, cast: Cast, owner: Actor) -> None:
        made = make_connection(
            cast.organization, protocol="oidc", idp_entity_id="", state=State.DRAFT
        )
        with pytest.raises(InvalidArgument):
            create_setup_link(actor=owner, connection_id=made.pk)

    def test_members_may_not_and_strangers_see_nothing(self, draft: Connection, cast: Cast) -> None:
        for who, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(error):
                create_setup_link(actor=cast.actor(who), connection_id=draft.pk)


class TestUsing:
    def test_metadata_sets_the_connection_up(self, token: str, draft: Connection) -> None:
        use(token, xml=idp.metadata())
        draft.refresh_from_db()
        assert draft.idp_entity_id == "https://idp.example/saml"
        assert draft.certificates.count() == 1
        assert draft.state == State.DRAFT
        event = AuditEvent.objects.get(type="sso_setup_link.used")
        assert (event.actor_label, event.ip) == ("set-up link", "203.0.113.9")
        assert event.organization_id == draft.organization_id
        mail = OutgoingMail.objects.get(subject__endswith="was set up")
        assert "203.0.113.9" in mail.text
        assert token not in mail.text

    def test_so_do_three_values(self, token: str, draft: Connection) -> None:
        idp.add_certificate(draft, idp.pair("before"))
        use(
            token,
            entity_id="urn:idp",
            sso_url="https://idp.example/login",
            certificate=idp.pair().certificate,
        )
        draft.refresh_from_db()
        assert (draft.idp_entity_id, draft.sso_url) == ("urn:idp", "https://idp.example/login")
        assert draft.certificates.count() == 1
        assert draft.config_version == 2

    def test_it_works_once(self, token: str) -> None:
        use(token, xml=idp.metadata())
        for call in (partial(use, xml=idp.metadata()), open_setup_link):
            with pytest.raises(NotFound):
                call(token)

    def test_what_is_refused_does_not_use_it_up(self, token: str, draft: Connection) -> None:
        certificate = idp.pair().certificate
        for given in (
            {"xml": b"<nonsense/>"},
            {"xml": b""},
            {},
            {"entity_id": "urn:idp", "sso_url": "", "certificate": certificate},
            {"entity_id": "", "sso_url": "https://idp.example/", "certificate": certificate},
            {"entity_id": "urn:idp", "sso_url": "http://idp.example/", "certificate": certificate},
            {"entity_id": "urn:idp", "sso_url": "https://idp.example/", "certificate": "x"},
        ):
            with pytest.raises(InvalidArgument):
                use(token, **given)
        draft.refresh_from_db()
        assert draft.version == 1
        use(token, xml=idp.metadata())

    @pytest.mark.parametrize("how", ["metadata", "by hand"])
    def test_not_the_identity_provider_of_another_connection(
        self, token: str, draft: Connection, cast: Cast, how: str
    ) -> None:
        make_connection(cast.organization, idp_entity_id="https://idp.example/saml")
        given: dict[str, Any] = {"xml": idp.metadata()}
        if how == "by hand":
            given = {
                "entity_id": "https://idp.example/saml",
                "sso_url": "https://idp.example/sso",
                "certificate": idp.pair().certificate,
            }
        with pytest.raises(AlreadyExists):
            use(token, **given)
        assert open_setup_link(token)

    @pytest.mark.parametrize("word", ["", "x", "a" * 10_000, "\ud800", "\0"])
    def test_no_other_word_opens_anything(self, token: str, word: str) -> None:
        with pytest.raises(NotFound):
            open_setup_link(word)

    def test_it_ends(self, token: str) -> None:
        SetupLink.objects.update(expires_at=timezone.now())
        with pytest.raises(NotFound):
            use(token, xml=idp.metadata())

    def test_it_ends_when_the_connection_comes_into_use(
        self, token: str, draft: Connection
    ) -> None:
        Connection.objects.update(state=State.ACTIVE)
        with pytest.raises(NotFound):
            use(token, xml=idp.metadata())
        draft.refresh_from_db()
        assert draft.idp_entity_id == ""


@pytest.mark.django_db(transaction=True)
def test_of_two_uses_at_once_one_counts(cast: Cast) -> None:
    connection = make_connection(cast.organization, state=State.DRAFT, idp_entity_id="", sso_url="")
    _, token = create_setup_link(actor=cast.actor(cast.alice), connection_id=connection.pk)
    one = partial(use, token, xml=idp.metadata("https://one.example"))
    two = partial(use, token, xml=idp.metadata("https://two.example"))
    assert at_once(one, two) == {"done": 1, "NotFound": 1}
    assert AuditEvent.objects.filter(type="sso_setup_link.used").count() == 1

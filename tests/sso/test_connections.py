"""Connections: what they may be, and how they go from a draft into use and out of it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from audit.models import AuditEvent
from kms.envelope import WrappedKey
from kms.installation import provider
from orgs.actors import Actor
from orgs.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ReauthenticationRequired,
)
from orgs.models import User
from orgs.selectors.bindings import actor_for
from sso.models import Connection, Domain, Identity, SpKey, SsoSession
from sso.selectors.connections import (
    attempts_of,
    connections_of,
    get_connection,
    identities_of,
    missing_for_sign_in,
)
from sso.services import connections as service
from sso.services.certificates import add_certificate
from sso.services.connections import (
    create_connection,
    delete_connection,
    set_state,
    update_connection,
)
from tests.cast import Cast
from tests.orgs.racing import at_once
from tests.pages import Browser
from tests.sso import idp
from tests.sso.support import make_connection

State, Protocol = Connection.State, Connection.Protocol
FILLED = {"idp_entity_id": "https://idp.example/saml", "sso_url": "https://idp.example/sso"}


@pytest.fixture
def owner(cast: Cast) -> Actor:
    return cast.actor(cast.alice)


@pytest.fixture
def draft(cast: Cast, owner: Actor) -> Connection:
    return create_connection(actor=owner, organization_id=cast.organization.pk, name="Okta")


@pytest.fixture
def complete(cast: Cast) -> Connection:
    """One that lacks nothing but to be switched on."""
    made = make_connection(cast.organization, state=State.TESTING, domains=["acme.example"])
    idp.install(made)
    return made


def change(actor: Actor, connection: Connection, **changes: object) -> Connection:
    return update_connection(actor=actor, connection_id=connection.pk, changes=changes)


def go(actor: Actor, connection: Connection, state: str) -> Connection:
    return set_state(actor=actor, connection_id=connection.pk, state=state)


def open_session(connection: Connection, user: User) -> str:
    """As the connection signs somebody in; the session's key."""
    key = Browser(user).session.session_key
    assert key
    SsoSession.objects.create(
        connection=connection,
        user=user,
        session_key=key,
        name_id=user.email,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    return str(key)


class TestCreating:
    def test_a_draft_has_a_key_of_ours(self, draft: Connection, cast: Cast) -> None:
        assert draft.state == State.DRAFT
        assert draft.organization == cast.organization
        assert [key.state for key in draft.sp_keys.all()] == [SpKey.State.CURRENT]
        event = AuditEvent.objects.get(type="sso_connection.created")
        assert event.organization_id == cast.organization.pk
        assert event.resource_id == str(draft.pk)

    def test_openid_connect_needs_no_key(self, cast: Cast, owner: Actor) -> None:
        made = create_connection(
            actor=owner, organization_id=cast.organization.pk, name="Entra", protocol="oidc"
        )
        assert made.protocol == Protocol.OIDC
        assert not made.sp_keys.exists()

    def test_an_unknown_protocol_is_refused(self, cast: Cast, owner: Actor) -> None:
        with pytest.raises(InvalidArgument, match="saml, oidc"):
            create_connection(
                actor=owner, organization_id=cast.organization.pk, name="x", protocol="ldap"
            )

    def test_the_plan_has_to_include_it(self, cast: Cast, owner: Actor) -> None:
        cast.organization.overrides = {"sso": False}
        cast.organization.save()
        with pytest.raises(PermissionDenied, match="single sign-on"):
            create_connection(actor=owner, organization_id=cast.organization.pk, name="Okta")
        assert not Connection.objects.exists()

    def test_there_are_so_many_at_most(
        self, draft: Connection, cast: Cast, owner: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "MAX_CONNECTIONS", 1)
        with pytest.raises(QuotaExceeded, match="at most 1"):
            create_connection(actor=owner, organization_id=cast.organization.pk, name="Two")


class TestWhoMay:
    def test_members_may_not_and_strangers_see_nothing(self, draft: Connection, cast: Cast) -> None:
        for who, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(who)
            with pytest.raises(error):
                create_connection(actor=actor, organization_id=cast.organization.pk, name="x")
            with pytest.raises(error):
                change(actor, draft, name="x")
            with pytest.raises(error):
                go(actor, draft, "disabled")
            with pytest.raises(error):
                delete_connection(actor=actor, connection_id=draft.pk)
            with pytest.raises(error):
                connections_of(actor, cast.organization.pk)
            for selector in (get_connection, attempts_of, identities_of):
                with pytest.raises(error):
                    selector(actor, draft.pk)

    def test_what_is_not_there_looks_as_what_is_anothers(
        self, draft: Connection, cast: Cast
    ) -> None:
        missing = uuid4()
        texts = []
        for pk in (draft.pk, missing):
            with pytest.raises(NotFound) as found:
                get_connection(cast.actor(cast.charlie), pk)
            texts.append(found.value.message.replace(str(pk), ""))
        assert texts[0] == texts[1]

    def test_changing_takes_a_fresh_proof_and_looking_does_not(
        self, draft: Connection, cast: Cast
    ) -> None:
        stale = actor_for(cast.alice, authenticated_at=timezone.now() - timedelta(hours=2))
        assert get_connection(stale, draft.pk) == draft
        with pytest.raises(ReauthenticationRequired):
            change(stale, draft, name="x")


class TestChanging:
    def test_what_changes_is_told_and_counted(self, draft: Connection, owner: Actor) -> None:
        made = change(owner, draft, name=" Okta ", **FILLED)
        assert (made.version, made.config_version) == (2, 2)
        event = AuditEvent.objects.get(type="sso_connection.updated")
        assert event.changes["sso_url"] == {"before": "", "after": FILLED["sso_url"]}
        assert "name" not in event.changes

    def test_nothing_new_is_no_change(self, draft: Connection, owner: Actor) -> None:
        assert change(owner, draft, name="Okta", session_hours=24).version == 1
        assert not AuditEvent.objects.filter(type="sso_connection.updated").exists()

    @pytest.mark.parametrize(
        ("changes", "decides"),
        [
            ({"sso_url": "https://idp.example/other"}, True),
            ({"idp_entity_id": "urn:other"}, True),
            ({"signed_part": "response"}, True),
            ({"signs_requests": False}, True),
            ({"requires_encryption": True}, True),
            ({"clock_skew_seconds": 0}, True),
            ({"attribute_map": {"email": "mail"}}, True),
            ({"roles_mode": "exact"}, True),
            ({"name": "Other"}, False),
            ({"session_hours": 8}, False),
            ({"slo_url": "https://idp.example/slo"}, False),
            ({"trusts_idp_mfa": True}, False),
            ({"provisions_people": False}, False),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
    )
    def test_a_test_holds_until_what_decides_sign_ins_changes(
        self, complete: Connection, owner: Actor, changes: dict[str, object], decides: bool
    ) -> None:
        Connection.objects.update(tested_version=1)
        made = change(owner, complete, **changes)
        assert made.is_tested is not decides

    @pytest.mark.parametrize(
        "changes",
        [
            {"sso_url": "http://idp.example/sso"},
            {"sso_url": "javascript:alert(1)"},
            {"sso_url": "https://user:pw@idp.example/"},
            {"sso_url": "https://idp.example/#part"},
            {"sso_url": "https://idp.example/ü"},
            {"sso_url": "https://idp.example/a b"},
            {"sso_url": "https://idp.example/\r\nX: y"},
            {"sso_url": "https://"},
            {"sso_url": "https://idp.example:99999/"},
            {"sso_url": "https://[::1/"},
            {"sso_url": "https://idp.example/" + "x" * 2048},
            {"sso_url": 7},
            {"sso_url": None},
            {"slo_url": "ftp://idp.example"},
            {"metadata_url": "file:///etc/passwd"},
            {"idp_entity_id": "x" * 1025},
            {"idp_entity_id": "with space"},
            {"idp_entity_id": "null\0"},
            {"idp_entity_id": ["x"]},
            {"name": ""},
            {"name": "x" * 81},
            {"name": "line\nbreak"},
            {"session_hours": 0},
            {"session_hours": 337},
            {"session_hours": True},
            {"session_hours": "24"},
            {"clock_skew_seconds": -1},
            {"clock_skew_seconds": 301},
            {"signed_part": "nothing"},
            {"signed_part": ["assertion"]},
            {"signs_requests": "yes"},
            {"attribute_map": []},
            {"attribute_map": {"phone": "x"}},
            {"attribute_map": {"email": "x" * 257}},
            {"attribute_map": {"email": 7}},
            {"attribute_map": {"email": "a\0b"}},
            {"roles_mode": "all"},
            {"default_role": "OrgOwner"},
            {"default_role": "Nobody"},
            {"default_role": 7},
            {"default_project_roles": [{"role": "ProjectEditor"}]},
            {"role_mappings": [{"value": "x"}]},
            {"issuer": "https://idp.example"},
            {"client_secret": "x"},
            {"state": "active"},
            {"version": 7},
            {"organization": None},
        ],
        ids=lambda changes: "-".join(f"{k}={v!r:.30}" for k, v in changes.items()),
    )
    def test_a_value_that_breaks_its_rule_changes_nothing(
        self, draft: Connection, owner: Actor, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgument) as found:
            change(owner, draft, **{"clock_skew_seconds": 60, **changes})
        assert len(found.value.message) < 500
        draft.refresh_from_db()
        assert draft.version == 1
        assert draft.clock_skew_seconds == 120

    def test_an_identity_provider_on_this_machine_where_the_operator_allows_it(
        self, draft: Connection, owner: Actor, settings: Any
    ) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        assert change(owner, draft, sso_url="http://127.0.0.1:9000/sso").sso_url
        with pytest.raises(InvalidArgument):
            change(owner, draft, sso_url="http://idp.example/sso")

    def test_an_empty_attribute_means_the_usual_names(
        self, draft: Connection, owner: Actor
    ) -> None:
        made = change(owner, draft, attribute_map={"email": " ", "uid": " sub "})
        assert made.attribute_map == {"uid": "sub"}

    def test_two_connections_are_not_with_the_same_identity_provider(
        self, draft: Connection, complete: Connection, owner: Actor
    ) -> None:
        with pytest.raises(AlreadyExists):
            change(owner, draft, idp_entity_id=complete.idp_entity_id)

    @pytest.mark.parametrize("state", [State.ACTIVE, State.ENFORCED])
    def test_people_keep_their_identity_provider(
        self, complete: Connection, owner: Actor, state: Connection.State
    ) -> None:
        Connection.objects.update(state=state)
        with pytest.raises(FailedPrecondition, match="another connection"):
            change(owner, complete, idp_entity_id="urn:other")
        assert change(owner, complete, sso_url="https://idp.example/moved").sso_url

    def test_ids_of_one_identity_provider_mean_nobody_at_another(
        self, complete: Connection, owner: Actor, cast: Cast
    ) -> None:
        Identity.objects.create(connection=complete, user=cast.bob, uid="1", opens_sessions=True)
        change(owner, complete, sso_url="https://idp.example/moved")
        assert Identity.objects.exists()
        change(owner, complete, idp_entity_id="urn:other")
        assert not Identity.objects.exists()

    def test_one_in_use_stays_complete(self, complete: Connection, owner: Actor) -> None:
        with pytest.raises(FailedPrecondition, match="sign-in address"):
            change(owner, complete, sso_url="")
        go(owner, complete, "disabled")
        assert change(owner, complete, sso_url="").sso_url == ""

    def test_the_version_seen_has_to_be_the_one_at_hand(
        self, draft: Connection, owner: Actor
    ) -> None:
        def first_only(version: int) -> None:
            if version != 1:
                raise Aborted("changed meanwhile")

        for expected in (None, Aborted):
            call = partial(
                update_connection,
                actor=owner,
                connection_id=draft.pk,
                changes={"name": f"Name {expected}"},
                check=first_only,
            )
            if expected is None:
                call()
            else:
                with pytest.raises(expected):
                    call()

    def test_mapped_roles_need_the_plan(self, draft: Connection, owner: Actor, cast: Cast) -> None:
        cast.organization.overrides = {"saml_roles": False}
        cast.organization.save()
        with pytest.raises(PermissionDenied, match="roles from the identity provider"):
            change(owner, draft, roles_mode="add")
        assert change(owner, draft, roles_mode="default").roles_mode == "default"

    def test_roles_are_kept_as_they_were_checked(
        self, draft: Connection, owner: Actor, cast: Cast
    ) -> None:
        project_id = str(cast.project.pk)
        made = change(
            owner,
            draft,
            default_role="OrgManager",
            default_project_roles=[{"role": "ProjectViewer", "project_id": project_id}],
            role_mappings=[{"value": "admins", "role": "OrgOwner"}],
        )
        made.refresh_from_db()
        assert made.default_role == "OrgManager"
        assert made.default_project_roles == [{"role": "ProjectViewer", "project_id": project_id}]
        assert made.role_mappings == [{"value": "admins", "role": "OrgOwner", "project_id": None}]
        event = AuditEvent.objects.get(type="sso_connection.updated")
        assert event.changes["role_mappings"]["after"] == ["admins: OrgOwner on the organization"]

    def test_a_project_of_another_organization_is_none(
        self, draft: Connection, owner: Actor, cast: Cast
    ) -> None:
        foreign = str(cast.other_project.pk)
        with pytest.raises((InvalidArgument, NotFound)):
            change(
                owner,
                draft,
                default_project_roles=[{"role": "ProjectViewer", "project_id": foreign}],
            )


class TestClientSecret:
    @pytest.fixture
    def oidc(self, cast: Cast, owner: Actor) -> Connection:
        made = create_connection(
            actor=owner, organization_id=cast.organization.pk, name="Entra", protocol="oidc"
        )
        return change(
            owner, made, issuer="https://login.example", client_id="abc", client_secret="s3cret~"
        )

    @staticmethod
    def opened(connection: Connection) -> str:
        context = {"purpose": "oidc-client-secret", "connection": str(connection.pk)}
        wrapped = WrappedKey.load(connection.wrapped_client_secret)
        return provider().unwrap(wrapped, context=context).decode()

    def test_it_is_wrapped_and_in_no_trail(self, oidc: Connection) -> None:
        oidc.refresh_from_db()
        assert "s3cret~" not in oidc.wrapped_client_secret
        assert self.opened(oidc) == "s3cret~"
        assert missing_for_sign_in(oidc) == []
        assert all("s3cret~" not in str(event.changes) for event in AuditEvent.objects.all())
        event = AuditEvent.objects.get(type="sso_connection.updated")
        assert "client_secret" in event.changes

    def test_another_issuer_never_gets_the_secret_of_the_one_before(
        self, oidc: Connection, owner: Actor
    ) -> None:
        made = change(owner, oidc, issuer="https://evil.example")
        assert made.wrapped_client_secret == ""
        made = change(owner, made, issuer="https://third.example", client_secret="new")
        assert self.opened(made) == "new"

    @pytest.mark.parametrize("secret", ["ü", "a\nb", "x" * 1025, 7, None])
    def test_one_that_breaks_its_rule_is_not_repeated(
        self, oidc: Connection, owner: Actor, secret: object
    ) -> None:
        with pytest.raises(InvalidArgument) as found:
            change(owner, oidc, client_secret=secret)
        assert str(secret) not in found.value.message

    def test_fields_of_the_other_protocol_are_refused(self, oidc: Connection, owner: Actor) -> None:
        with pytest.raises(InvalidArgument, match="does not belong"):
            change(owner, oidc, sso_url="https://idp.example/sso")


class TestStates:
    def test_a_draft_goes_into_use_when_everything_is_there(
        self, draft: Connection, owner: Actor, cast: Cast
    ) -> None:
        with pytest.raises(FailedPrecondition, match=r"entity ID.*sign-in address.*certificate"):
            go(owner, draft, "testing")
        change(owner, draft, **FILLED)
        with pytest.raises(FailedPrecondition, match="certificate"):
            go(owner, draft, "testing")
        add_certificate(actor=owner, connection_id=draft.pk, pem=idp.pair().certificate)
        assert go(owner, draft, "testing").state == State.TESTING
        with pytest.raises(FailedPrecondition, match="verified domain"):
            go(owner, draft, "active")
        Domain.objects.create(
            organization=cast.organization, connection=draft, name="acme.example", token="t"
        )
        with pytest.raises(FailedPrecondition, match="verified domain"):
            go(owner, draft, "active")
        Domain.objects.update(verified_at=timezone.now())
        made = go(owner, draft, "active")
        assert made.is_usable
        event = AuditEvent.objects.filter(type="sso_connection.updated").latest("time")
        assert event.changes == {"state": {"before": "testing", "after": "active"}}

    def test_a_certificate_that_is_over_is_none(self, complete: Connection, owner: Actor) -> None:
        complete.certificates.update(not_after=timezone.now())
        with pytest.raises(FailedPrecondition, match="certificate"):
            go(owner, complete, "active")

    @pytest.mark.parametrize(
        ("before", "after"),
        [("draft", "active"), ("active", "draft"), ("enforced", "testing"), ("enforced", "draft")],
    )
    def test_some_ways_are_closed(
        self, complete: Connection, owner: Actor, before: str, after: str
    ) -> None:
        Connection.objects.update(state=before)
        with pytest.raises((FailedPrecondition, InvalidArgument)):
            go(owner, complete, after)
        complete.refresh_from_db()
        assert complete.state == before

    @pytest.mark.parametrize("state", ["enforced", "on", ""])
    def test_requiring_it_is_no_state_to_set(
        self, complete: Connection, owner: Actor, state: str
    ) -> None:
        with pytest.raises(InvalidArgument):
            go(owner, complete, state)

    def test_it_is_switched_off_from_anywhere(self, complete: Connection, owner: Actor) -> None:
        for state in ("draft", "testing", "active", "enforced"):
            Connection.objects.update(state=state)
            assert go(owner, complete, "disabled").state == State.DISABLED

    def test_without_the_plan_it_can_be_switched_off_but_not_on(
        self, complete: Connection, owner: Actor, cast: Cast
    ) -> None:
        cast.organization.overrides = {"sso": False}
        cast.organization.save()
        with pytest.raises(PermissionDenied):
            go(owner, complete, "active")
        Connection.objects.update(state=State.ACTIVE)
        assert go(owner, complete, "disabled").state == State.DISABLED

    @pytest.mark.parametrize("state", ["disabled", "testing"])
    def test_sessions_that_it_opened_end_with_it(
        self, complete: Connection, owner: Actor, cast: Cast, state: str
    ) -> None:
        go(owner, complete, "active")
        key, other = open_session(complete, cast.bob), Browser(cast.bob).session.session_key
        go(owner, complete, state)
        assert not Session.objects.filter(pk=key).exists()
        assert Session.objects.filter(pk=other).exists()
        assert not SsoSession.objects.exists()

    def test_the_last_owner_keeps_a_way_in(self, complete: Connection, cast: Cast) -> None:
        go(cast.actor(cast.alice), complete, "active")
        Identity.objects.create(
            connection=complete, user=cast.alice, uid="alice", opens_sessions=True
        )
        cast.alice.set_unusable_password()
        cast.alice.save()
        actor = cast.actor(cast.alice)
        for call in (
            partial(set_state, actor=actor, connection_id=complete.pk, state="disabled"),
            partial(delete_connection, actor=actor, connection_id=complete.pk),
        ):
            with pytest.raises(Aborted):
                call()
        complete.refresh_from_db()
        assert complete.state == State.ACTIVE


class TestDeleting:
    def test_everything_of_it_goes_and_people_and_domains_stay(
        self, complete: Connection, owner: Actor, cast: Cast
    ) -> None:
        go(owner, complete, "active")
        key = open_session(complete, cast.bob)
        Identity.objects.create(connection=complete, user=cast.bob, uid="b", opens_sessions=True)
        delete_connection(actor=owner, connection_id=complete.pk)
        assert not Connection.objects.exists()
        assert not Session.objects.filter(pk=key).exists()
        assert Domain.objects.get().connection is None
        assert cast.bob.memberships.exists()
        assert AuditEvent.objects.get(type="sso_connection.deleted").detail["count"] == 1

    def test_one_that_people_have_to_use_stays(self, complete: Connection, owner: Actor) -> None:
        Connection.objects.update(state=State.ENFORCED)
        with pytest.raises(FailedPrecondition, match="optional first"):
            delete_connection(actor=owner, connection_id=complete.pk)


@pytest.mark.django_db(transaction=True)
def test_of_two_that_take_the_last_place_one_gets_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_CONNECTIONS", 1)
    make = partial(
        create_connection, actor=cast.actor(cast.alice), organization_id=cast.organization.pk
    )
    results = at_once(partial(make, name="One"), partial(make, name="Two"))
    assert results == {"done": 1, "QuotaExceeded": 1}
    assert Connection.objects.count() == 1

"""What an identity provider or a directory does to the people of its own organization, only."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from audit.models import AuditEvent
from orgs.actors import Actor, Binding
from orgs.baseline import Facts
from orgs.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    SignInRequired,
)
from orgs.models import Membership, SecurityBaseline, User
from orgs.permissions import OWNER_ROLE, Permission, authorize
from orgs.plans import Entitlement
from orgs.selectors.bindings import actor_for
from orgs.selectors.organizations import get_organization
from orgs.services.accounts import end_sessions_from_outside
from orgs.services.members import add_member, reinstate_member, suspend_member
from orgs.services.people import create_user_from_outside
from tests.cast import Cast
from tests.pages import Browser


@pytest.fixture
def directory(cast: Cast) -> Actor:
    """Speaks for Alice's organization."""
    pk = cast.organization.pk
    return Actor(
        kind="scim",
        id="token",
        label="directory",
        organization_id=pk,
        bindings=(Binding(role=OWNER_ROLE.value, organization_id=pk),),
    )


@pytest.fixture
def foreign(cast: Cast, directory: Actor) -> Actor:
    """Speaks for another organization."""
    return replace(directory, organization_id=cast.other_organization.pk)


def signed_in(user: User) -> Browser:
    """A browser of the person, on their list of sessions."""
    browser = Browser(user)
    key = browser.session.session_key
    UserSession.objects.create(user=user, session_key=key, ip="203.0.113.7", user_agent="Firefox")
    return browser


class SuspendTests:
    def test_roles_stop_to_count_and_sessions_end(self, cast: Cast, directory: Actor) -> None:
        signed_in(cast.bob)
        assert suspend_member(
            actor=directory, organization_id=cast.organization.pk, user=cast.bob, reason="left"
        )
        assert not Session.objects.exists()
        with pytest.raises(PermissionDenied, match="Acme has suspended your place"):
            get_organization(cast.actor(cast.bob), cast.organization.pk)
        event = AuditEvent.objects.get(type="member.suspended")
        assert (event.actor_kind, event.detail) == ("scim", {"reason": "left"})

    def test_again_changes_nothing_but_ends_sessions_that_began_meanwhile(
        self, cast: Cast, directory: Actor
    ) -> None:
        place: dict[str, Any] = {"organization_id": cast.organization.pk, "user": cast.bob}
        suspend_member(actor=directory, reason="left", **place)
        signed_in(cast.bob)
        assert not suspend_member(actor=directory, reason="left", **place)
        assert not Session.objects.exists()
        assert AuditEvent.objects.filter(type="member.suspended").count() == 1

    def test_reinstating_gives_the_same_roles_back(self, cast: Cast, directory: Actor) -> None:
        place: dict[str, Any] = {"organization_id": cast.organization.pk, "user": cast.bob}
        suspend_member(actor=directory, reason="left", **place)
        assert reinstate_member(actor=directory, **place)
        assert not reinstate_member(actor=directory, **place)
        assert get_organization(cast.actor(cast.bob), cast.organization.pk) == cast.organization

    def test_the_last_owner_is_not_suspended(self, cast: Cast, directory: Actor) -> None:
        with pytest.raises(Aborted, match="at least one owner"):
            suspend_member(
                actor=directory, organization_id=cast.organization.pk, user=cast.alice, reason="x"
            )
        assert not Membership.objects.filter(suspended_at__isnull=False).exists()

    def test_somebody_who_is_no_member_is_404(self, cast: Cast, directory: Actor) -> None:
        place: dict[str, Any] = {"organization_id": cast.organization.pk, "user": cast.charlie}
        with pytest.raises(NotFound):
            suspend_member(actor=directory, reason="x", **place)
        with pytest.raises(NotFound):
            reinstate_member(actor=directory, **place)

    @pytest.mark.parametrize("who", ["foreign directory", "owner"])
    def test_only_the_organizations_own_directory_does_it(
        self, cast: Cast, foreign: Actor, who: str
    ) -> None:
        actor = foreign if who == "foreign directory" else cast.actor(cast.alice)
        place: dict[str, Any] = {"organization_id": cast.organization.pk, "user": cast.bob}
        with pytest.raises(PermissionDenied):
            suspend_member(actor=actor, reason="x", **place)
        with pytest.raises(PermissionDenied):
            reinstate_member(actor=actor, **place)
        with pytest.raises(PermissionDenied):
            add_member(actor=actor, **place)


class AddMemberTests:
    def test_a_place_without_invitation(self, cast: Cast, directory: Actor) -> None:
        place: dict[str, Any] = {"organization_id": cast.organization.pk, "user": cast.charlie}
        assert add_member(actor=directory, **place)
        assert not add_member(actor=directory, **place)
        assert AuditEvent.objects.filter(type="member.added", actor_kind="scim").count() == 1

    def test_a_full_plan_has_no_seat(self, cast: Cast, directory: Actor) -> None:
        cast.organization.overrides = {Entitlement.MAX_MEMBERS.value: 2}
        cast.organization.save()
        with pytest.raises(QuotaExceeded, match="at most 2"):
            add_member(actor=directory, organization_id=cast.organization.pk, user=cast.charlie)


class CreateUserTests:
    def test_no_password_and_the_address_is_vouched_for(self, cast: Cast, directory: Actor) -> None:
        user = create_user_from_outside(actor=directory, email="Dora@Example.com", name="Dora")
        assert (user.email, user.name) == ("dora@example.com", "Dora")
        assert not user.has_usable_password()
        assert user.emailaddress_set.get().verified  # type: ignore[attr-defined]  # allauth's
        event = AuditEvent.objects.get(type="user.created", actor_kind="scim")
        assert event.organization_id == cast.organization.pk

    def test_a_taken_address(self, cast: Cast, directory: Actor) -> None:
        with pytest.raises(AlreadyExists):
            create_user_from_outside(actor=directory, email="bob@example.com")

    @pytest.mark.parametrize("email", ["", "nobody", "a@b@c.example"])
    def test_no_address(self, directory: Actor, email: str) -> None:
        with pytest.raises(InvalidArgument, match="is no e-mail address"):
            create_user_from_outside(actor=directory, email=email)

    def test_people_vouch_for_nobody(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            create_user_from_outside(actor=cast.actor(cast.alice), email="dora@example.com")


class EndSessionsTests:
    def test_all_but_the_one_to_keep(self, cast: Cast, directory: Actor) -> None:
        kept = signed_in(cast.bob).session.session_key
        signed_in(cast.bob)
        signed_in(cast.alice)
        assert end_sessions_from_outside(actor=directory, user=cast.bob, keep={kept or ""}) == 1
        assert Session.objects.count() == 2

    def test_people_do_not_end_those_of_others(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied):
            end_sessions_from_outside(actor=cast.actor(cast.alice), user=cast.bob)


class SignInGrantTests:
    """Organizations that require their single sign-on, and what a session has of it."""

    @pytest.fixture(autouse=True)
    def required(self, cast: Cast) -> None:
        SecurityBaseline.objects.create(
            organization=cast.organization, sso_required=True, mfa_required=False
        )

    def test_without_a_grant_roles_do_not_count(self, cast: Cast) -> None:
        with pytest.raises(SignInRequired, match="Acme requires its single sign-on"):
            get_organization(cast.actor(cast.alice), cast.organization.pk)

    def test_a_grant_of_another_organization_does_not_help(self, cast: Cast) -> None:
        facts = Facts(sso_organizations=frozenset({cast.other_organization.pk}))
        with pytest.raises(SignInRequired):
            get_organization(actor_for(cast.alice, facts=facts), cast.organization.pk)

    def test_its_own_grant_lets_in(self, cast: Cast) -> None:
        facts = Facts(sso_organizations=frozenset({cast.organization.pk}))
        found = get_organization(actor_for(cast.alice, facts=facts), cast.organization.pk)
        assert found == cast.organization

    @pytest.mark.parametrize(("trusted", "is_let_in"), [(True, True), (False, False)])
    def test_a_trusted_second_factor_of_the_idp_meets_the_baseline(
        self, cast: Cast, trusted: bool, is_let_in: bool
    ) -> None:
        SecurityBaseline.objects.update(mfa_required=True)
        own = frozenset({cast.organization.pk})
        facts = Facts(sso_organizations=own, idp_mfa_organizations=own if trusted else frozenset())
        actor = actor_for(cast.alice, facts=facts)
        assert (actor.barred_from(cast.organization.pk) == "") is is_let_in

    @pytest.mark.parametrize(
        ("seconds", "method", "status"),
        [(60, "sso", 200), (60, "break_glass", 302), (-1, "sso", 302), (60, "password", 302)],
    )
    def test_a_session_carries_it_until_it_is_over(
        self, cast: Cast, seconds: int, method: str, status: int
    ) -> None:
        browser = Browser(cast.alice)
        browser.prove(
            cast.alice,
            method=method,
            organization=str(cast.organization.pk),
            until=time.time() + seconds,
        )
        page = browser.get(f"/organizations/{cast.organization.pk}/")
        assert page.status_code == status
        if status == 302:
            assert page["Location"].startswith(f"/sso/organizations/{cast.organization.pk}/?next=")

    def test_service_accounts_need_none(self, cast: Cast) -> None:
        robot = Actor(
            kind="service_account",
            id="x",
            label="robot",
            organization_id=cast.organization.pk,
            bindings=(Binding(role=OWNER_ROLE.value, organization_id=cast.organization.pk),),
        )
        authorize(robot, Permission.ORGANIZATION_READ, organization_id=cast.organization.pk)

    def test_programs_get_403_with_the_reason(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        answer = browser.get(
            f"/admin/organizations/{cast.organization.pk}",
            headers={"Tamarack-Organization": str(cast.organization.pk)},
        )
        assert answer.status_code == 403
        assert "requires its single sign-on" in answer.json()["error"]["message"]


def test_a_session_ends_when_the_identity_provider_says_so(cast: Cast) -> None:
    browser = Browser(cast.alice)
    session = browser.session
    session["ends"] = time.time() + 60
    session.save()
    assert browser.get(f"/organizations/{cast.organization.pk}/").status_code == 200
    session["ends"] = time.time() - 1
    session.save()
    answer = browser.get(f"/organizations/{cast.organization.pk}/")
    assert answer["Location"].startswith("/accounts/login/")
    assert not Session.objects.exists()

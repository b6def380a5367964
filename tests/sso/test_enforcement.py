"""Requiring single sign-on: when it can be done, what it does, and how it is taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp_auth
from django.core.cache import cache
from django.utils import timezone

from audit.models import AuditEvent
from orgs.actors import Actor
from orgs.baseline import Facts
from orgs.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ReauthenticationRequired,
)
from orgs.models import (
    Membership,
    Organization,
    RoleBinding,
    SecurityBaseline,
    User,
)
from orgs.selectors.bindings import actor_for
from orgs.selectors.owners import owners_of
from sso.models import BreakGlassAccess, BreakGlassOwner, Connection, Domain, Identity
from sso.services.break_glass import remove_owner
from sso.services.connections import update_connection
from sso.services.domains import assign_domain
from sso.services.enforcement import Readiness, enforce, readiness, relax
from tests.cast import Cast
from tests.factories import SYSTEM, make_member, make_user
from tests.orgs.accounts import AUTHENTICATE, Clock, code, events, is_signed_in, received
from tests.orgs.racing import at_once
from tests.pages import Browser
from tests.sso.emergencies import SECRET, exercise, give_factor, make_ready, make_required, own
from tests.sso.support import make_connection, make_domain

State = Connection.State


@pytest.fixture(autouse=True)
def no_rate_limits_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(totp_auth, "yield_hotp_counters_from_time", stopped.counters)
    return stopped


def unmet(found: Readiness) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


class ReadinessTests:
    def test_all_of_it_holds(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        found = readiness(actor=cast.actor(cast.alice), connection_id=connection.pk)
        assert found.is_ready
        assert not found.locked_out
        assert not any(check.way_out for check in found.checks)

    @pytest.mark.parametrize(
        ("name", "spoil"),
        [
            ("entitlement", lambda c: Organization.objects.update(plan="Free")),
            ("domain", lambda c: Domain.objects.update(verified_at=None)),
            ("domain", lambda c: Domain.objects.update(connection=None)),
            ("active", lambda c: Connection.objects.update(state=State.TESTING)),
            ("active", lambda c: Connection.objects.update(sso_url="")),
            ("tested", lambda c: Connection.objects.update(config_version=2)),
            ("tested", lambda c: Connection.objects.update(tested_version=None)),
            ("break_glass", lambda c: BreakGlassAccess.objects.all().delete()),
            ("break_glass", lambda c: BreakGlassOwner.objects.all().delete()),
            ("break_glass", lambda c: Authenticator.objects.all().delete()),
            ("break_glass", lambda c: c.alice.set_unusable_password() or c.alice.save()),
            (
                "break_glass",
                lambda c: BreakGlassAccess.objects.update(
                    began_at=timezone.now() - timedelta(days=91)
                ),
            ),
            ("break_glass", lambda c: BreakGlassAccess.objects.update(began_at=None)),
        ],
        ids=[
            "plan",
            "unverified",
            "unassigned",
            "testing",
            "incomplete",
            "changed since",
            "untested",
            "not exercised",
            "not named",
            "no factor",
            "no password",
            "long ago",
            "only asked for",
        ],
    )
    def test_each_thing_that_is_missing_stands_in_the_way(
        self, cast: Cast, name: str, spoil: Callable[[Cast], object]
    ) -> None:
        connection = make_ready(cast.organization, cast.alice)
        spoil(cast)
        found = readiness(actor=cast.actor(cast.alice), connection_id=connection.pk)
        assert unmet(found) == [name]
        (check,) = [check for check in found.checks if not check.ok]
        assert check.way_out
        with pytest.raises(FailedPrecondition, match=check.title):
            enforce(actor=cast.actor(cast.alice), connection_id=connection.pk)
        assert not SecurityBaseline.objects.filter(sso_required=True).exists()

    def test_an_exercise_by_two_counts_too(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        BreakGlassOwner.objects.all().delete()
        own(cast.organization, cast.bob)
        actor = cast.actor(cast.alice)
        BreakGlassAccess.objects.update(approved_by=cast.bob)
        assert unmet(readiness(actor=actor, connection_id=connection.pk)) == ["break_glass"]
        give_factor(cast.bob)
        assert not unmet(readiness(actor=actor, connection_id=connection.pk))

    def test_one_of_another_organization_does_not(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        BreakGlassAccess.objects.update(organization=cast.other_organization)
        found = readiness(actor=cast.actor(cast.alice), connection_id=connection.pk)
        assert unmet(found) == ["break_glass"]

    def test_a_proof_that_is_missing_is_told(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        Domain.objects.update(failing_since=timezone.now())
        found = readiness(actor=cast.actor(cast.alice), connection_id=connection.pk)
        (check,) = [check for check in found.checks if check.name == "domain"]
        assert check.ok
        assert "single sign-on stays required" in check.why

    def test_who_would_be_kept_out_is_listed(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        make_member(cast.organization, "dora@elsewhere.example")
        linked = make_member(cast.organization, "erin@elsewhere.example")
        Identity.objects.create(
            connection=connection, user=linked, uid="erin", opens_sessions=False
        )
        Membership.objects.filter(user=cast.bob).update(suspended_at=timezone.now())
        found = readiness(actor=cast.actor(cast.alice), connection_id=connection.pk)
        assert [(each.label, each.id) for each in found.locked_out] == [
            ("bob@example.com", cast.bob.pk),
            ("dora@elsewhere.example", found.locked_out[1].id),
        ]
        assert "suspended" in found.locked_out[0].reason
        assert "elsewhere.example is no verified domain" in found.locked_out[1].reason

    def test_it_takes_as_many_queries_for_many_members(
        self, cast: Cast, django_assert_max_num_queries: Any
    ) -> None:
        connection = make_ready(cast.organization, cast.alice)
        for number in range(8):
            make_member(cast.organization, f"person-{number}@elsewhere.example")
        actor = cast.actor(cast.alice)
        with django_assert_max_num_queries(20):
            readiness(actor=actor, connection_id=connection.pk)


class EnforceTests:
    def test_nobody_comes_into_the_organization_without_it(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        assert not actor_for(cast.alice).barred_from(cast.organization.pk)
        enforce(actor=cast.actor(cast.alice), connection_id=connection.pk)
        connection.refresh_from_db()
        assert connection.state == State.ENFORCED
        assert SecurityBaseline.objects.get().sso_required
        assert "requires its single sign-on" in actor_for(cast.alice).barred_from(
            cast.organization.pk
        )
        assert not actor_for(cast.charlie).barred_from(cast.other_organization.pk)

    def test_it_keeps_what_the_baseline_demanded(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        SecurityBaseline.objects.create(organization=cast.organization, session_hours=4, version=7)
        enforce(actor=SYSTEM, connection_id=connection.pk)
        baseline = SecurityBaseline.objects.get()
        assert (baseline.session_hours, baseline.version, baseline.sso_required) == (4, 8, True)

    def test_twice_is_once(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        for _ in range(2):
            enforce(actor=SYSTEM, connection_id=connection.pk)
        assert len(events("sso.enforced")) == 1
        assert SecurityBaseline.objects.get().version == 1

    def test_it_is_in_the_trail_and_all_owners_are_told(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        own(cast.organization, cast.bob)
        enforce(actor=cast.actor(cast.alice), connection_id=connection.pk)
        (event,) = events("sso.enforced")
        assert event.actor_id == str(cast.alice.pk)
        assert event.changes["sso_required"] == {"before": False, "after": True}
        for owner in ("alice@example.com", "bob@example.com"):
            assert "requires single sign-on" in received(owner)[-1].subject

    def test_sessions_that_came_otherwise_end(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        outsider = make_member(cast.organization, "dora@elsewhere.example")
        stranger = make_user("zoe@example.com")
        by_password = [sign_in(user) for user in (cast.bob, outsider, stranger)]
        by_sso, by_old_sso = sign_in(cast.bob), sign_in(cast.bob)
        for browser, seconds in ((by_sso, 60), (by_old_sso, -1)):
            session = browser.session
            session["account_authentication_methods"] += [
                {
                    "method": "sso",
                    "at": time.time(),
                    "organization": str(cast.organization.pk),
                    "until": time.time() + seconds,
                }
            ]
            session.save()
        untouched = sign_in(cast.charlie)
        acting = sign_in(cast.alice)
        enforce(
            actor=cast.actor(cast.alice),
            connection_id=connection.pk,
            keep=acting.session.session_key or "",
        )
        assert [is_signed_in(each) for each in (*by_password, by_old_sso)] == [False] * 4
        assert [is_signed_in(each) for each in (by_sso, untouched, acting)] == [True] * 3
        assert acting.get(f"/organizations/{cast.organization.pk}/")["Location"].startswith(
            f"/sso/organizations/{cast.organization.pk}/"
        )

    def test_so_do_those_of_a_domain_that_comes_later(self, cast: Cast) -> None:
        connection = make_required(cast.organization, cast.alice)
        domain = make_domain(cast.organization, "later.example")
        zoe, zara = (sign_in(make_user(f"{name}.example")) for name in ("zoe@later", "zara@other"))
        owner = actor_for(
            cast.alice,
            facts=Facts(sso_organizations=frozenset({cast.organization.pk})),
            authenticated_at=timezone.now(),
        )
        assign_domain(actor=owner, domain_id=domain.pk, connection_id=connection.pk)
        assert not is_signed_in(zoe)
        assert is_signed_in(zara)

    def test_keep_spares_nobody_elses_session(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        bobs = sign_in(cast.bob)
        key = bobs.session.session_key or ""
        enforce(actor=cast.actor(cast.alice), connection_id=connection.pk, keep=key)
        assert not is_signed_in(bobs)

    def test_who_may(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        with pytest.raises(PermissionDenied):
            enforce(actor=cast.actor(cast.bob), connection_id=connection.pk)
        with pytest.raises(NotFound):
            enforce(actor=cast.actor(cast.charlie), connection_id=connection.pk)
        with pytest.raises(ReauthenticationRequired):
            enforce(actor=actor_for(cast.alice), connection_id=connection.pk)
        with pytest.raises(NotFound):
            readiness(actor=cast.actor(cast.charlie), connection_id=connection.pk)

    def test_not_where_no_owner_could_come_in(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        RoleBinding.objects.filter(principal_id=cast.alice.pk).update(
            expires_at=timezone.now() + timedelta(hours=1)
        )
        own(cast.organization, cast.bob)
        # Bob owns it for good, but has no identity yet and is not named.
        with pytest.raises(Aborted, match="at least one owner"):
            enforce(actor=SYSTEM, connection_id=connection.pk)
        connection.refresh_from_db()
        assert connection.state == State.ACTIVE

    def test_a_lapsed_domain_opens_nothing(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        Domain.objects.update(verified_at=None)
        assert Browser().sign_in("bob@example.com").status_code == 302
        assert actor_for(cast.bob).barred_from(cast.organization.pk)


def sign_in(user: User) -> Browser:
    """A browser in which the person came by password, and by code where they have an app."""
    browser = Browser()
    if browser.sign_in(user.email)["Location"] == AUTHENTICATE:
        browser.post(AUTHENTICATE, {"code": code(SECRET)})
    assert is_signed_in(browser)
    return browser


class ReachableOwnersTests:
    def reachable(self, cast: Cast) -> frozenset[object]:
        return owners_of(cast.organization.pk).reachable

    def test_a_password_alone_does_not_reach(self, cast: Cast) -> None:
        own(cast.organization, cast.bob)
        assert self.reachable(cast) == {cast.alice.pk, cast.bob.pk}
        connection = make_required(cast.organization, cast.alice)
        assert self.reachable(cast) == {cast.alice.pk}
        Identity.objects.create(
            connection=connection, user=cast.bob, uid="bob", opens_sessions=True
        )
        assert self.reachable(cast) == {cast.alice.pk, cast.bob.pk}

    def test_nor_does_a_name_on_the_list_without_a_second_factor(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        Authenticator.objects.all().delete()
        assert self.reachable(cast) == frozenset()


class RelaxTests:
    @pytest.mark.parametrize("to_state", ["active", "disabled"])
    def test_it_lets_in_by_password_again(self, cast: Cast, to_state: str) -> None:
        connection = make_required(cast.organization, cast.alice)
        relax(actor=cast_sso(cast), connection_id=connection.pk, to_state=to_state)
        connection.refresh_from_db()
        assert connection.state == to_state
        assert not SecurityBaseline.objects.get().sso_required
        assert Browser().sign_in("bob@example.com").status_code == 302
        (event,) = events("sso.relaxed")
        assert event.changes["state"] == {"before": "enforced", "after": to_state}
        assert "no longer requires" in received("alice@example.com")[-1].subject

    def test_another_required_connection_goes_on(self, cast: Cast) -> None:
        first = make_required(cast.organization, cast.alice)
        make_connection(cast.organization, state=State.ENFORCED)
        relax(actor=SYSTEM, connection_id=first.pk, to_state="active")
        assert SecurityBaseline.objects.get().sso_required

    @pytest.mark.parametrize("to_state", ["enforced", "draft", "testing", "nonsense"])
    def test_not_to_any_other_state(self, cast: Cast, to_state: str) -> None:
        connection = make_required(cast.organization, cast.alice)
        with pytest.raises(InvalidArgument):
            relax(actor=SYSTEM, connection_id=connection.pk, to_state=to_state)

    def test_one_that_is_not_required_stays_as_it_is(self, cast: Cast) -> None:
        connection = make_connection(cast.organization)
        relax(actor=SYSTEM, connection_id=connection.pk, to_state="disabled")
        connection.refresh_from_db()
        assert connection.state == State.ACTIVE

    def test_who_may(self, cast: Cast) -> None:
        connection = make_required(cast.organization, cast.alice)
        for user, refusal in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(refusal):
                relax(actor=cast.actor(user), connection_id=connection.pk, to_state="active")


def cast_sso(cast: Cast) -> Actor:
    """Alice, come in by the organization's own sign-in."""
    facts = Facts(sso_organizations=frozenset({cast.organization.pk}))
    return actor_for(cast.alice, facts=facts, authenticated_at=timezone.now())


@pytest.mark.django_db(transaction=True)
class AtOnceTests:
    def test_two_that_require_it(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)

        def call() -> None:
            enforce(actor=SYSTEM, connection_id=connection.pk)

        assert at_once(call, call) == {"done": 2}
        assert len(events("sso.enforced")) == 1
        assert SecurityBaseline.objects.get().version == 1

    def test_a_change_of_the_configuration_is_never_required_untested(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        endings = at_once(
            lambda: enforce(actor=SYSTEM, connection_id=connection.pk),
            lambda: update_connection(
                actor=SYSTEM,
                connection_id=connection.pk,
                changes={"sso_url": "https://other.example/sso"},
            ),
        )
        connection.refresh_from_db()
        required = connection.state == State.ENFORCED
        assert required == (not endings["FailedPrecondition"])
        order = [event.type for event in events_of(connection)]
        if required and "sso_connection.updated" in order:
            assert order.index("sso.enforced") < order.index("sso_connection.updated")

    def test_the_last_named_owner_is_not_removed_meanwhile(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        own(cast.organization, cast.bob)
        Identity.objects.create(
            connection=connection, user=cast.bob, uid="bob", opens_sessions=True
        )
        endings = at_once(
            lambda: enforce(actor=SYSTEM, connection_id=connection.pk),
            lambda: remove_owner(
                actor=SYSTEM, organization_id=cast.organization.pk, user_id=cast.alice.pk
            ),
        )
        connection.refresh_from_db()
        is_named = BreakGlassOwner.objects.exists()
        assert (connection.state == State.ENFORCED) is is_named
        assert endings["done"] == 1


def events_of(connection: Connection) -> list[AuditEvent]:
    """The connection's audit events, oldest first."""
    rows = AuditEvent.objects.filter(resource_id=str(connection.pk))
    return list(rows.order_by("time", "id"))


def test_an_exercise_is_no_access(cast: Cast) -> None:
    access = exercise(cast.organization, cast.alice)
    assert access.is_over

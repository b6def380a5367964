"""Coming in without the identity provider, where single sign-on is required."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp_auth
from django.core.cache import cache
from django.utils import timezone

from orgs.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from orgs.models import Membership, Organization, RoleBinding, SecurityBaseline, User
from orgs.permissions import Role
from sso.models import BreakGlassAccess, BreakGlassOwner, Connection, Identity
from sso.selectors.break_glass import lasts, proven_actor
from sso.services.break_glass import (
    approve_access,
    begin_access,
    end_access,
    name_owner,
    remove_owner,
    request_access,
)
from sso.services.enforcement import readiness
from tests.cast import Cast
from tests.factories import PASSWORD, SYSTEM, make_member, make_organization, make_user
from tests.orgs.accounts import Clock, events, is_signed_in, received
from tests.orgs.racing import at_once
from tests.pages import Browser
from tests.sso.emergencies import (
    PAGE,
    come_in,
    give_factor,
    make_ready,
    make_required,
    own,
    recovery_code,
)
from tests.sso.support import make_connection

NOT_PROVEN = b"That was not an owner"


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


@pytest.fixture
def required(cast: Cast) -> Connection:
    """Acme requires single sign-on; Alice is named, Bob an owner who is not."""
    made = make_required(cast.organization, cast.alice)
    own(cast.organization, cast.bob)
    give_factor(cast.bob)
    return made


def home(cast: Cast) -> str:
    return f"/organizations/{cast.organization.pk}/"


def proven(cast: Cast, user: User) -> Any:
    """The person with password and second factor just shown."""
    return proven_actor(user, cast.organization.pk, ip="203.0.113.7", request_id="r")


class NamedOwnerTests:
    def test_comes_in_for_an_hour(self, cast: Cast, required: Connection) -> None:
        browser = Browser()
        assert come_in(browser, "alice@example.com")["Location"] == "/"
        assert browser.get(home(cast)).status_code == 200
        access = BreakGlassAccess.objects.get(is_drill=False)
        assert access.expires_at - timezone.now() < timedelta(hours=1)
        assert abs(browser.session["ends"] - access.expires_at.timestamp()) < 1
        assert access.session_key == browser.session.session_key

    def test_it_is_over_then(self, cast: Cast, required: Connection) -> None:
        browser = Browser()
        come_in(browser, "alice@example.com")
        session = browser.session
        session["ends"] = time.time() - 1
        session.save()
        assert not is_signed_in(browser)

    def test_the_grant_alone_is_over_then_too(self, cast: Cast, required: Connection) -> None:
        browser = Browser()
        come_in(browser, "alice@example.com")
        BreakGlassAccess.objects.update(expires_at=timezone.now())
        assert browser.get(home(cast)).status_code == 302

    def test_the_use_is_in_the_trail_and_every_owner_is_told(
        self, cast: Cast, required: Connection
    ) -> None:
        come_in(Browser(), "alice@example.com")
        (event,) = events("break_glass.used")
        assert event.detail["reason"] == "The identity provider is down."
        assert event.organization_id == cast.organization.pk
        assert events("user.signed_in")[-1].detail["kind"] == "password+totp+break_glass"
        for owner in ("alice@example.com", "bob@example.com"):
            message = received(owner)[-1]
            assert "came in without single sign-on" in message.subject
            assert "The identity provider is down." in str(message.body)

    def test_every_page_says_so_and_offers_to_end_it(
        self, cast: Cast, required: Connection
    ) -> None:
        browser = Browser()
        come_in(browser, "alice@example.com")
        page = browser.get(home(cast)).content.decode()
        (path,) = re.findall(
            r'emergency"\s+method="post"\s+action="(/sso/break-glass/[^"]+)"', page
        )
        assert browser.post(path, {"act": "end"})["Location"] == "/accounts/login/"
        assert not is_signed_in(browser)
        assert BreakGlassAccess.objects.get(is_drill=False).is_over
        assert len(events("break_glass.ended")) == 1

    def test_a_recovery_code_stands_in_for_the_app(self, cast: Cast, required: Connection) -> None:
        code = recovery_code(cast.alice)
        browser = Browser()
        assert come_in(browser, "alice@example.com", code=code).status_code == 302
        assert come_in(Browser(), "alice@example.com", code=code).status_code == 422

    def test_a_code_works_once(self, cast: Cast, required: Connection) -> None:
        assert come_in(Browser(), "alice@example.com").status_code == 302
        assert come_in(Browser(), "alice@example.com").status_code == 422

    @pytest.mark.parametrize(
        "lose",
        [
            lambda c: RoleBinding.objects.filter(principal_id=c.alice.pk).update(
                role=Role.ORG_MEMBER.value
            ),
            lambda c: Authenticator.objects.filter(user=c.alice).delete(),
            lambda c: BreakGlassOwner.objects.all().delete(),
            lambda c: Membership.objects.filter(user=c.alice).update(suspended_at=timezone.now()),
        ],
        ids=["role", "second factor", "name on the list", "suspended"],
    )
    def test_who_loses_the_right_is_out_at_once(
        self, cast: Cast, required: Connection, lose: Callable[[Cast], object]
    ) -> None:
        browser = Browser()
        come_in(browser, "alice@example.com")
        assert browser.get(home(cast)).status_code == 200
        lose(cast)
        assert browser.get(home(cast)).status_code != 200

    def test_any_owner_ends_it(self, cast: Cast, required: Connection, clock: Clock) -> None:
        browser = Browser()
        come_in(browser, "alice@example.com")
        access = BreakGlassAccess.objects.get(is_drill=False)
        with pytest.raises(NotFound):
            end_access(actor=cast.actor(cast.charlie), access_id=access.pk)
        end_access(actor=proven(cast, cast.bob), access_id=access.pk)
        assert not is_signed_in(browser)

    def test_ranges_of_addresses_hold_here_too(self, cast: Cast, required: Connection) -> None:
        SecurityBaseline.objects.update(ip_ranges=["192.0.2.0/24"])
        answer = come_in(Browser(ip="203.0.113.9"), "alice@example.com")
        assert answer.status_code == 422
        assert b"lets nobody in from the address" in answer.content

    def test_who_is_signed_in_already_stays_so(self, cast: Cast, required: Connection) -> None:
        browser = Browser(cast.alice)
        key = browser.session.session_key
        assert browser.get(home(cast)).status_code == 302
        assert come_in(browser, "alice@example.com").status_code == 302
        assert browser.session.session_key == key
        assert browser.get(home(cast)).status_code == 200
        access = BreakGlassAccess.objects.get(is_drill=False)
        browser.post(f"{PAGE}{access.pk}/", {"act": "end"})
        assert is_signed_in(browser)
        assert browser.get(home(cast)).status_code == 302

    def test_somebody_else_is_signed_out_first(self, cast: Cast, required: Connection) -> None:
        browser = Browser(cast.charlie)
        come_in(browser, "alice@example.com")
        assert b"alice@example.com" in browser.get("/accounts/").content


class NoProbingTests:
    def page(self, email: str, **fields: Any) -> bytes:
        answer = come_in(Browser(), email, **fields)
        assert answer.status_code == 422
        text: bytes = answer.content
        return re.sub(rb'(value="[^"]*"|autofocus)', b"", text)

    def test_one_answer_whatever_is_wrong(self, cast: Cast, required: Connection) -> None:
        own(cast.organization, make_user("erin@example.com"), join=True)
        pages = {
            self.page("alice@example.com", password="wrong"),
            self.page("alice@example.com", code="000000"),
            self.page("nobody@example.com"),
            self.page("charlie@example.org"),  # owns another one
            self.page("erin@example.com"),  # no second factor
        }
        assert len(pages) == 1
        assert NOT_PROVEN in pages.pop()
        assert not BreakGlassAccess.objects.filter(is_drill=False).exists()
        assert len(events("user.sign_in_failed")) == 5

    def test_guessing_ends_after_ten_tries(self, cast: Cast, required: Connection) -> None:
        for number in range(10):
            browser = Browser(ip=f"198.51.100.{number}")
            come_in(browser, "alice@example.com", password="wrong")
        answer = come_in(Browser(ip="198.51.100.99"), "alice@example.com")
        assert answer.status_code == 422
        assert b"Too many" in answer.content

    def test_a_member_who_is_no_owner_is_nobody(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        give_factor(cast.bob)
        assert NOT_PROVEN in come_in(Browser(), "bob@example.com").content

    @pytest.mark.parametrize(
        "fields",
        [
            {"email": "a\0@example.com"},
            {"email": "x" * 5000},
            {"approve": "nonsense"},
            {"organization": "nonsense"},
            {"organization": "00000000-0000-0000-0000-000000000000"},
            {"reason": "x" * 501},
            {"reason": "\x00"},
            {"reason": "  "},
            {"code": "ⅷ" * 8},
            {"password": "x" * 5000},
        ],
        ids=lambda fields: f"{next(iter(fields))} {len(next(iter(fields.values())))}",
    )
    def test_no_input_breaks_it(
        self, cast: Cast, required: Connection, fields: dict[str, Any]
    ) -> None:
        form = {"email": "alice@example.com", **fields}
        assert come_in(Browser(), **form).status_code == 422
        assert not BreakGlassAccess.objects.filter(began_at__isnull=False, is_drill=False).exists()

    def test_the_form_needs_its_token(self, cast: Cast, required: Connection) -> None:
        browser = Browser(enforce_csrf_checks=True)
        assert come_in(browser, "alice@example.com").status_code == 403


class TwoOwnersTests:
    def ask(self, cast: Cast) -> BreakGlassAccess:
        browser = Browser()
        answer = come_in(browser, "bob@example.com")
        assert b"Another owner has to approve" in answer.content
        assert not is_signed_in(browser)
        return BreakGlassAccess.objects.get(user=cast.bob)

    def test_who_is_not_named_waits_for_another_owner(
        self, cast: Cast, required: Connection, clock: Clock
    ) -> None:
        access = self.ask(cast)
        message = received("alice@example.com")[-1]
        assert "asks to come in" in message.subject
        (path,) = re.findall(r"(/sso/break-glass/\?approve=\S+)", str(message.body))
        approver = Browser()
        assert b"Approve another owner" in approver.get(path).content
        answer = come_in(approver, "alice@example.com", approve=path.rpartition("=")[2])
        assert b"Approved" in answer.content
        assert not is_signed_in(approver)
        assert "You can come into" in received("bob@example.com")[-1].subject
        clock.steps = 1
        browser = Browser()
        assert come_in(browser, "bob@example.com", steps=1).status_code == 302
        assert browser.get(home(cast)).status_code == 200
        access.refresh_from_db()
        assert access.approved_by == cast.alice
        names = [event.type for event in events_about(access)]
        assert names == ["break_glass.requested", "break_glass.approved", "break_glass.used"]

    def test_asking_twice_is_asking_once(
        self, cast: Cast, required: Connection, clock: Clock
    ) -> None:
        self.ask(cast)
        clock.steps = 1
        come_in(Browser(), "bob@example.com", steps=1)
        assert BreakGlassAccess.objects.filter(user=cast.bob).count() == 1
        assert len(events("break_glass.requested")) == 1

    def test_nobody_approves_their_own(
        self, cast: Cast, required: Connection, clock: Clock
    ) -> None:
        access = self.ask(cast)
        clock.steps = 1
        answer = come_in(Browser(), "bob@example.com", steps=1, approve=str(access.pk))
        assert b"Another owner has to approve" in answer.content
        access.refresh_from_db()
        assert access.approved_by is None

    @pytest.mark.parametrize("who", ["charlie", "dora"])
    def test_only_owners_approve(self, cast: Cast, required: Connection, who: str) -> None:
        access = self.ask(cast)
        user = cast.charlie if who == "charlie" else make_user("dora@example.com")
        if who == "dora":
            Membership.objects.create(user=user, organization=cast.organization)
        with pytest.raises((NotFound, PermissionDenied)):
            approve_access(actor=proven(cast, user), access_id=access.pk)

    def test_approved_from_a_session(self, cast: Cast, required: Connection) -> None:
        access = self.ask(cast)
        browser = Browser(cast.alice)
        browser.prove(
            cast.alice,
            method="sso",
            organization=str(cast.organization.pk),
            until=time.time() + 60,
        )
        path = f"{PAGE}{access.pk}/"
        assert b"Approve" in browser.get(path).content
        assert browser.post(path, {"act": "approve"}).status_code == 302
        access.refresh_from_db()
        assert access.approved_by == cast.alice

    def test_a_refused_one_can_not_be_approved(self, cast: Cast, required: Connection) -> None:
        access = self.ask(cast)
        end_access(actor=proven(cast, cast.alice), access_id=access.pk)
        with pytest.raises(FailedPrecondition):
            approve_access(actor=proven(cast, cast.alice), access_id=access.pk)

    def test_nor_one_that_waited_too_long(self, cast: Cast, required: Connection) -> None:
        access = self.ask(cast)
        BreakGlassAccess.objects.update(expires_at=timezone.now())
        with pytest.raises(FailedPrecondition, match="in time"):
            approve_access(actor=proven(cast, cast.alice), access_id=access.pk)

    def test_it_begins_once_and_for_who_asked(self, cast: Cast, required: Connection) -> None:
        access = self.ask(cast)
        with pytest.raises(FailedPrecondition, match="No other owner"):
            begin_access(actor=proven(cast, cast.bob), access_id=access.pk)
        approve_access(actor=proven(cast, cast.alice), access_id=access.pk)
        with pytest.raises(NotFound):
            begin_access(actor=proven(cast, cast.alice), access_id=access.pk)
        begin_access(actor=proven(cast, cast.bob), access_id=access.pk)
        with pytest.raises(FailedPrecondition, match="is over"):
            begin_access(actor=proven(cast, cast.bob), access_id=access.pk)

    def test_it_ends_with_the_approvers_ownership_and_can_be_approved_anew(
        self, cast: Cast, required: Connection
    ) -> None:
        dora = make_member(cast.organization, "dora@example.com")
        own(cast.organization, dora)
        access = self.ask(cast)
        approve_access(actor=proven(cast, dora), access_id=access.pk)
        RoleBinding.objects.filter(principal_id=dora.pk, role="OrgOwner").delete()
        with pytest.raises(FailedPrecondition, match="No other owner"):
            begin_access(actor=proven(cast, cast.bob), access_id=access.pk)
        approve_access(actor=proven(cast, cast.alice), access_id=access.pk)
        begin_access(actor=proven(cast, cast.bob), access_id=access.pk)
        assert lasts(access.pk, cast.bob.pk)
        BreakGlassAccess.objects.update(approved_by=dora)
        assert not lasts(access.pk, cast.bob.pk)

    def test_strangers_see_no_access(self, cast: Cast, required: Connection) -> None:
        access = self.ask(cast)
        assert Browser(cast.charlie).get(f"{PAGE}{access.pk}/").status_code == 404
        assert Browser().get(f"{PAGE}{access.pk}/").status_code == 302


def events_about(access: BreakGlassAccess) -> list[Any]:
    names = ("break_glass.requested", "break_glass.approved", "break_glass.used")
    found = [event for name in names for event in events(name)]
    return [event for event in found if event.resource_id == str(access.pk)]


class ExerciseTests:
    def test_an_exercise_counts_and_signs_in_as_usual(self, cast: Cast) -> None:
        connection = make_ready(cast.organization, cast.alice)
        BreakGlassAccess.objects.all().delete()
        browser = Browser()
        assert come_in(browser, "alice@example.com", is_drill="on").status_code == 302
        assert b"The exercise succeeded" in browser.get("/accounts/").content
        found = readiness(actor=cast.actor(cast.alice), connection_id=connection.pk)
        assert found.is_ready
        assert events("break_glass.used")[0].detail["is_drill"] is True
        assert "break_glass" not in browser.session

    def test_it_opens_nothing_once_single_sign_on_is_required(self, cast: Cast) -> None:
        make_ready(cast.organization, cast.alice)
        browser = Browser()
        come_in(browser, "alice@example.com", is_drill="on")
        Connection.objects.update(state=Connection.State.ENFORCED)
        SecurityBaseline.objects.create(organization=cast.organization, sso_required=True)
        assert browser.get(home(cast)).status_code == 302

    def test_each_at_its_time(self, cast: Cast, clock: Clock) -> None:
        make_ready(cast.organization, cast.alice)
        answer = come_in(Browser(), "alice@example.com")
        assert b"does not require single sign-on" in answer.content
        SecurityBaseline.objects.create(organization=cast.organization, sso_required=True)
        clock.steps = 1
        answer = come_in(Browser(), "alice@example.com", steps=1, is_drill="on")
        assert b"requires single sign-on already" in answer.content


class SeveralOrganizationsTests:
    @pytest.fixture
    def second(self, cast: Cast, required: Connection) -> Organization:
        found = make_organization(cast.alice, "Second")
        make_connection(found, state=Connection.State.ENFORCED)
        SecurityBaseline.objects.create(organization=found, sso_required=True)
        name_owner(actor=SYSTEM, organization_id=found.pk, user_id=cast.alice.pk)
        return found

    def test_who_owns_several_says_which(
        self, cast: Cast, second: Organization, clock: Clock
    ) -> None:
        answer = come_in(Browser(), "alice@example.com")
        assert answer.status_code == 422
        assert b"Second</option>" in answer.content
        clock.steps = 1
        browser = Browser()
        come_in(browser, "alice@example.com", steps=1, organization=str(cast.organization.pk))
        assert browser.get(home(cast)).status_code == 200
        assert browser.get(f"/organizations/{second.pk}/").status_code == 302

    def test_a_domain_of_another_organization_comes_first(
        self, cast: Cast, second: Organization
    ) -> None:
        browser = Browser()
        answer = come_in(browser, "alice@example.com", organization=str(second.pk))
        assert answer.status_code == 403
        assert b"Go on to the sign-in" in answer.content
        assert not is_signed_in(browser)
        assert not BreakGlassAccess.objects.filter(began_at__isnull=False, is_drill=False).exists()
        assert not events("break_glass.used")


class NamingTests:
    def test_an_owner_with_password_and_second_factor(self, cast: Cast) -> None:
        give_factor(cast.alice)
        name_owner(
            actor=cast.actor(cast.alice),
            organization_id=cast.organization.pk,
            user_id=cast.alice.pk,
        )
        (event,) = events("break_glass_owner.added")
        assert event.detail["email"] == "alice@example.com"
        assert "can come in without" in received("alice@example.com")[-1].subject
        with pytest.raises(AlreadyExists):
            name_owner(actor=SYSTEM, organization_id=cast.organization.pk, user_id=cast.alice.pk)

    def test_nobody_else(self, cast: Cast) -> None:
        organization_id = cast.organization.pk
        with pytest.raises(FailedPrecondition, match="no second factor"):
            name_owner(actor=SYSTEM, organization_id=organization_id, user_id=cast.alice.pk)
        give_factor(cast.bob)
        with pytest.raises(FailedPrecondition, match="no owner"):
            name_owner(actor=SYSTEM, organization_id=organization_id, user_id=cast.bob.pk)
        with pytest.raises(NotFound):
            name_owner(actor=SYSTEM, organization_id=organization_id, user_id=cast.charlie.pk)
        give_factor(cast.alice)
        cast.alice.set_unusable_password()
        cast.alice.save()
        with pytest.raises(FailedPrecondition, match="no password"):
            name_owner(actor=SYSTEM, organization_id=organization_id, user_id=cast.alice.pk)

    def test_who_may(self, cast: Cast, required: Connection) -> None:
        for act in (name_owner, remove_owner):
            for user, refusal in ((cast.charlie, NotFound),):
                with pytest.raises(refusal):
                    act(
                        actor=cast.actor(user),
                        organization_id=cast.organization.pk,
                        user_id=cast.alice.pk,
                    )

    def test_who_leaves_and_comes_again_is_not_named(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        Membership.objects.filter(user=cast.alice).delete()
        assert not BreakGlassOwner.objects.exists()

    def test_the_last_way_in_stays_while_single_sign_on_is_required(self, cast: Cast) -> None:
        connection = make_required(cast.organization, cast.alice)
        own(cast.organization, cast.bob)
        Identity.objects.create(
            connection=connection, user=cast.bob, uid="bob", opens_sessions=True
        )
        arguments = {"organization_id": cast.organization.pk, "user_id": cast.alice.pk}
        with pytest.raises(Aborted, match="Name another owner first"):
            remove_owner(actor=SYSTEM, **arguments)
        assert BreakGlassOwner.objects.exists()
        # With two owners who have a second factor, the other way remains.
        give_factor(cast.bob)
        remove_owner(actor=SYSTEM, **arguments)
        assert len(events("break_glass_owner.removed")) == 1
        with pytest.raises(NotFound):
            remove_owner(actor=SYSTEM, **arguments)


class ServiceTests:
    def test_a_reason_is_needed(self, cast: Cast, required: Connection) -> None:
        with pytest.raises(InvalidArgument, match="Say why"):
            request_access(
                actor=proven(cast, cast.alice),
                organization_id=cast.organization.pk,
                reason=" ",
            )

    def test_it_takes_a_second_factor(self, cast: Cast, required: Connection) -> None:
        Authenticator.objects.all().delete()
        with pytest.raises(PermissionDenied, match="second factor"):
            request_access(
                actor=proven(cast, cast.alice),
                organization_id=cast.organization.pk,
                reason="x",
            )


@pytest.mark.django_db(transaction=True)
def test_one_approval_opens_one_session(cast: Cast) -> None:
    make_required(cast.organization, cast.alice)
    own(cast.organization, cast.bob)
    give_factor(cast.bob)
    access = request_access(
        actor=proven(cast, cast.bob), organization_id=cast.organization.pk, reason="down"
    )
    approve_access(actor=proven(cast, cast.alice), access_id=access.pk)

    def call() -> None:
        begin_access(actor=proven(cast, cast.bob), access_id=access.pk)

    assert at_once(call, call) == {"done": 1, "FailedPrecondition": 1}
    assert len(events("break_glass.used")) == 1


def test_the_page_itself_needs_nobody(db: None) -> None:
    page = Browser().get(PAGE)
    assert page.status_code == 200
    assert PASSWORD not in page.content.decode()

"""What an organization demands of everybody who comes in: the change, the dry run, the effect."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from audit.models import AuditEvent
from orgs import baseline as rules
from orgs.actors import Actor
from orgs.baseline import Demands, Facts, LockedOut, locked_out, register_baseline_probe
from orgs.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ReauthenticationRequired,
)
from orgs.models import PrincipalType, SecurityBaseline, User
from orgs.permissions import Role
from orgs.selectors.baseline import baseline_of
from orgs.selectors.bindings import actor_for
from orgs.services.baseline import Outcome, check_ranges, update_baseline
from orgs.services.bindings import bind_role
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_organization, make_service_account
from tests.orgs.racing import at_once
from tests.pages import Browser


def alice_at(cast: Cast, ip: str = "203.0.113.7") -> Actor:
    """Alice, just signed in, from an address."""
    now = timezone.now()
    return actor_for(cast.alice, facts=Facts(ip=ip, session_started_at=now), authenticated_at=now)


def change(cast: Cast, actor: Actor | None = None, **changes: Any) -> Outcome:
    """Alice changes the baseline; `force` and `dry_run` go where they belong."""
    options = {name: changes.pop(name) for name in ("force", "dry_run") if name in changes}
    return update_baseline(
        actor=actor or alice_at(cast),
        organization_id=cast.organization.pk,
        changes=changes,
        **options,
    )


def enroll(user: User) -> None:
    """The person has an authenticator app."""
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})


class RangeTests:
    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            (" 192.0.2.0/24 ", "192.0.2.0/24"),
            ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ],
    )
    def test_ranges_have_one_form(self, text: str, canonical: str) -> None:
        assert check_ranges([text, canonical]) == (canonical,)

    @pytest.mark.parametrize(
        "text",
        [
            *("", "x", "10.0.0.0/33", "10.0.0/8", "010.0.0.1/8", "1", "2001:db8::/129"),
            *(
                "fe80::1%eth0/64",
                "::ffff:192.0.2.0/120",
                "10.0.0.0/8\0",
                "\u0661.0.0.0/8",
                "1" * 10_000,
            ),
        ],
    )
    def test_what_is_no_range_is_named(self, text: str) -> None:
        with pytest.raises(InvalidArgument, match="range"):
            check_ranges(["192.0.2.0/24", text])

    def test_101_ranges_are_too_many(self) -> None:
        ranges = [f"10.0.{number}.0/24" for number in range(101)]
        assert len(check_ranges(ranges[:100])) == 100
        with pytest.raises(InvalidArgument, match="at most 100 ip_ranges, not 101"):
            check_ranges(ranges)


class UpdateBaselineTests:
    def test_what_is_not_named_stays(self, cast: Cast) -> None:
        change(cast, session_hours=8, ip_ranges=["203.0.113.9/24"])
        found = change(cast, max_key_age_days=90, session_hours=None).baseline
        assert (found.session_hours, found.max_key_age_days, found.mfa_required) == (
            None,
            90,
            False,
        )
        assert found.ip_ranges == ["203.0.113.0/24"]
        assert SecurityBaseline.objects.get().version == 2

    def test_before_and_after_are_in_the_trail(self, cast: Cast) -> None:
        change(cast, session_hours=8)
        change(cast, session_hours=4, ip_ranges=["203.0.113.0/24"])
        event = AuditEvent.objects.filter(type="security_baseline.updated").order_by("-time")[0]
        assert event.permission == "security:manage"
        assert event.changes == {
            "session_hours": {"before": 8, "after": 4},
            "ip_ranges": {"before": [], "after": ["203.0.113.0/24"]},
        }

    def test_what_changes_nothing_is_no_change(self, cast: Cast) -> None:
        assert change(cast, mfa_required=False).baseline.version == 0
        assert not SecurityBaseline.objects.exists()
        assert not AuditEvent.objects.filter(type="security_baseline.updated").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            *({"session_hours": hours} for hours in (0, -1, 25, 2**63)),
            *({"max_key_age_days": days} for days in (0, -1, 3651)),
        ],
    )
    def test_numbers_out_of_range_are_400(self, cast: Cast, changes: dict[str, Any]) -> None:
        with pytest.raises(OutOfRange, match=next(iter(changes))):
            change(cast, **changes)

    @pytest.mark.parametrize("role", [Role.ORG_MANAGER, Role.ORG_MEMBER, Role.ORG_BILLING_ADMIN])
    def test_only_owners_may(self, cast: Cast, role: Role) -> None:
        if role != Role.ORG_MEMBER:
            bind_role(
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                principal=(PrincipalType.USER, cast.bob.pk),
                role=role,
                resource_id=cast.organization.pk,
            )
        with pytest.raises(PermissionDenied, match="security:manage"):
            change(cast, cast.actor(cast.bob), session_hours=8)

    def test_a_stranger_gets_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound):
            change(cast, cast.actor(cast.charlie), session_hours=8)

    def test_it_needs_a_fresh_proof_even_to_try(self, cast: Cast) -> None:
        with pytest.raises(ReauthenticationRequired):
            change(cast, actor_for(cast.alice), session_hours=8, dry_run=True)

    def test_without_its_audit_event_nothing_changes(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            change(cast, session_hours=8)
        assert not SecurityBaseline.objects.exists()


class OwnWayInTests:
    @pytest.mark.parametrize("ip", ["203.0.113.7", ""])
    def test_nobody_locks_themselves_out_by_address(self, cast: Cast, ip: str) -> None:
        with pytest.raises(FailedPrecondition, match=r"own address .* in none of the ranges"):
            change(cast, alice_at(cast, ip), ip_ranges=["198.51.100.0/24"])
        assert not SecurityBaseline.objects.exists()

    def test_an_address_of_the_other_kind_is_outside(self, cast: Cast) -> None:
        with pytest.raises(FailedPrecondition):
            change(cast, alice_at(cast, "2001:db8::1"), ip_ranges=["0.0.0.0/0"])

    def test_nobody_locks_themselves_out_by_a_second_factor(self, cast: Cast) -> None:
        with pytest.raises(FailedPrecondition, match="has no second factor yet"):
            change(cast, mfa_required=True)
        enroll(cast.alice)
        assert change(cast, mfa_required=True).baseline.mfa_required

    def test_with_force_they_do(self, cast: Cast) -> None:
        found = change(cast, ip_ranges=["198.51.100.0/24"], mfa_required=True, force=True)
        assert found.baseline.version == 1
        with pytest.raises(PermissionDenied, match=r"203\.0\.113\.7"):
            change(cast, ip_ranges=[])

    def test_the_operator_lets_them_in_again(self, cast: Cast) -> None:
        change(cast, ip_ranges=["198.51.100.0/24"], mfa_required=True, force=True)
        call_command("reset_baseline", str(cast.organization.pk), stdout=StringIO())
        assert change(cast, session_hours=1).baseline.version == 3
        with pytest.raises(CommandError, match="no organization"):
            call_command("reset_baseline", str(uuid.uuid4()))


def seen(rows: Sequence[LockedOut]) -> set[tuple[str, str]]:
    """Kind and label of each."""
    return {(row.kind, row.label) for row in rows}


class DryRunTests:
    def test_it_lists_people_without_a_second_factor_and_writes_nothing(self, cast: Cast) -> None:
        enroll(cast.bob)
        found = change(cast, mfa_required=True, dry_run=True)
        assert found.baseline.mfa_required
        assert seen(found.locked_out) == {("user", "alice@example.com")}
        assert not SecurityBaseline.objects.exists()
        assert not AuditEvent.objects.filter(type="security_baseline.updated").exists()

    def test_recovery_codes_alone_are_no_second_factor(self, cast: Cast) -> None:
        Authenticator.objects.create(user=cast.bob, type=Authenticator.Type.RECOVERY_CODES, data={})
        found = change(cast, mfa_required=True, dry_run=True)
        assert ("user", "bob@example.com") in seen(found.locked_out)

    def test_it_lists_people_who_are_signed_in_from_elsewhere(self, cast: Cast) -> None:
        Browser(ip="198.51.100.9").sign_in("bob@example.com")
        assert UserSession.objects.filter(user=cast.bob).count() == 1
        found = change(cast, ip_ranges=["203.0.113.0/24"], dry_run=True)
        (bob,) = found.locked_out
        assert (bob.id, bob.reason) == (
            cast.bob.pk,
            "is signed in from 198.51.100.9, outside of the ranges",
        )
        assert not change(cast, ip_ranges=["198.51.100.0/24"], dry_run=True).locked_out

    def test_strangers_and_people_switched_off_are_not_listed(self, cast: Cast) -> None:
        User.objects.filter(pk=cast.bob.pk).update(is_active=False)
        found = change(cast, mfa_required=True, dry_run=True)
        assert seen(found.locked_out) == {("user", "alice@example.com")}

    def test_values_are_checked_as_for_real(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument):
            change(cast, ip_ranges=["nonsense"], dry_run=True)

    def test_rooms_above_add_what_they_know(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rules, "_probes", {})
        old_key = LockedOut("api_key", uuid.uuid4(), "old", "is 91 days old")

        def probe(organization_id: uuid.UUID, demands: Demands) -> list[LockedOut]:
            is_ours = organization_id == cast.organization.pk
            return [old_key] if is_ours and demands.max_key_age_days == 90 else []

        register_baseline_probe("keys", probe)
        assert locked_out(cast.organization.pk, Demands(max_key_age_days=90)) == [old_key]
        assert locked_out(cast.other_organization.pk, Demands(max_key_age_days=90)) == []
        assert change(cast, max_key_age_days=90, dry_run=True).locked_out == [old_key]
        assert change(cast, max_key_age_days=91, dry_run=True).locked_out == []


class EffectTests:
    """From the next request on, through pages and the API."""

    def get(self, browser: Browser, cast: Cast, accept: str) -> Any:
        path = (
            f"/admin/organizations/{cast.organization.pk}"
            if accept == "application/json"
            else f"/organizations/{cast.organization.pk}/"
        )
        return browser.get(path, headers={"accept": accept})

    @pytest.mark.parametrize("accept", ["text/html", "application/json"])
    @pytest.mark.parametrize(
        ("demands", "way_out"),
        [
            ({"ip_ranges": ["198.51.100.0/24"]}, "Come from one of its networks"),
            ({"mfa_required": True}, "requires a second factor"),
            ({"session_hours": 1}, "Sign in again"),
        ],
    )
    def test_who_does_not_meet_it_is_403_with_the_way_out(
        self, cast: Cast, demands: dict[str, Any], way_out: str, accept: str
    ) -> None:
        browser = Browser()
        browser.sign_in("bob@example.com")
        session = browser.session
        session["started"] = int((timezone.now() - timedelta(hours=2)).timestamp())
        session.save()
        assert self.get(browser, cast, accept).status_code == 200
        change(cast, force=True, **demands)
        answer = self.get(browser, cast, accept)
        assert answer.status_code == 403
        assert way_out in answer.content.decode()

    def test_who_meets_it_comes_in(self, cast: Cast) -> None:
        change(cast, session_hours=1, ip_ranges=["203.0.113.0/24"])
        browser = Browser(ip="203.0.113.200")
        browser.sign_in("bob@example.com")
        for accept in ("text/html", "application/json"):
            assert self.get(browser, cast, accept).status_code == 200

    def test_another_organization_is_not_affected(self, cast: Cast) -> None:
        second = make_organization(cast.alice, "Second")
        change(cast, ip_ranges=["198.51.100.0/24"], force=True)
        assert Browser(cast.alice).get(f"/organizations/{second.pk}/").status_code == 200
        assert baseline_of(second.pk).version == 0

    def test_a_machine_is_not_asked_for_a_second_factor(self, cast: Cast) -> None:
        enroll(cast.alice)
        change(cast, mfa_required=True, session_hours=1)
        _, token = make_service_account(cast.organization)
        answer = Browser().get(
            f"/admin/organizations/{cast.organization.pk}",
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 200


class HomeTests:
    def test_a_barred_person_sees_the_organization_with_the_reason(self, cast: Cast) -> None:
        change(cast, mfa_required=True, force=True)
        answer = Browser(cast.bob).get("/")
        text = answer.content.decode()
        assert answer.status_code == 200
        assert "<strong>Acme</strong>: The organization requires a second factor." in text
        assert "You belong to no organization yet" not in text
        assert 'href="/accounts/"' in text
        assert f"/organizations/{cast.organization.pk}/" not in text

    def test_beside_one_that_lets_them_in(self, cast: Cast) -> None:
        second = make_organization(cast.alice, "Second")
        change(cast, ip_ranges=["198.51.100.0/24"], force=True)
        text = Browser(cast.alice).get("/").content.decode()
        assert "lets nobody in from the address 203.0.113.7" in text
        assert f"/organizations/{second.pk}/" in text


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_two_first_changes_at_once_both_count(self) -> None:
        cast = make_cast()
        calls = [
            lambda: change(cast, SYSTEM, session_hours=8),
            lambda: change(cast, SYSTEM, max_key_age_days=90),
        ]
        assert at_once(*calls) == {"done": 2}
        found = SecurityBaseline.objects.get()
        assert (found.session_hours, found.max_key_age_days, found.version) == (8, 90, 2)

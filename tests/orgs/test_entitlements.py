from __future__ import annotations

import itertools
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from audit.models import AuditEvent
from orgs.entitlements import check_room, entitlements, has, limit, require
from orgs.errors import InvalidArgument, NotFound, PermissionDenied, QuotaExceeded
from orgs.models import Organization
from orgs.plans import LIMITS, PLANS, TITLES, Entitlement, Plan
from orgs.services.organizations import set_plan
from tests.cast import Cast
from tests.factories import SYSTEM, make_organization


def organization(plan: Plan = Plan.STANDARD, **overrides: object) -> Organization:
    """One that is in no database."""
    return Organization(name="Acme", plan=plan, overrides=overrides)


class PlanTests:
    def test_every_plan_says_something_of_every_entitlement(self) -> None:
        assert set(PLANS) == set(Plan)
        for plan in PLANS.values():
            assert set(plan) == set(Entitlement) == set(TITLES)
            for name, value in plan.items():
                is_limit = value is None or (isinstance(value, int) and value is not True)
                assert (name in LIMITS and is_limit) or isinstance(value, bool)

    def test_a_higher_plan_takes_nothing_away(self) -> None:
        plans = list(Plan)
        for lower, higher in itertools.pairwise(plans):
            for name in Entitlement:
                low, high = PLANS[lower][name], PLANS[higher][name]
                assert high is None or (low is not None and low <= high)


class EntitlementTests:
    def test_each_says_what_decided_it(self) -> None:
        found = entitlements(organization(scim=True, max_members=7))
        assert set(found) == set(Entitlement)
        assert (found[Entitlement.SCIM].value, found[Entitlement.SCIM].source) == (True, "operator")
        assert (found[Entitlement.SSO].value, found[Entitlement.SSO].source) == (True, "plan")
        assert found[Entitlement.MAX_MEMBERS].value == 7
        assert all(each.reason.endswith(".") for each in found.values())

    def test_a_switch_that_is_off_names_the_plan_that_has_it(self) -> None:
        with pytest.raises(
            PermissionDenied, match="part of the Enterprise plan; this organization has Standard"
        ):
            require(organization(), Entitlement.CUSTOM_ROLES)

    def test_a_switch_that_the_operator_put_off_names_the_operator(self) -> None:
        with pytest.raises(PermissionDenied, match="operator of this installation does not allow"):
            require(organization(Plan.DEDICATED, sso=False), Entitlement.SSO)

    def test_a_switch_that_is_on_lets_pass(self) -> None:
        require(organization(), Entitlement.SSO)
        assert has(organization(scim=True), Entitlement.SCIM)

    @pytest.mark.parametrize("broken", [None, 1, 0, "on", []])
    def test_a_switch_that_is_no_switch_is_off(self, broken: object) -> None:
        assert not has(organization(Plan.DEDICATED, sso=broken), Entitlement.SSO)

    def test_room_ends_at_the_limit(self) -> None:
        free = organization(Plan.FREE)
        assert limit(free, Entitlement.MAX_MEMBERS) == 2
        check_room(free, Entitlement.MAX_MEMBERS, used=1)
        for used, more in ((2, 1), (0, 3), (5, 1)):
            with pytest.raises(QuotaExceeded, match=f"Free plan allows at most 2.*use: {used}"):
                check_room(free, Entitlement.MAX_MEMBERS, used=used, more=more)

    def test_no_limit_is_no_limit(self) -> None:
        check_room(organization(max_members=None), Entitlement.MAX_MEMBERS, used=10**9)


class SetPlanTests:
    def test_plan_and_exceptions_are_kept_and_audited(self, cast: Cast) -> None:
        set_plan(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            plan=Plan.FREE,
            overrides={Entitlement.SCIM: True, Entitlement.MAX_PROJECTS: None},
        )
        set_plan(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            payment_status=Organization.PaymentStatus.PAST_DUE,
            overrides={Entitlement.MAX_MEMBERS: 3},
            reset=[Entitlement.SCIM],
        )
        found = Organization.objects.get(pk=cast.organization.pk)
        assert (found.plan, found.payment_status) == ("Free", "PastDue")
        assert found.overrides == {"max_projects": None, "max_members": 3}
        assert found.version == 3
        last = AuditEvent.objects.filter(type="entitlements.updated").order_by("-time")[0]
        assert last.organization_id == found.pk
        assert last.changes["entitlements"] == {
            "before": ["max_projects=unlimited", "scim=on"],
            "after": ["max_members=3", "max_projects=unlimited"],
        }
        assert last.changes["payment_status"] == {"before": "Active", "after": "PastDue"}
        assert "plan" not in last.changes

    def test_what_changes_nothing_is_no_change(self, cast: Cast) -> None:
        set_plan(actor=SYSTEM, organization_id=cast.organization.pk, plan=Plan.ENTERPRISE)
        assert Organization.objects.get(pk=cast.organization.pk).version == 1
        assert not AuditEvent.objects.filter(type="entitlements.updated").exists()

    def test_an_owner_changes_no_plan(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="operator"):
            set_plan(
                actor=cast.actor(cast.alice),
                organization_id=cast.organization.pk,
                plan=Plan.DEDICATED,
            )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (Entitlement.SCIM, 1),
            (Entitlement.SCIM, None),
            (Entitlement.MAX_MEMBERS, True),
            (Entitlement.MAX_MEMBERS, -1),
            (Entitlement.MAX_MEMBERS, 2**63),
        ],
    )
    def test_a_value_of_the_wrong_kind_is_refused(
        self, cast: Cast, name: Entitlement, value: int | None
    ) -> None:
        with pytest.raises(InvalidArgument, match=str(name)):
            set_plan(actor=SYSTEM, organization_id=cast.organization.pk, overrides={name: value})

    def test_set_and_reset_at_once_is_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="both set and reset"):
            set_plan(
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                overrides={Entitlement.SCIM: True},
                reset=[Entitlement.SCIM],
            )

    def test_an_absent_organization_is_named(self, db: None) -> None:
        with pytest.raises(NotFound, match="organization"):
            set_plan(actor=SYSTEM, organization_id=Organization().pk, plan=Plan.FREE)


class SetPlanCommandTests:
    def run(self, organization: Organization, *arguments: str) -> str:
        """The command's output."""
        out = StringIO()
        call_command("set_plan", str(organization.pk), *arguments, stdout=out)
        return out.getvalue()

    def test_it_changes_and_shows(self, db: None) -> None:
        found = make_organization(name="Acme")
        shown = self.run(
            found, "--plan", "Free", "--set", "scim=on", "--set", "max_members=unlimited"
        )
        assert "Acme: Free, Active" in shown
        lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
        assert lines["scim"] == ["on", "by", "the", "operator"]
        assert lines["max_members"] == ["unlimited", "by", "the", "operator"]
        assert lines["max_projects"] == ["1", "by", "the", "plan"]
        assert "off" in self.run(found, "--reset", "scim")
        assert self.run(found, "--set", "max_members=5").count("operator") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--set", "nonsense=on"), "no entitlement 'nonsense'"),
            (("--reset", "nonsense"), "no entitlement 'nonsense'"),
            (("--set", "scim"), "scim takes on or off"),
            (("--set", "scim=maybe"), "not 'maybe'"),
            (("--set", "max_members=-1"), "not '-1'"),
            (("--set", "max_members=1.5"), "not '1.5'"),
            (("--set", "max_members=٣"), "max_members takes a number"),
            (("--set", f"max_members={'9' * 10_000}"), "limit"),
            (("--set", "scim=on", "--set", "scim=off"), "set twice"),
        ],
    )
    def test_bad_options_are_named(
        self, db: None, arguments: tuple[str, ...], message: str
    ) -> None:
        found = make_organization()
        with pytest.raises(CommandError, match=message):
            self.run(found, *arguments)
        found.refresh_from_db()
        assert (found.overrides, found.version) == ({}, 1)

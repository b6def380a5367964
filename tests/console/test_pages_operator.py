"""The operator area: for operators with a second factor, and without any right of a tenant's."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEvent
from indexes.models import Index
from indexes.reconciliation import LAST_ROUND, reconcile
from orgs.models import Organization, OutgoingMail, User
from orgs.plans import Entitlement, Plan
from tests.cast import Cast
from tests.factories import make_organization, make_user
from tests.indexes.conftest import make_index
from tests.matrix.world import PAGES, World, make_world
from tests.pages import Browser

AREA = ("", "organizations/", "work/", "drift/")


def make_operator() -> User:
    """An operator with an authenticator app, who belongs to no organization."""
    user = make_user("operator@example.net")
    call_command("operator", "add", user.email)
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
    user.refresh_from_db()
    return user


def signed_in(user: User, **proof: Any) -> Browser:
    browser = Browser(user)
    browser.prove(user, **{"method": "mfa", "type": "totp", **proof})
    return browser


@pytest.fixture
def operator(db: None) -> Browser:
    return signed_in(make_operator())


def tenant_page(organization: Organization) -> str:
    return f"/operator/organizations/{organization.pk}/"


def filled(organization: Organization, **changes: object) -> dict[str, object]:
    """The form as the page shows it, with changes."""
    return {
        "version": organization.version,
        "plan": organization.plan,
        "payment_status": organization.payment_status,
        **changes,
    }


class AccessTests:
    def test_operators_get_in(self, operator: Browser) -> None:
        for part in AREA:
            assert operator.get(f"/operator/{part}").status_code == 200

    def test_without_a_second_factor_the_way_out_is_named(self, db: None) -> None:
        browser = Browser(make_operator())
        for part in AREA:
            answer = browser.get(f"/operator/{part}")
            assert answer.status_code == 403
            assert b"takes a second factor" in answer.content

    def test_no_longer_once_the_command_says_so(self, operator: Browser) -> None:
        call_command("operator", "remove", "operator@example.net")
        assert operator.get("/operator/").status_code == 404
        call_command(
            "operator", "remove", "operator@example.net"
        )  # the second time changes nothing
        kinds = AuditEvent.objects.filter(type__startswith="operator.")
        assert sorted(kinds.values_list("type", flat=True)) == [
            "operator.added",
            "operator.removed",
        ]

    def test_the_command_knows_no_strangers(self, db: None, capsys: Any) -> None:
        with pytest.raises(CommandError, match="Nobody has"):
            call_command("operator", "add", "nobody@example.net")
        make_operator()
        call_command("operator", "list")
        assert capsys.readouterr().out.endswith("operator@example.net\n")

    def test_the_link_is_for_operators(self, operator: Browser, cast: Cast) -> None:
        link = b'href="/operator/"'
        assert link in operator.get("/").content
        assert link not in Browser(cast.alice).get("/").content

    def test_no_page_of_a_tenant_opens(self, operator: Browser, cast: Cast) -> None:
        world: World = make_world(cast)
        tenants = [route for route in PAGES if route.startswith(("organizations/<", "projects/<"))]
        assert len(tenants) > 20
        found = {route: operator.get(world.path(route)).status_code for route in tenants}
        assert set(found.values()) == {404}, found
        for path in (
            f"/admin/projects/{cast.project.pk}",
            f"/admin/organizations/{cast.organization.pk}",
        ):
            assert operator.get(path, headers={"accept": "application/json"}).status_code == 404


class TenantTests:
    def test_counts_and_no_names_of_what_is_in_them(self, operator: Browser, cast: Cast) -> None:
        cast.project.name = "handwriting"
        cast.project.save()
        index = make_index(cast.project, "secret-launch")
        pages = [operator.get(f"/operator/{part}").content.decode() for part in AREA]
        pages.append(operator.get(tenant_page(cast.organization)).content.decode())
        assert "Acme" in pages[1]
        assert str(index.pk) in pages[2]
        for page in pages:
            assert index.name not in page
            assert "handwriting" not in page

    def test_searching(self, operator: Browser, cast: Cast) -> None:
        for text, expected in (("acm", True), (str(cast.organization.pk), True), ("umb", False)):
            page = operator.get("/operator/organizations/", {"q": text}).content.decode()
            assert ("Acme" in page) == expected
        assert (
            b"No organization of that name"
            in operator.get("/operator/organizations/", {"q": "\0nothing%"}).content
        )

    def test_changing_the_plan_stands_in_the_audit_log_of_the_tenant(
        self, operator: Browser, cast: Cast
    ) -> None:
        organization = cast.organization
        form = filled(
            organization, plan="Standard", sso="off", max_members="7", max_projects="Unlimited"
        )
        answer = operator.post(tenant_page(organization), form)
        assert answer.status_code == 302
        organization.refresh_from_db()
        assert organization.plan == Plan.STANDARD
        assert organization.overrides == {
            Entitlement.SSO: False,
            Entitlement.MAX_MEMBERS: 7,
            Entitlement.MAX_PROJECTS: None,
        }
        event = AuditEvent.objects.get(type="entitlements.updated")
        assert (event.organization_id, event.actor_label) == (
            organization.pk,
            "operator@example.net",
        )
        # Empty fields follow the plan again.
        operator.post(tenant_page(organization), filled(organization))
        organization.refresh_from_db()
        assert organization.overrides == {}

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("max_members", "-1", "neither a number nor unlimited"),
            ("max_members", "many", "neither a number nor unlimited"),
            ("max_members", "9" * 20, "from 0 to"),
            ("sso", "maybe", "Select a valid choice"),
            ("plan", "Golden", "Select a valid choice"),
            ("version", "", "required"),
            ("version", "0", "Somebody has changed"),
        ],
    )
    def test_what_can_not_be_is_refused_and_kept(
        self, operator: Browser, cast: Cast, field: str, value: str, said: str
    ) -> None:
        form = filled(cast.organization, payment_status="PastDue", **{field: value})
        answer = operator.post(tenant_page(cast.organization), form)
        assert answer.status_code == 422
        assert said in answer.content.decode()
        cast.organization.refresh_from_db()
        assert cast.organization.payment_status == Organization.PaymentStatus.ACTIVE

    def test_a_change_needs_a_fresh_proof(self, cast: Cast) -> None:
        browser = signed_in(make_operator(), seconds_ago=7200)
        answer = browser.post(
            tenant_page(cast.organization), filled(cast.organization, plan="Free")
        )
        assert answer.status_code in {302, 403}
        cast.organization.refresh_from_db()
        assert cast.organization.plan != Plan.FREE

    def test_more_organizations_take_no_more_queries(self, operator: Browser, cast: Cast) -> None:
        def count() -> int:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert operator.get("/operator/organizations/").status_code == 200
            return len(queries)

        count()
        before = count()
        for number in range(12):
            make_organization(cast.alice, f"More {number}")
        assert count() == before


class StateTests:
    def test_a_silent_worker_is_told(self, operator: Browser) -> None:
        cache.delete(LAST_ROUND)
        assert b"No worker has looked" in operator.get("/operator/").content
        assert b"No round yet" in operator.get("/operator/drift/").content

    def test_the_last_round_is_shown(self, operator: Browser, cast: Cast, monkeypatch: Any) -> None:
        reconcile()
        page = operator.get("/operator/drift/").content
        assert b"Last round" in page
        assert b"No worker has looked" not in operator.get("/operator/").content

    def test_mail_shows_neither_address_nor_text(self, operator: Browser) -> None:
        OutgoingMail.objects.create(
            to="ada@example.com",
            subject="Come in",
            text="https://example.com/secret",
            expires_at="2999-01-01T00:00:00Z",
            next_attempt_at="2998-01-01T00:00:00Z",
            error="connection refused",
            attempts=3,
        )
        page = operator.get("/operator/work/").content.decode()
        assert "connection refused" in page
        for secret in ("ada@example.com", "Come in", "secret"):
            assert secret not in page

    def test_an_index_in_trouble_is_counted(self, operator: Browser, cast: Cast) -> None:
        make_index(cast.project)
        Index.objects.update(state=Index.State.READY, cause="It fell over.")
        page = operator.get("/operator/").content.decode()
        assert "0 of 0 index servers serve" in page

"""Every URL against every kind of person. A URL that is not in the tables below fails the test."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from django.contrib.staticfiles import finders
from django.core.cache import cache
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import DjangoAssertNumQueries

from tests.cast import Cast
from tests.factories import make_key, make_member, make_project
from tests.indexes.conftest import make_index
from tests.matrix.world import ORG, PAGES, PEOPLE, RESET_LINK, SSO_PAGES, World, make_world
from tests.pages import Browser, hidden_value

# No pages: tests/console, tests/orgs/test_pages_audit.py and test_pages_people.py have them.
OTHERS = {
    "theme/",
    "search/",
    f"{ORG}audit/export/",
    f"{ORG}audit/<uuid:event_id>/proof/",
    "projects/<uuid:project_id>/keys/<uuid:key_id>/switch/",
    "projects/<uuid:project_id>/keys/<uuid:key_id>/end-old-secret/",
    "projects/<uuid:project_id>/settings/restore/",
    f"{ORG}service-accounts/<uuid:account_id>/secrets/<uuid:secret_id>/end/",
    f"{ORG}streams/<uuid:stream_id>/switch/",
    f"{ORG}streams/<uuid:stream_id>/rotate/",
    f"{ORG}invitations/<uuid:invitation_id>/resend/",
    f"{ORG}offers/<uuid:transfer_id>/cancel/",
    f"{ORG}teams/<uuid:group_id>/members/<uuid:user_id>/take-out/",
}
MEANING = {"in": 302, "to": 302, "ok": 200, "bad": 422, "no": 403, "-": 404}
# Pages of the sign-in and of one's own account, for which roles don't matter: tests/orgs/test_*.py.
ACCOUNT = {
    "invitations/<str:token>/",
    "invitations/<uuid:invitation_id>/",
    "ownership-transfers/<uuid:transfer_id>/",
    "accounts/",
    "accounts/profile/",
    "accounts/access/",
    "accounts/login/",
    "accounts/logout/",
    "accounts/inactive/",
    "accounts/reauthenticate/",
    "accounts/password/change/",
    "accounts/password/reset/",
    "accounts/password/reset/done/",
    f"accounts/{RESET_LINK}",
    "accounts/password/reset/key/done/",
    "accounts/email/",
    "accounts/confirm-email/",
    "accounts/confirm-email/<str:key>/",
    "accounts/2fa/",
    "accounts/2fa/authenticate/",
    "accounts/2fa/reauthenticate/",
    "accounts/2fa/totp/activate/",
    "accounts/2fa/totp/deactivate/",
    "accounts/2fa/recovery-codes/",
    "accounts/2fa/recovery-codes/generate/",
    "accounts/2fa/webauthn/add/",
    "accounts/2fa/webauthn/login/",
    "accounts/2fa/webauthn/reauthenticate/",
    "accounts/2fa/webauthn/keys/<int:pk>/remove/",
    "accounts/sessions/",
    "accounts/sessions/end-others/",
    "accounts/sessions/<int:session_id>/end/",
    "healthz",
    "api/openapi.json",
}
# Where people sign in by an identity provider, or in an emergency: tests/sso.
SIGN_IN = {
    "sso/",
    "sso/<uuid:connection_id>/acs",
    "sso/<uuid:connection_id>/callback",
    "sso/<uuid:connection_id>/finish/",
    "sso/<uuid:connection_id>/leave/",
    "sso/<uuid:connection_id>/login",
    "sso/<uuid:connection_id>/metadata",
    "sso/<uuid:connection_id>/sls",
    "sso/<uuid:connection_id>/test",
    "sso/break-glass/",
    "sso/break-glass/<uuid:access_id>/",
    "sso/organizations/<uuid:organization_id>/",
    "sso/setup/<str:token>/",
}
# Programs show a key there; a person's session counts for nothing: tests/indexes.
API = {
    ".well-known/leaked-key",
    "indexes",
    "indexes/create-for-model",
    "indexes/<str:name>",
    "collections",
    "collections/<str:name>",
    "assistant/assistants",
    "backups",
}
# Programs get their access tokens there, and errors of another form: tests/keys.
OAUTH = {"oauth/token", "oauth/revoke"}
# The Admin API, for access tokens and signed-in people: test_admin_urls.py.
ADMIN = {
    "admin/api-keys/<uuid:key_id>",
    "admin/api-keys/<uuid:key_id>/disable",
    "admin/api-keys/<uuid:key_id>/enable",
    "admin/api-keys/<uuid:key_id>/end-overlap",
    "admin/api-keys/<uuid:key_id>/rotate",
    "admin/api-keys/<uuid:key_id>/secrets",
    "admin/api-keys/<uuid:key_id>/usage",
    "admin/projects/<uuid:project_id>/api-keys",
    "admin/projects/<uuid:project_id>/api-keys/bulk-revoke",
    "admin/projects/<uuid:project_id>/key-policy",
    "admin/audit/checkpoint",
    "admin/audit/consistency",
    "admin/audit/events",
    "admin/audit/events/<uuid:event_id>",
    "admin/audit/export",
    "admin/audit/proof",
    "admin/audit/retention",
    "admin/audit/streams",
    "admin/audit/streams/<uuid:stream_id>",
    "admin/audit/streams/<uuid:stream_id>/secret",
    "admin/federation/issuers",
    "admin/federation/issuers/<uuid:issuer_id>",
    "admin/federation/rules",
    "admin/federation/rules/<uuid:rule_id>",
    "admin/federation/rules/test",
    "admin/decisions",
    "admin/decisions/<uuid:decision_id>",
    "admin/decisions/explain",
    "admin/groups",
    "admin/groups/<uuid:group_id>",
    "admin/groups/<uuid:group_id>/members",
    "admin/groups/<uuid:group_id>/members/<uuid:user_id>",
    "admin/permissions",
    "admin/role-bindings",
    "admin/role-bindings/<uuid:binding_id>",
    "admin/roles",
    "admin/roles/<uuid:role_id>",
    "admin/service-accounts",
    "admin/service-accounts/<uuid:account_id>",
    "admin/service-accounts/<uuid:account_id>/rotate-secret",
    "admin/service-accounts/<uuid:account_id>/secrets",
    "admin/service-accounts/<uuid:account_id>/secrets/<uuid:secret_id>",
    "admin/invites",
    "admin/invites/<uuid:invite_id>",
    "admin/invites/<uuid:invite_id>/resend",
    "admin/organizations",
    "admin/organizations/<uuid:organization_id>",
    "admin/organizations/<uuid:organization_id>/entitlements",
    "admin/organizations/<uuid:organization_id>/leave",
    "admin/organizations/<uuid:organization_id>/quotas",
    "admin/organizations/<uuid:organization_id>/security-baseline",
    "admin/organizations/<uuid:organization_id>/transfer",
    "admin/ownership-transfers",
    "admin/ownership-transfers/<uuid:transfer_id>",
    "admin/ownership-transfers/<uuid:transfer_id>/accept",
    "admin/ownership-transfers/<uuid:transfer_id>/cancel",
    "admin/ownership-transfers/<uuid:transfer_id>/decline",
    "admin/projects",
    "admin/projects/<uuid:project_id>",
    "admin/projects/<uuid:project_id>/archive",
    "admin/projects/<uuid:project_id>/quotas",
    "admin/projects/<uuid:project_id>/restore",
    "admin/sso/break-glass-accesses",
    "admin/sso/break-glass-accesses/<uuid:access_id>/approve",
    "admin/sso/break-glass-accesses/<uuid:access_id>/end",
    "admin/sso/break-glass-owners",
    "admin/sso/break-glass-owners/<uuid:owner_id>",
    "admin/sso/connections",
    "admin/sso/connections/<uuid:connection_id>",
    "admin/sso/connections/<uuid:connection_id>/attempts",
    "admin/sso/connections/<uuid:connection_id>/certificates",
    "admin/sso/connections/<uuid:connection_id>/certificates/<uuid:certificate_id>",
    "admin/sso/connections/<uuid:connection_id>/identities",
    "admin/sso/connections/<uuid:connection_id>/identities/<uuid:identity_id>",
    "admin/sso/connections/<uuid:connection_id>/metadata",
    "admin/sso/connections/<uuid:connection_id>/readiness",
    "admin/sso/connections/<uuid:connection_id>/scim",
    "admin/sso/connections/<uuid:connection_id>/scim-tokens",
    "admin/sso/connections/<uuid:connection_id>/scim-tokens/<uuid:token_id>",
    "admin/sso/connections/<uuid:connection_id>/setup-links",
    "admin/sso/connections/<uuid:connection_id>/sp-keys",
    "admin/sso/connections/<uuid:connection_id>/sp-keys/previous",
    "admin/sso/connections/<uuid:connection_id>/sp-keys/rotate",
    "admin/sso/connections/<uuid:connection_id>/state",
    "admin/sso/domains",
    "admin/sso/domains/<uuid:domain_id>",
    "admin/sso/domains/<uuid:domain_id>/verify",
    "admin/users",
    "admin/users/<uuid:user_id>",
}
# Directories show a token there: tests/sso/scim.
SCIM = {
    "scim/v2/<uuid:connection_id>",
    "scim/v2/<uuid:connection_id>/",
    "scim/v2/<uuid:connection_id>/<path:path>",
}


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[str]:
    """Every route of the control plane."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route
        else:
            yield from routes(entry, route)


@pytest.fixture
def world(cast: Cast) -> World:
    return make_world(cast)


class CompletenessTests:
    def test_every_url_is_in_one_table(self) -> None:
        listed = [*PAGES, *OTHERS, *ACCOUNT, *SIGN_IN, *API, *OAUTH, *ADMIN, *SCIM]
        assert sorted(set(routes())) == sorted(listed)

    def test_every_row_has_every_person(self) -> None:
        for get, post in PAGES.values():
            assert len(get.split()) == len(PEOPLE)
            assert len(post.split()) in {0, len(PEOPLE)}


class MatrixTests:
    @pytest.mark.parametrize("route", list(PAGES))
    def test_reading(self, world: World, route: str) -> None:
        path = world.path(route)
        expected = dict(zip(PEOPLE, PAGES[route][0].split(), strict=True))
        found = {person: world.browser(person).get(path) for person in PEOPLE}
        assert {p: a.status_code for p, a in found.items()} == {
            p: MEANING[e] for p, e in expected.items()
        }
        for person, answer in found.items():
            to_sign_in = answer.get("Location", "").startswith("/accounts/login/")
            assert to_sign_in == (expected[person] == "in")

    @pytest.mark.parametrize("route", [route for route, (_, post) in PAGES.items() if post])
    def test_writing(self, world: World, route: str) -> None:
        expected = dict(zip(PEOPLE, PAGES[route][1].split(), strict=True))
        found = {
            person: world.browser(person).post(world.path(route), world.form(route)).status_code
            for person in PEOPLE
        }
        assert found == {p: MEANING[e] for p, e in expected.items()}

    @pytest.mark.parametrize("route", [route for route, (_, post) in PAGES.items() if not post])
    def test_pages_without_a_form_take_no_post(self, world: World, route: str) -> None:
        assert world.browser("OrgOwner").post(world.path(route)).status_code == 405

    @pytest.mark.parametrize("route", [route for route, (_, post) in PAGES.items() if post])
    def test_forms_need_their_token(self, world: World, route: str) -> None:
        browser = Browser(world.people["OrgOwner"], enforce_csrf_checks=True)
        assert browser.post(world.path(route), world.form(route)).status_code == 403

    @pytest.mark.parametrize("route", sorted(API))
    def test_a_session_counts_for_nothing_on_the_api(self, world: World, route: str) -> None:
        for person in ("nobody", "OrgOwner"):
            answer = world.browser(person).get(world.path(route))
            assert answer.status_code in {401, 405}
            assert answer.json()["status"] == answer.status_code

    @pytest.mark.parametrize("route", [route for route in PAGES if "<" in route])
    def test_an_absent_object_looks_like_a_foreign_one(self, world: World, route: str) -> None:
        def shown(path: str) -> str:
            text = world.browser("stranger").get(path).content.decode()
            return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)

        foreign = world.path(route)
        absent = re.sub(r"[0-9a-f]{12}/", "0123456789ab/", foreign)
        assert foreign != absent
        assert shown(foreign) == shown(absent)


class HeaderTests:
    POLICY = frozenset(
        {
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "img-src 'self' data:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        }
    )

    @pytest.mark.parametrize("route", sorted(set(PAGES) | ACCOUNT | API))
    def test_every_answer_carries_the_strict_policy(self, world: World, route: str) -> None:
        for person in ("nobody", "stranger", "OrgOwner", "OrgMember"):
            answer = world.browser(person).get(world.path(route))
            policy = {part.strip() for part in answer["Content-Security-Policy"].split(";")}
            assert policy == self.POLICY
            assert answer["X-Frame-Options"] == "DENY"
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert answer["Referrer-Policy"] == "same-origin"
            assert answer["Strict-Transport-Security"] == "max-age=31536000"
            assert answer["X-Request-Id"]

    @pytest.mark.parametrize("route", sorted(set(PAGES) | ACCOUNT))
    def test_no_page_needs_what_the_policy_forbids(self, world: World, route: str) -> None:
        for person in ("nobody", "stranger", "OrgOwner"):
            text = world.browser(person).get(world.path(route)).content.decode()
            for script in re.findall(r"<script[^>]*>[^<]*", text):
                is_ours = re.fullmatch(r'<script src="/static/[a-z0-9_./-]+\.js" defer>', script)
                assert is_ours or 'type="application/json"' in script
            assert "<style" not in text
            assert not re.search(r"\s(style|on[a-z]+)=", text)
            links = re.findall(r'(?:src|href|action)="([^"]*)"', text)
            assert all(link.startswith(("/", "#")) for link in links)
            assert not any(link.startswith("//") for link in links)
            for link in links:
                if link.startswith("/static/"):
                    assert finders.find(link.removeprefix("/static/"))

    @pytest.mark.parametrize("route", list(PAGES))
    def test_what_people_see_is_kept_out_of_caches(self, world: World, route: str) -> None:
        answer = world.browser("OrgOwner").get(world.path(route))
        assert "no-store" in answer["Cache-Control"]


class SecretsInLogsTests:
    def test_neither_passwords_nor_keys_nor_sessions_reach_a_log(
        self, cast: Cast, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.clear()
        caplog.set_level(logging.DEBUG)
        logging.getLogger("django.db.backends").setLevel(logging.INFO)
        browser = Browser()
        browser.sign_in("alice@example.com", "wr0ng-passphrase")
        browser.sign_in("alice@example.com")
        create = f"/projects/{cast.project.pk}/keys/create/"
        token = hidden_value(browser.get(create).content, "token")
        form = {"token": token, "name": "a", "roles": ["ProjectEditor"], "days": ""}
        made = browser.post(create, form).content.decode()
        found = re.search(r"tmrk_\w{60}", made)
        assert found is not None
        for header in (found[0], found[0][:-1] + "x"):
            browser.get("/indexes", headers={"api-key": header})
            browser.get("/nowhere", headers={"api-key": header})
        cookie = browser.cookies["__Host-tamarack-session"].value
        assert "/nowhere" in caplog.text
        for secret in ("wr0ng-passphrase", "correct horse", found[0][16:59], cookie):
            assert secret not in caplog.text


class QueryTests:
    # Those of single sign-on: tests/sso/test_console.py.
    @pytest.mark.parametrize(
        "route", [route for route in PAGES if route and route not in SSO_PAGES]
    )
    def test_more_rows_take_no_more_queries(
        self,
        world: World,
        route: str,
        django_assert_max_num_queries: DjangoAssertNumQueries,
    ) -> None:
        browser, path = world.browser("OrgOwner"), world.path(route)
        make_index(world.cast.project, "first")
        browser.get(path)
        with django_assert_max_num_queries(60) as few:
            browser.get(path)
        for number in range(5):
            make_key(world.cast.project)
            make_index(world.cast.project, f"more-{number}")
            make_project(world.cast.organization)
            make_member(world.cast.organization)
        with django_assert_max_num_queries(len(few)):
            browser.get(path)

"""E-mail first: the second step depends on the address's domain alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from orgs.models import Organization
from sso.models import Connection
from tests.cast import Cast
from tests.factories import PASSWORD, make_user
from tests.pages import Browser
from tests.sso.signing_in import ready_connection


@pytest.fixture(autouse=True)
def no_rate_limits_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def acme(cast: Cast) -> Connection:
    return ready_connection(cast.organization, "acme.example")


def ask(email: str, browser: Browser | None = None, **data: str) -> Any:
    return (browser or Browser()).post("/sso/", {"login": email, **data})


def without_token(page: Any, email: str) -> str:
    text = re.sub(r'(csrfmiddlewaretoken" value=")[^"]+', r"\1", page.content.decode())
    local = email.partition("@")[0]
    return text.replace(email, "EMAIL").replace(local + "%40", "LOCAL")


class FirstStepTests:
    def test_asks_for_the_address_alone(self, db: None) -> None:
        page = Browser().get("/accounts/login/?next=/accounts/").content.decode()
        assert 'name="login"' in page
        assert 'name="password"' not in page
        assert 'action="/sso/"' in page
        assert 'name="next" value="/accounts/"' in page
        assert "Sign in with a passkey" in page

    def test_by_get_leads_to_it(self, db: None) -> None:
        answer = Browser().get("/sso/?next=/accounts/")
        assert answer["Location"] == "/accounts/login/?next=%2Faccounts%2F"

    @pytest.mark.parametrize(
        "email", ["", "nobody", "a@", "a@b@c.example", "x" * 300 + "@a.example"]
    )
    def test_an_address_that_is_none_is_asked_for_again(self, db: None, email: str) -> None:
        page = ask(email)
        assert page.status_code == 422
        assert 'name="password"' not in page.content.decode()


class SecondStepTests:
    def test_a_domain_without_single_sign_on_leads_to_the_password(self, cast: Cast) -> None:
        page = ask("alice@example.com", next="/accounts/").content.decode()
        assert 'value="alice@example.com"' in page
        assert 'name="password"' in page
        assert 'action="/accounts/login/"' in page
        assert 'name="next" value="/accounts/"' in page
        assert "single sign-on" not in page

    def test_then_the_password_lets_in(self, cast: Cast) -> None:
        browser = Browser()
        ask("alice@example.com", browser)
        answer = browser.sign_in("alice@example.com", PASSWORD, next="/accounts/")
        assert answer["Location"] == "/accounts/"

    def test_a_wrong_password_keeps_both_fields(self, cast: Cast) -> None:
        page = Browser().sign_in("alice@example.com", "wrong").content.decode()
        assert 'name="password"' in page
        assert 'value="alice@example.com"' in page

    def test_an_active_connection_is_offered_beside_the_password(self, acme: Connection) -> None:
        page = ask("ada@acme.example", next="/accounts/").content.decode()
        assert f"Continue with {acme.organization.name}'s single sign-on" in page
        link = f"/sso/{acme.pk}/login?hint=ada%40acme.example&amp;next=%2Faccounts%2F"
        assert f'href="{link}"' in page
        assert 'name="password"' in page

    def test_a_required_one_leads_on_without_a_form(self, acme: Connection) -> None:
        Connection.objects.update(state="enforced")
        page = ask("ada@ACME.example")
        text = page.content.decode()
        link = f"/sso/{acme.pk}/login?hint=ada%40ACME.example"
        assert page.status_code == 200
        assert f'<meta http-equiv="refresh" content="0; url={link}">' in text
        assert f'href="{link}"' in text
        assert 'href="/sso/break-glass/"' in text
        assert "<form" not in text

    @pytest.mark.parametrize("state", ["draft", "testing", "disabled"])
    def test_others_are_not_spoken_of(self, acme: Connection, state: str) -> None:
        Connection.objects.update(state=state)
        page = ask("ada@acme.example").content.decode()
        assert "single sign-on" not in page
        assert acme.organization.name not in page

    def test_nor_what_the_plan_does_not_include(self, acme: Connection) -> None:
        Organization.objects.update(overrides={"sso": False})
        assert "single sign-on" not in ask("ada@acme.example").content.decode()

    @pytest.mark.parametrize("next_path", ["https://evil.example/", "//evil.example", "/\\evil"])
    def test_leads_to_paths_of_this_site_only(self, acme: Connection, next_path: str) -> None:
        assert "evil" not in ask("ada@acme.example", next=next_path).content.decode()


class NoProbingTests:
    @pytest.mark.parametrize("state", ["active", "enforced", "disabled"])
    def test_the_answer_and_the_work_are_the_same_with_and_without_an_account(
        self, acme: Connection, state: str
    ) -> None:
        Connection.objects.update(state=state)
        make_user("here@acme.example")
        found = []
        for email in ("here@acme.example", "none@acme.example"):
            with CaptureQueriesContext(
                database,
            ) as queries:
                page = ask(email)
            found.append((page.status_code, without_token(page, email), len(queries)))
        assert found[0] == found[1]

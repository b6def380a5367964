"""Trying a connection: an owner sees what a sign-in would do, and nobody is signed in."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.conf import settings

from audit.models import AuditEvent
from orgs.models import User
from sso.models import Attempt, Connection, SignInRequest
from tests.cast import Cast
from tests.pages import Browser
from tests.sso import idp
from tests.sso.signing_in import answered, code_on, post_answer, ready_connection

ADA = "ada@acme.example"


@pytest.fixture
def acme(cast: Cast) -> Connection:
    return ready_connection(cast.organization, "acme.example", state=Connection.State.TESTING)


def begin(browser: Browser, acme: Connection) -> SignInRequest:
    page = browser.post(f"/sso/{acme.pk}/test")
    assert page.status_code == 200, page.content.decode()
    (url,) = set(re.findall(r'href="(https://idp[^"]+)"', page.content.decode()))
    assert f"{acme.sso_url}?SAMLRequest=" in unescape(url)
    return SignInRequest.objects.latest("created_at")


def result_of(browser: Browser, acme: Connection, **said: Any) -> Any:
    return browser.get(answered(browser, acme, begin(browser, acme), **said))


class TestingTests:
    def test_shows_what_a_sign_in_would_do_and_does_nothing_of_it(
        self, cast: Cast, acme: Connection
    ) -> None:
        browser = Browser(cast.alice)
        page = result_of(browser, acme, email=ADA, groups=["engineers", "staff"])
        text = page.content.decode()
        assert page.status_code == 200
        for shown in ("The test succeeded", ADA, "engineers, staff", "OrgMember"):
            assert shown in text
        assert not User.objects.filter(email=ADA).exists()
        assert browser.get("/accounts/").context["user"] == cast.alice
        acme.refresh_from_db()
        assert acme.is_tested
        assert acme.tested_at is not None
        event = AuditEvent.objects.get(type="sso_connection.tested")
        assert event.actor_id == str(cast.alice.pk)
        (attempt,) = Attempt.objects.all()
        assert (attempt.code, attempt.purpose) == ("ok", "test")
        assert attempt.attributes["groups"] == ["engineers", "staff"]

    def test_who_was_signed_out_meanwhile_comes_back_for_the_result(
        self, cast: Cast, acme: Connection
    ) -> None:
        browser = Browser(cast.alice)
        waits = answered(browser, acme, begin(browser, acme), email=ADA)
        session = browser.cookies.pop(settings.SESSION_COOKIE_NAME)
        assert browser.get(waits)["Location"].startswith("/accounts/login/?next=%2Fsso%2F")
        browser.cookies[settings.SESSION_COOKIE_NAME] = session.value
        assert b"The test succeeded" in browser.get(waits).content

    def test_tells_the_whole_reason_where_the_answer_is_not_believed(
        self, cast: Cast, acme: Connection
    ) -> None:
        page = refusal_of(Browser(cast.alice), acme, audience="https://elsewhere.example/")
        assert "sso_audience" in page
        assert "elsewhere.example" in page
        acme.refresh_from_db()
        assert not acme.is_tested

    def test_tells_whom_it_would_not_let_in(self, cast: Cast, acme: Connection) -> None:
        page = result_of(Browser(cast.alice), acme, email="ada@elsewhere.example").content.decode()
        assert "The test failed" in page
        assert "sso_domain_not_owned" in page
        assert "ada@elsewhere.example" in page
        acme.refresh_from_db()
        assert not acme.is_tested

    def test_holds_for_the_configuration_that_was_tested(
        self, cast: Cast, acme: Connection
    ) -> None:
        browser = Browser(cast.alice)
        row = begin(browser, acme)
        page = answered(browser, acme, row, email=ADA)
        Connection.objects.update(config_version=acme.config_version + 1)
        assert "sso_request_over" in browser.get(page).content.decode()
        acme.refresh_from_db()
        assert acme.tested_version is None

    def test_is_for_who_may_configure(self, cast: Cast, acme: Connection) -> None:
        assert Browser(cast.bob).post(f"/sso/{acme.pk}/test").status_code == 403
        assert Browser(cast.charlie).post(f"/sso/{acme.pk}/test").status_code == 404
        assert Browser().post(f"/sso/{acme.pk}/test").status_code == 302
        stale = Browser(cast.alice)
        stale.prove(cast.alice, seconds_ago=4000)
        assert stale.post(f"/sso/{acme.pk}/test")["Location"].startswith("/accounts/reauth")

    @pytest.mark.parametrize("state", ["draft", "disabled"])
    def test_needs_a_connection_that_is_complete(
        self, cast: Cast, acme: Connection, state: str
    ) -> None:
        Connection.objects.update(state=state)
        assert Browser(cast.alice).post(f"/sso/{acme.pk}/test").status_code == 412

    def test_only_who_began_sees_the_result(self, cast: Cast, acme: Connection) -> None:
        browser = Browser(cast.alice)
        page = answered(browser, acme, begin(browser, acme), email=ADA)
        browser.force_login(cast.bob)
        assert code_on(browser.get(page)) == "sso_other_person"
        assert code_on(Browser(cast.alice).get(page)) == "sso_other_browser"

    def test_an_account_that_is_there_is_not_touched(self, cast: Cast, acme: Connection) -> None:
        Connection.objects.update(attribute_map={"email": "mail"})
        before = User.objects.get(pk=cast.bob.pk)
        page = result_of(Browser(cast.alice), acme, email=ADA, attributes={"mail": ADA})
        assert "The test succeeded" in page.content.decode()
        assert User.objects.get(pk=cast.bob.pk).email == before.email
        assert not AuditEvent.objects.filter(type="user.created", actor_kind="sso").exists()


def refusal_of(browser: Browser, acme: Connection, **said: Any) -> str:
    """The result of a test whose answer is refused at once."""
    row = begin(browser, acme)
    raw = idp.make_response(acme, row.request_id, email=ADA, **said)
    answer = post_answer(browser, acme, raw)
    assert answer.status_code == 303
    page = browser.get(answer["Location"])
    return str(page.content.decode())

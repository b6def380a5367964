from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from orgs.errors import NotFound, PermissionDenied
from orgs.models import User
from orgs.selectors.bindings import actor_for
from orgs.selectors.sessions import sessions_of
from orgs.services.accounts import end_other_sessions, end_session
from orgs.tasks import forget_ended_sessions
from tests.factories import PASSWORD, SYSTEM, make_organization, make_user
from tests.orgs.accounts import events, is_signed_in
from tests.pages import Browser

PAGE = "/accounts/sessions/"
OTHERS = "/accounts/sessions/end-others/"


@pytest.fixture(autouse=True)
def no_rate_limits_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def alice(db: None) -> User:
    user = make_user("alice@example.com")
    make_organization(user, "Acme")
    return user


def signed_in(ip: str = "203.0.113.7", agent: str = "Firefox") -> Browser:
    """A browser in which Alice has signed in."""
    browser = Browser(ip=ip)
    browser.defaults["HTTP_USER_AGENT"] = agent
    assert browser.sign_in("alice@example.com").status_code == 302
    return browser


def row_of(browser: Browser) -> UserSession:
    return UserSession.objects.get(session_key=browser.session.session_key)


class ListTests:
    def test_it_shows_every_open_session_and_which_is_this_one(self, alice: User) -> None:
        here = signed_in(ip="203.0.113.1", agent="Firefox")
        signed_in(ip="203.0.113.2", agent="Chromium")
        page = here.get(PAGE).content.decode()
        rows = re.findall(r"<td title=.*?>(.*?)</td>\s*<td><code>(.*?)</code>", page)
        assert [(re.sub("<.*?>", "", name), ip) for name, ip in rows] == [
            ("Firefox this one", "203.0.113.1"),
            ("Chromium", "203.0.113.2"),
        ]

    def test_others_sessions_are_not_in_it(self, alice: User) -> None:
        bob = make_user("bob@example.com")
        Browser(ip="203.0.113.66").sign_in("bob@example.com")
        page = signed_in().get(PAGE).content.decode()
        assert "203.0.113.66" not in page
        assert len(sessions_of(bob, current="")) == 1

    def test_what_a_browser_calls_itself_is_shown_as_text(self, alice: User) -> None:
        page = signed_in(agent="<script>alert(1)</script>" * 50).get(PAGE).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page

    @pytest.mark.parametrize(
        ("agent", "name"),
        [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) Chrome/150 Safari/537.36 Edg/150",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; like Mac OS X) Version/19 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 16) Chrome/150 Safari/537.36",
                "Chrome on Android",
            ),
            ("curl/8.14.1", "curl/8.14.1"),
            ("", "Unknown"),
        ],
    )
    def test_a_browser_is_called_by_its_name(self, alice: User, agent: str, name: str) -> None:
        signed_in(agent=agent)
        assert [each.browser for each in sessions_of(alice, current="")] == [name]

    def test_sessions_that_a_new_password_ended_are_not_in_it(self, alice: User) -> None:
        here, _elsewhere = signed_in(), signed_in()
        form = {"oldpassword": PASSWORD, "password1": "another good passphrase"}
        here.post("/accounts/password/change/", {**form, "password2": form["password1"]})
        alice.refresh_from_db()
        (left,) = sessions_of(alice, current=here.session.session_key or "")
        assert left.is_current

    def test_idle_ones_are_not_in_it(self, alice: User) -> None:
        browser = signed_in()
        session = browser.session
        session["seen"] = 1
        session.save()
        assert sessions_of(alice, current="") == []

    @pytest.mark.parametrize("count", [1, 8])
    def test_more_sessions_take_no_more_queries(
        self, alice: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for _ in range(count):
            signed_in()
        with django_assert_num_queries(2):
            assert len(sessions_of(alice, current="")) == count

    def test_signing_in_takes_no_more_queries_with_more_sessions(
        self, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        def cost() -> int:
            cache.clear()
            with django_assert_max_num_queries(200) as counted:
                signed_in()
            return len(counted)

        signed_in()
        first = cost()
        for _ in range(5):
            signed_in()
        assert cost() == first

    def test_use_is_noted_once_a_minute(self, alice: User) -> None:
        browser = signed_in()
        row = row_of(browser)
        UserSession.objects.filter(pk=row.pk).update(last_seen_at=row.created_at.replace(year=2020))
        browser.get(PAGE)
        assert row_of(browser).last_seen_at.year == 2020
        session = browser.session
        session["seen"] -= 61
        session.save()
        browser.get(PAGE)
        assert row_of(browser).last_seen_at.year > 2020


class EndTests:
    def test_an_ended_session_stops_working_at_once(self, alice: User) -> None:
        here, elsewhere = signed_in(), signed_in()
        assert is_signed_in(elsewhere)
        answer = here.post(f"{PAGE}{row_of(elsewhere).pk}/end/")
        assert answer["Location"] == PAGE
        assert not is_signed_in(elsewhere)
        assert is_signed_in(here)

    def test_signing_out_everywhere_else_keeps_this_one(self, alice: User) -> None:
        here, others = signed_in(), [signed_in() for _ in range(3)]
        assert here.post(OTHERS)["Location"] == PAGE
        assert is_signed_in(here)
        assert not any(is_signed_in(other) for other in others)
        (event,) = events("session.ended")
        assert event.detail == {"count": 3}
        assert event.organization_id == alice.organizations.get().pk

    def test_nobody_ends_anothers_session(self, alice: User) -> None:
        browser = signed_in()
        row = row_of(browser)
        bob = make_user("bob@example.com")
        assert Browser(bob).post(f"{PAGE}{row.pk}/end/").status_code == 404
        assert is_signed_in(browser)
        with pytest.raises(PermissionDenied):
            end_session(actor=actor_for(bob), user=alice, session_id=row.pk)
        with pytest.raises(PermissionDenied):
            end_other_sessions(actor=actor_for(bob), user=alice, keep="")

    @pytest.mark.parametrize("number", [0, 10**18, 10**30])
    def test_an_absent_session_is_404(self, alice: User, number: int) -> None:
        browser = signed_in()
        assert browser.post(f"{PAGE}{number}/end/").status_code == 404
        with pytest.raises(NotFound):
            end_session(actor=SYSTEM, user=alice, session_id=number)

    @pytest.mark.parametrize("path", [OTHERS, f"{PAGE}1/end/"])
    def test_it_needs_a_post_with_its_token_of_somebody_signed_in(
        self, alice: User, path: str
    ) -> None:
        assert Browser(alice).get(path).status_code == 405
        assert Browser(alice, enforce_csrf_checks=True).post(path).status_code == 403
        assert Browser().post(path)["Location"].startswith("/accounts/login/")

    def test_it_is_limited(self, alice: User) -> None:
        browser = signed_in()
        answers = [browser.post(OTHERS).status_code for _ in range(31)]
        assert answers == [302] * 30 + [429]

    def test_no_session_ends_while_the_trail_can_not_be_written(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, elsewhere = signed_in(), signed_in()
        here.raise_request_exception = False

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)
        assert here.post(OTHERS).status_code == 500
        assert is_signed_in(elsewhere)

    def test_a_sign_in_that_can_not_be_listed_does_not_happen(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(UserSession, "save", refuse)
        browser = Browser(raise_request_exception=False)
        assert browser.sign_in("alice@example.com").status_code == 500
        assert not is_signed_in(browser)

    def test_a_switched_off_persons_sessions_stop_working(self, alice: User) -> None:
        browser = signed_in()
        User.objects.filter(pk=alice.pk).update(is_active=False)
        assert not is_signed_in(browser)


class ForgettingTests:
    def test_ended_sessions_leave_the_list(self, alice: User) -> None:
        gone, stays = signed_in(), signed_in()
        Session.objects.filter(session_key=gone.session.session_key).delete()
        forget_ended_sessions()
        assert UserSession.objects.get() == row_of(stays)

    def test_so_they_do_at_the_next_sign_in(self, alice: User) -> None:
        gone = signed_in()
        Session.objects.filter(session_key=gone.session.session_key).delete()
        new = signed_in()
        assert UserSession.objects.get() == row_of(new)

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from audit.models import AuditEvent
from orgs.account.urls import urlpatterns
from orgs.authentication import client_ip
from orgs.models import User
from orgs.tasks import forget_ended_sessions
from tests.cast import Cast
from tests.factories import PASSWORD, make_organization
from tests.orgs.accounts import add_passkey, set_up_app
from tests.orgs.passkeys import SoftPasskey
from tests.pages import Browser

LOGIN = "/accounts/login/"
WRONG = "The email address and/or password you specified are not correct."
SECOND_PASSWORD = "another good passphrase"


@pytest.fixture(autouse=True)
def no_rate_limits_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def events(kind: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(type=kind))


class SignInTests:
    def test_opens_a_session_and_leads_to_the_organization(self, cast: Cast) -> None:
        browser = Browser()
        answer = browser.sign_in("Alice@Example.com")
        assert (answer.status_code, answer["Location"]) == (302, "/")
        page = browser.get("/", follow=True)
        assert page.redirect_chain == [(f"/organizations/{cast.organization.pk}/", 302)]
        assert b"alice@example.com" in page.content

    def test_the_session_cookie_is_for_this_host_over_https_and_not_for_scripts(
        self, cast: Cast
    ) -> None:
        cookie = Browser().sign_in("alice@example.com").cookies["__Host-tamarack-session"]
        assert cookie["secure"]
        assert cookie["httponly"]
        assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Lax", "/", "")
        assert cookie["expires"] == cookie["max-age"] == ""

    def test_the_session_id_changes_at_the_sign_in(self, cast: Cast) -> None:
        browser = Browser()
        session = browser.session
        session["before"] = True
        session.save()
        browser.sign_in("alice@example.com")
        assert browser.session.session_key != session.session_key

    @pytest.mark.parametrize(
        ("email", "password"),
        [
            ("alice@example.com", "wrong"),
            ("nobody@example.com", "wrong"),
            ("nobody@example.com", PASSWORD),
        ],
    )
    def test_an_unknown_address_and_a_wrong_password_look_the_same(
        self, cast: Cast, email: str, password: str
    ) -> None:
        answer = Browser().sign_in(email, password)
        assert answer.status_code == 200
        assert WRONG in answer.content.decode().replace("&#x27;", "'")
        assert "__Host-tamarack-session" not in answer.cookies

    def test_a_wrong_password_is_not_sent_back(self, cast: Cast) -> None:
        assert b"wr0ng-secret" not in Browser().sign_in("alice@example.com", "wr0ng-secret").content

    def test_success_is_in_the_trail_of_the_organization(self, cast: Cast) -> None:
        Browser(ip="203.0.113.9").sign_in("alice@example.com")
        (event,) = events("user.signed_in")
        assert (event.organization_id, event.outcome) == (cast.organization.pk, "success")
        assert (event.actor_id, event.ip) == (str(cast.alice.pk), "203.0.113.9")
        assert event.request_id

    def test_it_is_in_the_trail_of_every_organization_of_the_person(self, cast: Cast) -> None:
        second = make_organization(cast.alice)
        Browser().sign_in("alice@example.com")
        organizations = {event.organization_id for event in events("user.signed_in")}
        assert organizations == {cast.organization.pk, second.pk}

    def test_failure_is_in_the_trail_without_the_password(self, cast: Cast) -> None:
        Browser().sign_in("alice@example.com", "wr0ng-secret")
        Browser().sign_in("nobody@example.com", "wr0ng-secret")
        by_label = {event.actor_label: event for event in events("user.sign_in_failed")}
        assert by_label["alice@example.com"].organization_id == cast.organization.pk
        assert by_label["nobody@example.com"].organization_id is None
        for event in by_label.values():
            assert event.outcome == "failure"
            assert "wr0ng" not in repr(event.__dict__)

    def test_nobody_comes_in_while_the_trail_can_not_be_written(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)
        browser = Browser(raise_request_exception=False)
        assert browser.sign_in("alice@example.com").status_code == 500
        assert browser.get("/").status_code == 302

    def test_a_switched_off_account_stays_out_and_says_so_only_to_its_owner(
        self, cast: Cast
    ) -> None:
        User.objects.filter(pk=cast.alice.pk).update(is_active=False)
        browser = Browser()
        assert WRONG in browser.sign_in("alice@example.com", "wrong").content.decode()
        answer = browser.sign_in("alice@example.com")
        assert answer["Location"] == "/accounts/inactive/"
        assert b"switched off" in browser.get("/accounts/inactive/").content
        assert browser.get("/").status_code == 302
        assert events("user.sign_in_failed")[0].detail == {"reason": "account is switched off"}

    def test_switching_off_ends_open_sessions(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        User.objects.filter(pk=cast.alice.pk).update(is_active=False)
        assert browser.get(f"/organizations/{cast.organization.pk}/").status_code == 302

    def test_next_leads_back_but_never_to_another_site(self, cast: Cast) -> None:
        path = f"/projects/{cast.project.pk}/"
        wanted = Browser().get(path)
        assert wanted["Location"] == f"{LOGIN}?next={path}"
        page = Browser().get(wanted["Location"])
        assert f'name="next" value="{path}"' in page.content.decode()
        assert Browser().sign_in("alice@example.com", next=path)["Location"] == path
        for evil in (
            "https://evil.example/",
            "//evil.example/",
            "https:evil.example",
            # Hosts that Django answers to are other sites too: the visitor's own machine, or plain
            # HTTP.
            *(f"https://{host}/" for host in settings.ALLOWED_HOSTS),
            "http://testserver/",
            "https://testserver/",
        ):
            cache.clear()
            assert Browser().sign_in("alice@example.com", next=evil)["Location"] == "/"

    def test_the_form_needs_its_token(self, cast: Cast) -> None:
        answer = Browser(enforce_csrf_checks=True).sign_in("alice@example.com")
        assert answer.status_code == 403
        assert b"security token" in answer.content

    def test_the_page_says_how_to_come_in_otherwise(self, db: None) -> None:
        step = Browser().post("/sso/", {"login": "alice@example.com"}).content.decode()
        assert '"/accounts/password/reset/"' in step
        page = Browser().get(LOGIN).content.decode()
        assert "Sign in with a passkey" in page
        assert "an invitation" in page
        assert "manage.py create_owner" in page


class RateLimitTests:
    def test_guessing_one_password_ends_after_ten_tries_from_many_addresses(
        self, cast: Cast
    ) -> None:
        for number in range(10):
            Browser(ip=f"198.51.100.{number}").sign_in("alice@example.com", "wrong")
        answer = Browser(ip="198.51.100.99").sign_in("alice@example.com")
        assert b"Too many failed login attempts" in answer.content
        assert "__Host-tamarack-session" not in answer.cookies

    def test_it_is_the_same_for_an_address_that_nobody_has(self, cast: Cast) -> None:
        for number in range(10):
            Browser(ip=f"198.51.100.{number}").sign_in("nobody@example.com", "wrong")
        answer = Browser(ip="198.51.100.99").sign_in("nobody@example.com")
        assert b"Too many failed login attempts" in answer.content

    def test_one_address_tries_few_accounts_and_others_are_not_held_up(self, cast: Cast) -> None:
        for number in range(10):
            Browser().sign_in(f"guess-{number}@example.com", "wrong")
        assert b"Too many failed" in Browser().sign_in("alice@example.com").content
        assert Browser(ip="198.51.100.1").sign_in("alice@example.com").status_code == 302

    def test_what_the_client_claims_to_be_forwarded_for_does_not_count(self, cast: Cast) -> None:
        for number in range(10):
            browser = Browser()
            browser.defaults["HTTP_X_FORWARDED_FOR"] = f"192.0.2.{number}, 203.0.113.7"
            browser.sign_in(f"guess-{number}@example.com", "wrong")
        assert b"Too many failed" in Browser().sign_in("alice@example.com").content

    def test_a_flood_gets_429_as_a_page(self, cast: Cast) -> None:
        answers = [Browser().post(LOGIN, {}) for _ in range(31)]
        assert [answer.status_code for answer in answers] == [200] * 30 + [429]
        assert b"Too many attempts" in answers[-1].content
        assert answers[-1]["Retry-After"] == "60"


class SignOutTests:
    def test_needs_a_post(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        assert b"Sign out?" in browser.get("/accounts/logout/").content
        assert browser.get(f"/projects/{cast.project.pk}/").status_code == 200

    def test_ends_the_session_and_is_in_the_trail(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        answer = browser.post("/accounts/logout/")
        assert answer["Location"] == LOGIN
        assert browser.get(f"/projects/{cast.project.pk}/").status_code == 302
        assert events("user.signed_out")[0].actor_id == str(cast.alice.pk)
        assert b"You are signed out." in browser.get(LOGIN).content


class PasswordChangeTests:
    PATH = "/accounts/password/change/"

    def change(self, browser: Browser, old: str = PASSWORD, new: str = SECOND_PASSWORD) -> Any:
        return browser.post(self.PATH, {"oldpassword": old, "password1": new, "password2": new})

    def test_keeps_this_session_and_ends_all_others(self, cast: Cast) -> None:
        here, elsewhere = Browser(cast.alice), Browser(cast.alice)
        assert self.change(here).status_code == 302
        page = f"/projects/{cast.project.pk}/"
        assert here.get(page).status_code == 200
        assert elsewhere.get(page).status_code == 302
        assert Browser().sign_in("alice@example.com", SECOND_PASSWORD).status_code == 302
        (event,) = events("user.password_changed")
        assert event.actor_id == str(cast.alice.pk)

    def test_needs_the_old_password(self, cast: Cast) -> None:
        answer = self.change(Browser(cast.alice), old="wrong")
        assert b"Please type your current password." in answer.content
        assert not events("user.password_changed")

    def test_the_rules_hold_here_too(self, cast: Cast) -> None:
        answer = self.change(Browser(cast.alice), new="short")
        assert b"at least 12 characters" in answer.content
        cast.alice.refresh_from_db()
        assert cast.alice.check_password(PASSWORD)


class OfferTests:
    @pytest.mark.parametrize(
        "path",
        [
            "signup/",
            "signup/passkey/",
            "password/set/",
            "login/code/",
            "login/code/confirm/",
            "phone/verify/",
            "2fa/trust/",
            "2fa/recovery-codes/download/",
            "2fa/webauthn/",
            "2fa/webauthn/signup/",
            "2fa/webauthn/keys/1/edit/",
            "3rdparty/",
            "3rdparty/signup/",
            "social/login/cancelled/",
        ],
    )
    def test_what_does_not_work_here_is_not_there(self, cast: Cast, path: str) -> None:
        for browser in (Browser(), Browser(cast.alice)):
            for answer in (browser.get(f"/accounts/{path}"), browser.post(f"/accounts/{path}")):
                assert answer.status_code == 404

    @pytest.mark.parametrize(
        "name", ["account_signup", "account_set_password", "mfa_signup_webauthn"]
    )
    def test_it_has_no_name_either(self, name: str) -> None:
        with pytest.raises(NoReverseMatch):
            reverse(name)


class SessionLimitTests:
    def path(self, cast: Cast) -> str:
        return f"/projects/{cast.project.pk}/"

    def age(self, browser: Browser, **seconds: int) -> None:
        """Make what the session remembers that much older."""
        session = browser.session
        for name, value in seconds.items():
            session[name] = int(time.time()) - value
        session.save()

    def test_an_idle_session_ends(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        assert browser.get(self.path(cast)).status_code == 200
        self.age(browser, seen=settings.TAMARACK_SESSION_IDLE + 1)
        assert browser.get(self.path(cast)).status_code == 302

    def test_one_in_use_goes_on(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        browser.get(self.path(cast))
        self.age(browser, seen=settings.TAMARACK_SESSION_IDLE - 60)
        assert browser.get(self.path(cast)).status_code == 200
        assert time.time() - browser.session["seen"] < 60

    def test_an_old_one_ends_however_busy(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        browser.get(self.path(cast))
        self.age(browser, started=settings.SESSION_COOKIE_AGE + 1, seen=1)
        assert browser.get(self.path(cast)).status_code == 302

    def test_ended_ones_are_forgotten_and_others_kept(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        browser.get(self.path(cast))
        old = Session.objects.create(
            session_key="old", session_data="", expire_date=timezone.now() - timedelta(seconds=1)
        )
        forget_ended_sessions()
        assert not Session.objects.filter(pk=old.pk).exists()
        assert browser.get(self.path(cast)).status_code == 200


class ClientIpTests:
    @pytest.mark.parametrize(
        ("forwarded", "expected"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("1.2.3.4, 203.0.113.7", "203.0.113.7"),
            ("1.2.3.4,2001:DB8::1", "2001:db8::1"),
            ("nonsense", ""),
            ("1.2.3.4, ", "127.0.0.1"),
            ("1.2.3.4, <script>", ""),
        ],
    )
    def test_the_gateways_entry_counts(self, rf: Any, forwarded: str, expected: str) -> None:
        assert client_ip(rf.get("/", headers={"x-forwarded-for": forwarded})) == expected

    def test_a_unix_socket_has_none(self, rf: Any) -> None:
        assert client_ip(rf.get("/", REMOTE_ADDR="")) == ""


def account_paths(passkey: int = 1) -> Iterator[str]:
    """Every path of the sign-in and of one's own account."""
    for pattern in urlpatterns:
        route = re.sub(r"[\^$]|\(\?P<\w+>[^)]*\)", "", str(pattern.pattern))
        path = f"/accounts/{route}".replace("/-/", "/1-abc/").replace("<int:session_id>", "1")
        yield path.replace("<str:key>", "a:b").replace("<int:pk>", str(passkey))


class DressTests:
    def test_every_page_of_an_account_looks_like_the_rest(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        set_up_app(browser)
        add_passkey(browser, SoftPasskey())
        passkey = Authenticator.objects.get(type=Authenticator.Type.WEBAUTHN)
        shown = set()
        for person in (browser, Browser()):
            for path in account_paths(passkey.pk):
                answer = person.get(path)
                if answer.status_code == 200:
                    shown.add(path)
                    assert b"css/components." in answer.content, path
                    assert b"Menu:" not in answer.content, path
        assert len(shown) >= 18


class BadCallerTests:
    OTHER_METHODS = ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
    JUNK: tuple[tuple[dict[str, str], str, bytes], ...] = (
        (
            {},
            "application/x-www-form-urlencoded",
            b"code=%00&email=%ED%A0%80&password1=%FF&action_add",
        ),
        ({}, "multipart/form-data; boundary=x", b"--x\r\nbroken"),
        (
            {"accept": "application/json"},
            "application/json",
            b'{"login": ["a", {}], "code": 1e999}',
        ),
        ({"accept": "application/json"}, "application/json", b"[" * 20_000),
        ({"x-requested-with": "XMLHttpRequest"}, "text/plain", b"\xff\x00"),
    )

    @pytest.mark.parametrize("number", range(len(JUNK)))
    @pytest.mark.parametrize("is_somebody", [True, False])
    def test_nothing_that_anybody_sends_is_an_error_of_ours(
        self, cast: Cast, number: int, is_somebody: bool
    ) -> None:
        headers, content_type, body = self.JUNK[number]
        for path in account_paths():
            browser = Browser(cast.alice) if is_somebody else Browser()
            for method in ("POST", self.OTHER_METHODS[number]):
                answer = browser.generic(
                    method, path, body, content_type=content_type, headers=headers
                )
                assert answer.status_code < 500, (method, path)

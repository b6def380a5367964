"""Passwords and addresses that need a link out of a mailbox."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import mail as django_mail
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEvent
from orgs.models import OutgoingMail, User
from tests.factories import PASSWORD, make_organization, make_user
from tests.orgs.accounts import events, is_signed_in, link_in, received, set_up_app
from tests.pages import Browser

RESET = "/accounts/password/reset/"
EMAIL = "/accounts/email/"
NEW_PASSWORD = "another good passphrase"
NEW_EMAIL = "alice@elsewhere.example"
GONE = b"This link doesn't work any more"


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


def ask(email: str = "alice@example.com", ip: str = "203.0.113.7") -> Any:
    return Browser(ip=ip).post(RESET, {"email": email})


def reset_link() -> str:
    """The newest link in Alice's mailbox."""
    ask()
    return link_in(received("alice@example.com")[-1])


def set_password(link: str, password: str = NEW_PASSWORD, browser: Browser | None = None) -> Any:
    """Open the link and fill in its form."""
    browser = browser or Browser()
    form = browser.get(link)
    if form.status_code != 302:
        return form
    return browser.post(form["Location"], {"password1": password, "password2": password})


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let that much time pass for signatures and links."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


class PasswordResetTests:
    def test_the_link_sets_a_new_password(self, alice: User) -> None:
        answer = set_password(reset_link())
        assert answer["Location"] == "/accounts/password/reset/key/done/"
        assert Browser().sign_in("alice@example.com", NEW_PASSWORD)["Location"] == "/"
        assert b"not correct" in Browser().sign_in("alice@example.com", PASSWORD).content

    def test_it_signs_nobody_in(self, alice: User) -> None:
        browser = Browser()
        set_password(reset_link(), browser=browser)
        assert not is_signed_in(browser)

    def test_the_link_works_once(self, alice: User) -> None:
        link = reset_link()
        set_password(link)
        assert GONE in set_password(link, "a third good passphrase").content
        assert Browser().sign_in("alice@example.com", NEW_PASSWORD)["Location"] == "/"

    def test_a_form_opened_before_is_void_too(self, alice: User) -> None:
        link, browser = reset_link(), Browser()
        form = browser.get(link)["Location"]
        set_password(link)
        third = "a third good passphrase"
        answer = browser.post(form, {"password1": third, "password2": third})
        assert GONE in answer.content

    def test_the_link_ends_after_an_hour(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = reset_link()
        real = PasswordResetTokenGenerator._now
        passed = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT + 1)
        monkeypatch.setattr(PasswordResetTokenGenerator, "_now", lambda self: real(self) + passed)
        assert GONE in set_password(link).content
        alice.refresh_from_db()
        assert alice.check_password(PASSWORD)

    def test_a_sign_in_makes_it_void(self, alice: User) -> None:
        link = reset_link()
        Browser().sign_in("alice@example.com")
        assert GONE in set_password(link).content

    def test_it_ends_all_sessions(self, alice: User) -> None:
        browser = Browser()
        browser.sign_in("alice@example.com")
        assert is_signed_in(browser)
        set_password(reset_link())
        assert not is_signed_in(browser)

    def test_the_second_factor_is_still_asked_for(self, alice: User) -> None:
        set_up_app(Browser(alice))
        set_password(reset_link())
        answer = Browser().sign_in("alice@example.com", NEW_PASSWORD)
        assert answer["Location"] == "/accounts/2fa/authenticate/"

    def test_the_rules_for_passwords_hold_here_too(self, alice: User) -> None:
        assert b"at least 12 characters" in set_password(reset_link(), "short").content

    def test_the_links_address_is_ours_whatever_the_request_says(self, alice: User) -> None:
        Browser().post(RESET, {"email": "alice@example.com"}, headers={"host": "127.0.0.1"})
        (message,) = received("alice@example.com")
        assert f"{settings.TAMARACK_PUBLIC_URL}/accounts/password/reset/key/" in message.body
        assert "127.0.0.1" not in message.body

    def test_asking_and_setting_are_in_the_trail(self, alice: User) -> None:
        set_password(reset_link())
        (asked,), (done,) = events("password.reset_requested"), events("password.reset")
        organization = alice.organizations.get().pk
        assert asked.organization_id == done.organization_id == organization
        assert asked.actor_id == ""
        assert done.actor_id == str(alice.pk)
        assert not events("user.password_changed")

    def test_the_owner_is_told(self, alice: User) -> None:
        set_password(reset_link())
        assert received("alice@example.com")[-1].subject == "[Tamarack] Your password was reset"

    def test_nothing_changes_while_the_trail_can_not_be_written(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = reset_link()

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)
        assert set_password(link, browser=Browser(raise_request_exception=False)).status_code == 500
        alice.refresh_from_db()
        assert alice.check_password(PASSWORD)

    def test_a_switched_off_account_gets_no_link_and_stays_out(self, alice: User) -> None:
        link = reset_link()
        User.objects.filter(pk=alice.pk).update(is_active=False)
        ask()
        assert len(received("alice@example.com")) == 1
        set_password(link)
        answer = Browser().sign_in("alice@example.com", NEW_PASSWORD)
        assert answer["Location"] == "/accounts/inactive/"

    def test_somebody_without_a_password_gets_the_first_one_so(self, alice: User) -> None:
        alice.set_unusable_password()
        alice.save()
        browser = Browser(alice)
        assert browser.get("/accounts/password/change/")["Location"] == RESET
        set_password(reset_link())
        assert Browser().sign_in("alice@example.com", NEW_PASSWORD)["Location"] == "/"

    def test_another_persons_link_signs_out_and_sets_their_password(self, alice: User) -> None:
        bob = make_user("bob@example.com")
        browser = Browser(bob)
        set_password(reset_link(), browser=browser)
        assert not is_signed_in(browser)
        bob.refresh_from_db()
        assert bob.check_password(PASSWORD)

    @pytest.mark.parametrize(
        "link",
        ["1-abc", "zzzz-abc-def", "0" * 300 + "-a", "g" * 32 + "-abc-def", "A-" + "9" * 400],
    )
    def test_a_made_up_link_is_refused(self, db: None, link: str) -> None:
        answer = Browser().get(f"{RESET}key/{link}/")
        assert answer.status_code == 200
        assert GONE in answer.content
        assert Browser().post(f"{RESET}key/{link}/", {"password1": "x"}).status_code == 200


class EnumerationTests:
    def test_the_answers_are_the_same(self, alice: User) -> None:
        known, unknown = ask(), ask("nobody@example.com")
        assert known.status_code == unknown.status_code == 302
        assert known["Location"] == unknown["Location"] == f"{RESET}done/"
        assert known.headers.keys() == unknown.headers.keys()

    def test_so_is_what_is_written(self, alice: User) -> None:
        def writes(email: str) -> list[str]:
            cache.clear()
            with CaptureQueriesContext(connection) as captured:
                ask(email)
            statements = [query["sql"] for query in captured.captured_queries]
            return sorted(sql.split("(")[0] for sql in statements if sql.startswith("INSERT"))

        assert writes("alice@example.com") == writes("nobody@example.com")

    def test_nobody_gets_mail_to_an_address_without_account(self, alice: User) -> None:
        ask("nobody@example.com")
        assert received("nobody@example.com") == []
        assert OutgoingMail.objects.get().to == ""
        assert django_mail.outbox == []

    def test_what_was_asked_for_nobody_is_in_the_installations_trail(self, db: None) -> None:
        ask("Nobody@example.com")
        (event,) = events("password.reset_requested")
        assert (event.organization_id, event.outcome) == (None, "failure")

    def test_a_new_address_that_somebody_else_has_looks_like_a_free_one(self, alice: User) -> None:
        make_user("bob@example.com")
        browser = Browser(alice)
        taken = browser.post(EMAIL, {"email": "bob@example.com", "action_add": "1"})
        cache.clear()
        free = browser.post(EMAIL, {"email": "free@example.com", "action_add": "1"})
        assert (taken.status_code, taken["Location"]) == (free.status_code, free["Location"])

    @pytest.mark.parametrize("email", ["", "x", "a\0@example.com", "a" * 400 + "@example.com"])
    def test_what_is_no_address_is_said_to_be_none(self, db: None, email: str) -> None:
        answer = ask(email)
        assert answer.status_code == 200
        assert b'class="error"' in answer.content


class RateLimitTests:
    def test_five_links_a_minute_to_one_address(self, alice: User) -> None:
        codes = [ask(ip=f"198.51.100.{number}").status_code for number in range(6)]
        assert codes == [302] * 5 + [429]

    def test_twenty_from_one_address(self, alice: User) -> None:
        codes = [ask(f"p{number}@example.com").status_code for number in range(21)]
        assert codes == [302] * 20 + [429]

    def test_links_are_tried_twenty_times_a_minute(self, db: None) -> None:
        path = f"{RESET}key/1-abc/"
        codes = [Browser().post(path, {}).status_code for _ in range(21)]
        assert codes == [200] * 20 + [429]

    def test_so_are_links_that_prove_an_address(self, db: None) -> None:
        path = "/accounts/confirm-email/abc:def/"
        codes = [Browser().post(path, {}).status_code for _ in range(21)]
        assert codes == [404] * 20 + [429]

    def test_one_mail_in_three_minutes_proves_one_address(self, alice: User) -> None:
        browser = Browser(alice)
        for _ in range(3):
            browser.post(EMAIL, {"email": NEW_EMAIL, "action_send": "1"})
        browser.post(EMAIL, {"email": NEW_EMAIL, "action_add": "1"})
        browser.post(EMAIL, {"email": NEW_EMAIL, "action_send": "1"})
        assert len(received(NEW_EMAIL)) == 1

    def test_who_asks_again_too_soon_is_told(self, alice: User) -> None:
        browser = Browser(alice)
        for form in ({"action_add": "1"}, {"action_send": "1"}):
            browser.post(EMAIL, {"email": NEW_EMAIL, **form})
        page = browser.get(EMAIL).content.decode()
        assert "A link is on its way" in page
        assert "less than three minutes ago" in page

    def test_addresses_are_changed_ten_times_a_minute(self, alice: User) -> None:
        browser = Browser(alice)
        form = {"email": "x", "action_add": "1"}
        codes = [browser.post(EMAIL, form).status_code for _ in range(11)]
        assert codes == [200] * 10 + [429]


class EmailChangeTests:
    def propose(self, browser: Browser, email: str = NEW_EMAIL) -> Any:
        return browser.post(EMAIL, {"email": email, "action_add": "1"})

    def test_nothing_changes_until_the_link_is_opened(self, alice: User) -> None:
        browser = Browser(alice)
        assert self.propose(browser)["Location"] == EMAIL
        alice.refresh_from_db()
        assert alice.email == "alice@example.com"
        assert NEW_EMAIL in browser.get(EMAIL).content.decode()
        assert NEW_EMAIL in browser.get("/accounts/").content.decode()
        assert b"not correct" in Browser().sign_in(NEW_EMAIL, "wrong").content
        answer = Browser().sign_in(NEW_EMAIL)
        assert answer["Location"] == "/accounts/confirm-email/"

    def test_the_link_makes_it_the_address(self, alice: User) -> None:
        self.propose(Browser(alice))
        link = link_in(received(NEW_EMAIL)[0])
        stranger = Browser()
        assert NEW_EMAIL in stranger.get(link).content.decode()
        alice.refresh_from_db()
        assert alice.email == "alice@example.com"  # looking changes nothing
        assert stranger.post(link)["Location"] == "/accounts/login/"
        alice.refresh_from_db()
        assert alice.email == NEW_EMAIL
        address = EmailAddress.objects.get(user=alice)
        assert (address.email, address.verified, address.primary) == (NEW_EMAIL, True, True)
        assert Browser().sign_in(NEW_EMAIL)["Location"] == "/"
        assert b"not correct" in Browser().sign_in("alice@example.com").content

    def test_all_of_it_is_in_the_trail_and_the_old_address_is_told(self, alice: User) -> None:
        self.propose(Browser(alice))
        Browser().post(link_in(received(NEW_EMAIL)[0]))
        for kind, email in {
            "email.added": NEW_EMAIL,
            "email.verified": NEW_EMAIL,
            "email.changed": NEW_EMAIL,
            "email.removed": "alice@example.com",
        }.items():
            (event,) = events(kind)
            assert event.detail == {"email": email}
            assert event.organization_id == alice.organizations.get().pk
        (told,) = received("alice@example.com")
        assert told.subject == "[Tamarack] Your e-mail address was changed"

    def test_the_link_works_once(self, alice: User) -> None:
        self.propose(Browser(alice))
        link = link_in(received(NEW_EMAIL)[0])
        Browser().post(link)
        assert GONE in Browser().get(link).content
        assert Browser().post(link).status_code == 404

    def test_the_link_ends_after_a_day(self, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
        self.propose(Browser(alice))
        link = link_in(received(NEW_EMAIL)[0])
        later(monkeypatch, 24 * 3600 + 1)
        assert GONE in Browser().get(link).content
        assert Browser().post(link).status_code == 404
        alice.refresh_from_db()
        assert alice.email == "alice@example.com"

    def test_a_change_called_off_makes_the_link_void(self, alice: User) -> None:
        browser = Browser(alice)
        self.propose(browser)
        link = link_in(received(NEW_EMAIL)[0])
        browser.post(EMAIL, {"email": NEW_EMAIL, "action_remove": "1"})
        assert Browser().post(link).status_code == 404
        assert [event.detail for event in events("email.removed")] == [{"email": NEW_EMAIL}]
        assert EmailAddress.objects.get(user=alice).email == "alice@example.com"

    def test_the_newest_proposal_counts(self, alice: User) -> None:
        browser = Browser(alice)
        self.propose(browser)
        self.propose(browser, "second@example.com")
        assert Browser().post(link_in(received(NEW_EMAIL)[0])).status_code == 404
        Browser().post(link_in(received("second@example.com")[0]))
        alice.refresh_from_db()
        assert alice.email == "second@example.com"

    def test_an_address_that_somebody_got_meanwhile_is_refused(self, alice: User) -> None:
        self.propose(Browser(alice))
        make_user(NEW_EMAIL)
        link = link_in(received(NEW_EMAIL)[0])
        assert b"This address is taken" in Browser().get(link).content
        Browser().post(link)
        alice.refresh_from_db()
        assert alice.email == "alice@example.com"

    def test_two_people_who_want_one_address_do_not_both_get_it(self, alice: User) -> None:
        bob = make_user("bob@example.com")
        self.propose(Browser(alice))
        cache.clear()
        self.propose(Browser(bob))
        links = [link_in(message) for message in received(NEW_EMAIL)]
        assert len(links) == 2
        for link in links:
            Browser().post(link)
        assert User.objects.filter(email=NEW_EMAIL).count() == 1
        assert EmailAddress.objects.filter(email=NEW_EMAIL, verified=True).count() == 1

    @pytest.mark.parametrize("action", ["action_remove", "action_primary", "action_none"])
    def test_the_address_in_use_is_neither_removed_nor_replaced_by_an_unproven_one(
        self, alice: User, action: str
    ) -> None:
        browser = Browser(alice)
        self.propose(browser)
        email = NEW_EMAIL if action == "action_primary" else "alice@example.com"
        assert browser.post(EMAIL, {"email": email, action: "1"})["Location"] == EMAIL
        alice.refresh_from_db()
        assert alice.email == "alice@example.com"
        assert EmailAddress.objects.get(user=alice, primary=True).email == "alice@example.com"

    def test_nobody_calls_off_anothers_change(self, alice: User) -> None:
        self.propose(Browser(alice))
        bob = make_user("bob@example.com")
        for action in ("action_remove", "action_send"):
            Browser(bob).post(EMAIL, {"email": NEW_EMAIL, action: "1"})
        assert EmailAddress.objects.filter(user=alice, email=NEW_EMAIL).exists()
        assert not events("email.removed")

    @pytest.mark.parametrize(
        "email", ["", "x", "alice@example.com", "ALICE@example.com", "a\0@b.c"]
    )
    def test_what_can_not_be_the_new_address_is_refused(self, alice: User, email: str) -> None:
        answer = self.propose(Browser(alice), email)
        assert answer.status_code == 200
        assert b'class="error"' in answer.content

    @pytest.mark.parametrize("key", ["x", "abc:def", "a:b:c", "%00", "é", "a" * 3000])
    def test_a_made_up_link_is_refused(self, db: None, key: str) -> None:
        path = f"/accounts/confirm-email/{key}/"
        assert GONE in Browser().get(path).content
        assert Browser().post(path).status_code == 404

    def test_nothing_changes_while_the_trail_can_not_be_written(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.propose(Browser(alice))
        link = link_in(received(NEW_EMAIL)[0])

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)
        assert Browser(raise_request_exception=False).post(link).status_code == 500
        alice.refresh_from_db()
        assert alice.email == "alice@example.com"

    def test_it_can_be_changed_with_a_second_factor_in_use(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        self.propose(browser)
        Browser().post(link_in(received(NEW_EMAIL)[0]))
        alice.refresh_from_db()
        assert alice.email == NEW_EMAIL


class VouchingTests:
    def test_who_has_an_account_made_has_a_proven_address(self, db: None) -> None:
        address = EmailAddress.objects.get(user=make_user("dana@example.com"))
        assert (address.email, address.verified, address.primary) == (
            "dana@example.com",
            True,
            True,
        )

    def test_so_has_who_had_an_account_before_addresses_were_kept(self, alice: User) -> None:
        EmailAddress.objects.all().delete()
        import_module("orgs.migrations.0004_vouched_addresses").vouch(apps, None)
        assert EmailAddress.objects.get(user=alice).verified
        assert Browser().sign_in("alice@example.com")["Location"] == "/"

    def test_a_pending_claim_of_somebody_else_does_not_stand_in_the_way(self, alice: User) -> None:
        EmailAddress.objects.create(user=alice, email="dana@example.com")
        dana = make_user("dana@example.com")
        assert Browser().sign_in("dana@example.com")["Location"] == "/"
        assert EmailAddress.objects.get(user=dana).verified


@pytest.mark.django_db(transaction=True)
class TwoAtOnceTests:
    def test_one_link_in_two_browsers_sets_one_password(self) -> None:
        make_user("alice@example.com")
        link = reset_link()
        browsers = [Browser() for _ in range(4)]
        forms = [browser.get(link)["Location"] for browser in browsers]

        def send(number: int) -> str:
            password = f"a good passphrase no. {number}"
            form = {"password1": password, "password2": password}
            try:
                return str(browsers[number].post(forms[number], form).get("Location", ""))
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(send, range(4)))
        assert answers.count(f"{RESET}key/done/") == 1
        winner = answers.index(f"{RESET}key/done/")
        alice = User.objects.get()
        assert alice.check_password(f"a good passphrase no. {winner}")
        assert len(events("password.reset")) == 1

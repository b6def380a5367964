"""Proving again who is there: how long a proof counts, and where its absence leads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone

from controlplane.middleware import RefusalMiddleware
from orgs.authentication import actor_of, authenticated_at, session_started_at
from orgs.errors import ReauthenticationRequired
from orgs.models import User
from orgs.permissions import require_fresh
from tests.factories import PASSWORD, make_organization, make_user
from tests.orgs.accounts import (
    ACTIVATE,
    ADD_PASSKEY,
    Clock,
    add_passkey,
    code,
    events,
    options_in,
    recovery_codes,
    set_up_app,
)
from tests.orgs.passkeys import SoftPasskey
from tests.pages import Browser

AGAIN = "/accounts/reauthenticate/"
BY_CODE = "/accounts/2fa/reauthenticate/"
BY_PASSKEY = "/accounts/2fa/webauthn/reauthenticate/"
STALE = settings.TAMARACK_REAUTH_SECONDS + 1


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


def request_of(browser: Browser, user: User, rf: Any) -> HttpRequest:
    """A request with the browser's session."""
    request: HttpRequest = rf.get("/")
    request.session = browser.session
    request.user = user
    return request


def is_recent(browser: Browser, user: User, rf: Any) -> bool:
    """Whether services would take the person's last proof."""
    try:
        require_fresh(actor_of(request_of(browser, user, rf), user))
    except ReauthenticationRequired:
        return False
    return True


class FactsTests:
    def test_signing_in_is_a_proof(self, alice: User, rf: Any) -> None:
        browser = Browser()
        browser.sign_in("alice@example.com")
        at = authenticated_at(request_of(browser, alice, rf))
        assert at is not None
        assert timezone.now() - at < timedelta(seconds=30)
        started = session_started_at(request_of(browser, alice, rf))
        assert started is not None
        assert abs(started - at) < timedelta(seconds=30)

    def test_the_newest_proof_counts(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        browser.prove(alice, seconds_ago=STALE)
        assert not is_recent(browser, alice, rf)
        browser.post(AGAIN, {"password": PASSWORD})
        assert is_recent(browser, alice, rf)

    def test_proving_again_does_not_make_the_session_younger(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        browser.prove(alice, seconds_ago=STALE)
        before = session_started_at(request_of(browser, alice, rf))
        browser.post(AGAIN, {"password": PASSWORD})
        assert session_started_at(request_of(browser, alice, rf)) == before

    def test_a_proof_ends_after_the_set_time(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        browser.prove(alice, seconds_ago=settings.TAMARACK_REAUTH_SECONDS - 20)
        assert is_recent(browser, alice, rf)
        browser.prove(alice, seconds_ago=STALE)
        assert not is_recent(browser, alice, rf)

    def test_another_persons_proof_is_none(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        assert not is_recent(browser, make_user(), rf)

    def test_without_a_sign_in_there_is_none(self, alice: User, rf: Any) -> None:
        browser = Browser()
        assert authenticated_at(request_of(browser, alice, rf)) is None
        assert session_started_at(request_of(browser, alice, rf)) is None

    def test_a_password_without_its_second_factor_is_none(self, alice: User, rf: Any) -> None:
        set_up_app(Browser(alice))
        browser = Browser()
        browser.sign_in("alice@example.com")
        assert browser.get("/accounts/").status_code == 302

    def test_pages_and_services_count_the_same_time(self) -> None:
        assert settings.ACCOUNT_REAUTHENTICATION_TIMEOUT == settings.TAMARACK_REAUTH_SECONDS


class ByPasswordTests:
    def test_the_right_one_leads_back(self, alice: User) -> None:
        browser = Browser(alice)
        browser.prove(alice, seconds_ago=STALE)
        wanted = browser.get(ACTIVATE)
        assert wanted["Location"] == f"{AGAIN}?next={quote(ACTIVATE, safe='')}"
        page = browser.get(wanted["Location"]).content.decode()
        assert f'name="next" value="{ACTIVATE}"' in page
        answer = browser.post(AGAIN, {"password": PASSWORD, "next": ACTIVATE})
        assert answer["Location"] == ACTIVATE
        assert browser.get(ACTIVATE).status_code == 200
        (event,) = events("user.reauthenticated")
        assert (event.actor_id, event.detail) == (str(alice.pk), {"kind": "password"})

    def test_a_wrong_one_does_not(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        browser.prove(alice, seconds_ago=STALE)
        answer = browser.post(AGAIN, {"password": "wrong", "next": ACTIVATE})
        assert b"Incorrect password" in answer.content
        assert not is_recent(browser, alice, rf)
        assert len(events("user.sign_in_failed")) == 1
        assert not events("user.reauthenticated")

    def test_it_leads_to_no_other_site(self, alice: User) -> None:
        form = {"password": PASSWORD, "next": "https://evil.example/"}
        assert Browser(alice).post(AGAIN, form)["Location"] == "/"

    def test_it_is_for_people_who_are_signed_in(self, db: None) -> None:
        for path in (AGAIN, BY_CODE, BY_PASSKEY):
            assert Browser().get(path)["Location"].startswith("/accounts/login/")
            assert Browser().post(path)["Location"].startswith("/accounts/login/")

    def test_ten_attempts_a_minute(self, alice: User) -> None:
        browser = Browser(alice)
        codes = [browser.post(AGAIN, {"password": "wrong"}).status_code for _ in range(11)]
        assert codes == [200] * 10 + [429]


class ByFactorTests:
    def test_a_recovery_code_proves_it(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        codes = recovery_codes(browser)
        browser.prove(alice, seconds_ago=STALE)
        assert browser.post(BY_CODE, {"code": codes[0]})["Location"] == "/"
        assert is_recent(browser, alice, rf)
        assert events("user.reauthenticated")[0].detail == {"kind": "recovery_codes"}

    def test_the_apps_code_proves_it_once(self, alice: User, rf: Any, clock: Clock) -> None:
        browser = Browser(alice)
        secret = set_up_app(browser)
        clock.steps = 10
        browser.prove(alice, seconds_ago=STALE)
        form = {"code": code(secret, steps=10)}
        assert browser.post(BY_CODE, form)["Location"] == "/"
        assert b"Incorrect code" in browser.post(BY_CODE, form).content

    def test_a_passkey_proves_it_and_leads_back(self, alice: User, rf: Any) -> None:
        browser, passkey = Browser(alice), SoftPasskey()
        add_passkey(browser, passkey)
        browser.prove(alice, seconds_ago=STALE)
        page = browser.get(f"{BY_PASSKEY}?next={ACTIVATE}").content
        assert f'name="next" value="{ACTIVATE}"' in page.decode()
        asked = options_in(page, "request_options")
        form = {"credential": json.dumps(passkey.get(asked)), "next": ACTIVATE}
        assert browser.post(BY_PASSKEY, form)["Location"] == ACTIVATE
        assert is_recent(browser, alice, rf)

    def test_a_refused_passkey_may_try_again_and_keeps_the_way_back(
        self, alice: User, rf: Any
    ) -> None:
        browser = Browser(alice)
        add_passkey(browser, SoftPasskey())
        browser.prove(alice, seconds_ago=STALE)
        asked = options_in(browser.get(BY_PASSKEY).content, "request_options")
        form = {"credential": json.dumps(SoftPasskey().get(asked)), "next": ACTIVATE}
        answer = browser.post(BY_PASSKEY, form)
        assert answer["Location"] == f"{BY_PASSKEY}?next=%2Faccounts%2F2fa%2Ftotp%2Factivate%2F"
        assert b"not accepted" in browser.get(answer["Location"]).content
        assert not is_recent(browser, alice, rf)

    def test_the_page_offers_what_the_person_has(self, alice: User) -> None:
        browser = Browser(alice)
        assert BY_CODE not in browser.get(AGAIN).content.decode()
        set_up_app(browser)
        add_passkey(browser, SoftPasskey())
        page = browser.get(f"{AGAIN}?next=/x").content.decode()
        assert f"{BY_CODE}?next=%2Fx" in page
        assert f"{BY_PASSKEY}?next=%2Fx" in page


class DangerousActTests:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("get", ACTIVATE),
            ("post", ACTIVATE),
            ("get", ADD_PASSKEY),
            ("post", ADD_PASSKEY),
            ("post", "/accounts/2fa/totp/deactivate/"),
            ("get", "/accounts/2fa/recovery-codes/"),
            ("post", "/accounts/2fa/recovery-codes/generate/"),
            ("post", "/accounts/2fa/webauthn/keys/1/remove/"),
            ("post", "/accounts/email/"),
        ],
    )
    def test_ones_own_protection_needs_a_fresh_proof(
        self, alice: User, method: str, path: str
    ) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        if path == ACTIVATE:
            browser.post("/accounts/2fa/totp/deactivate/")
        browser.prove(alice, seconds_ago=STALE)
        form = {"email": "alice@elsewhere.example", "action_add": "1"}
        answer = getattr(browser, method)(path, form if method == "post" else {})
        assert answer.status_code == 302
        assert answer["Location"].startswith(AGAIN)

    def test_a_session_of_somebody_without_password_or_factor_proves_nothing(
        self, alice: User
    ) -> None:
        alice.set_unusable_password()
        alice.save()
        browser = Browser(alice)
        browser.prove(alice, seconds_ago=STALE)
        for path in (ACTIVATE, ADD_PASSKEY, "/accounts/email/"):
            assert browser.get(path)["Location"].startswith(f"{AGAIN}?next=")
        answer = browser.get(AGAIN)
        assert answer.status_code == 403
        assert b"Sign out" in answer.content


class ServiceRefusalTests:
    """What becomes of `ReauthenticationRequired` from a service, whichever page called it."""

    def answer(self, request: HttpRequest) -> Any:
        refused = ReauthenticationRequired("Prove that it is you.")
        return RefusalMiddleware(lambda _: None).process_exception(request, refused)  # type: ignore[arg-type,return-value]  # not called

    def test_people_are_led_to_the_proof_and_back(self, rf: Any) -> None:
        answer = self.answer(rf.get("/projects/1/?a=b", headers={"accept": "text/html"}))
        assert answer["Location"] == f"{AGAIN}?next=%2Fprojects%2F1%2F%3Fa%3Db"

    def test_after_a_form_back_to_its_page(self, rf: Any) -> None:
        referer = f"{settings.TAMARACK_PUBLIC_URL}/projects/1/keys/?x=y"
        request = rf.post(
            "/projects/1/revoke/", headers={"accept": "text/html", "referer": referer}
        )
        assert self.answer(request)["Location"] == f"{AGAIN}?next=%2Fprojects%2F1%2Fkeys%2F%3Fx%3Dy"

    @pytest.mark.parametrize(
        "referer", ["", "https://evil.example/x", "https://localhost:8443.evil.example/", "::["]
    )
    def test_never_to_another_site(self, rf: Any, referer: str) -> None:
        request = rf.post(
            "/projects/1/revoke/", headers={"accept": "text/html", "referer": referer}
        )
        assert self.answer(request)["Location"] == f"{AGAIN}?next=%2Fprojects%2F1%2Frevoke%2F"

    def test_programs_get_403_and_the_way_out(self, rf: Any) -> None:
        answer = self.answer(rf.post("/admin/projects", headers={"accept": "application/json"}))
        assert answer.status_code == 403
        assert json.loads(answer.content)["error"]["message"] == "Prove that it is you."

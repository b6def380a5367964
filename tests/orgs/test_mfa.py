from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection

from audit.models import AuditEvent
from orgs.authentication import actor_of, has_mfa
from orgs.errors import PermissionDenied
from orgs.models import User
from orgs.selectors.bindings import actor_for
from orgs.services.accounts import remove_second_factors
from tests.factories import PASSWORD, make_organization, make_user
from tests.orgs.accounts import (
    ACTIVATE,
    ADD_PASSKEY,
    AUTHENTICATE,
    Clock,
    add_passkey,
    code,
    events,
    is_signed_in,
    options_in,
    received,
    recovery_codes,
    set_up_app,
)
from tests.orgs.passkeys import SoftPasskey
from tests.pages import Browser

LOGIN_BY_PASSKEY = "/accounts/2fa/webauthn/login/"
DEACTIVATE = "/accounts/2fa/totp/deactivate/"
CODES = "/accounts/2fa/recovery-codes/"


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


def second_step(secret_or_code: str) -> tuple[Browser, Any]:
    """Sign Alice in by password, then with that code."""
    browser = Browser()
    assert browser.sign_in("alice@example.com")["Location"] == AUTHENTICATE
    return browser, browser.post(AUTHENTICATE, {"code": secret_or_code})


class AppTests:
    def test_sign_in_asks_for_its_code_and_has_no_session_before(self, alice: User) -> None:
        secret = set_up_app(Browser(alice))
        browser = Browser()
        answer = browser.sign_in("alice@example.com")
        assert answer["Location"] == AUTHENTICATE
        assert not is_signed_in(browser)
        assert b"Second factor" in browser.get(AUTHENTICATE).content
        assert not events("user.signed_in")
        answer = browser.post(AUTHENTICATE, {"code": code(secret, steps=0)})
        assert answer.status_code == 200  # the code that set the app up

    def test_the_next_code_lets_in(self, alice: User, clock: Clock) -> None:
        secret = set_up_app(Browser(alice))
        clock.steps = 1
        browser, answer = second_step(code(secret, steps=1))
        assert answer["Location"] == "/"
        assert is_signed_in(browser)
        assert len(events("user.signed_in")) == 1

    def test_who_is_switched_off_after_the_password_stays_out(
        self, alice: User, clock: Clock
    ) -> None:
        secret = set_up_app(Browser(alice))
        clock.steps = 10
        browser = Browser()
        browser.sign_in("alice@example.com")
        User.objects.filter(pk=alice.pk).update(is_active=False)
        answer = browser.post(AUTHENTICATE, {"code": code(secret, steps=10)})
        assert answer["Location"] == "/accounts/inactive/"
        assert not events("user.signed_in")
        User.objects.filter(pk=alice.pk).update(is_active=True)
        assert not is_signed_in(browser)
        assert browser.get(AUTHENTICATE)["Location"] == "/accounts/login/"

    def test_the_trail_says_by_what_somebody_came_in(self, alice: User, clock: Clock) -> None:
        Browser().sign_in("alice@example.com")
        secret = set_up_app(Browser(alice))
        clock.steps = 10
        second_step(code(secret, steps=10))
        kinds = [event.detail["kind"] for event in events("user.signed_in")]
        assert kinds == ["password", "password+totp"]

    def test_a_code_works_once(self, alice: User, clock: Clock) -> None:
        secret = set_up_app(Browser(alice))
        clock.steps = 1
        assert second_step(code(secret, steps=1))[1].status_code == 302
        browser, answer = second_step(code(secret, steps=1))
        assert b"Incorrect code" in answer.content
        assert not is_signed_in(browser)

    @pytest.mark.parametrize(
        ("late", "lets_in"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
    )
    def test_a_code_may_be_half_a_minute_off(
        self, alice: User, clock: Clock, late: int, lets_in: bool
    ) -> None:
        secret = set_up_app(Browser(alice))
        clock.steps = 10
        assert (second_step(code(secret, steps=10 - late))[1].status_code == 302) is lets_in

    def test_a_code_works_once_for_as_long_as_it_is_right(self, alice: User, clock: Clock) -> None:
        secret = set_up_app(Browser(alice))
        clock.steps = 10
        assert second_step(code(secret, steps=11))[1].status_code == 302
        for clock.steps in (11, 12):
            # allauth's own memory ends after half a minute.
            spent = code(secret, steps=11)
            assert cache.delete(f"allauth.mfa.totp.used?user={alice.pk}&code={spent}")
            assert b"Incorrect code" in second_step(spent)[1].content

    def test_the_code_that_set_it_up_does_not_work_again(self, alice: User) -> None:
        secret = set_up_app(Browser(alice))
        assert b"Incorrect code" in second_step(code(secret))[1].content

    @pytest.mark.parametrize("wrong", ["000000", "", "abcdef", "1" * 5000, "\uff11" * 6, "\0"])
    def test_a_wrong_code_does_not_let_in(self, alice: User, wrong: str) -> None:
        secret = set_up_app(Browser(alice))
        assert code(secret) != "000000"
        browser, answer = second_step(wrong)
        assert answer.status_code == 200
        assert not is_signed_in(browser)

    def test_a_wrong_code_is_in_the_trail(self, alice: User) -> None:
        set_up_app(Browser(alice))
        second_step("999999")
        (event,) = events("user.sign_in_failed")
        assert (event.outcome, event.detail) == ("failure", {"reason": "wrong second factor"})
        assert event.organization_id == alice.organizations.get().pk

    def test_ten_wrong_codes_lock_it_for_five_minutes(self, alice: User, clock: Clock) -> None:
        secret = set_up_app(Browser(alice))
        for number in range(10):
            browser = Browser(ip=f"198.51.100.{number}")
            browser.sign_in("alice@example.com")
            browser.post(AUTHENTICATE, {"code": "999999"})
        clock.steps = 1
        browser = Browser(ip="198.51.100.99")
        browser.sign_in("alice@example.com")
        answer = browser.post(AUTHENTICATE, {"code": code(secret, steps=1)})
        assert b"Too many failed" in answer.content
        assert not is_signed_in(browser)

    def test_a_wrong_code_does_not_set_it_up(self, alice: User) -> None:
        browser = Browser(alice)
        browser.get(ACTIVATE)
        assert b"Incorrect code" in browser.post(ACTIVATE, {"code": "000000"}).content
        assert not Authenticator.objects.exists()

    def test_its_key_is_encrypted_in_the_database(self, alice: User) -> None:
        secret = set_up_app(Browser(alice))
        row = Authenticator.objects.get(type="totp")
        assert secret not in json.dumps(row.data)
        assert json.loads(row.data["secret"])["algorithm"] == "AES-256-GCM"

    def test_setting_up_and_giving_up_are_in_the_trail_and_told_by_mail(
        self, alice: User, django_capture_on_commit_callbacks: Any
    ) -> None:
        browser = Browser(alice)
        with django_capture_on_commit_callbacks(execute=True):
            set_up_app(browser)
        assert browser.post(DEACTIVATE)["Location"] == "/accounts/2fa/"
        assert [e.detail["kind"] for e in events("mfa.enabled")] == ["totp"]
        assert [e.detail["kind"] for e in events("mfa.disabled")] == ["totp"]
        assert len(events("recovery_codes.generated")) == 1
        subjects = [message.subject for message in received("alice@example.com")]
        assert sorted(subjects) == [
            "[Tamarack] An authenticator app was set up",
            "[Tamarack] The authenticator app was given up",
        ]

    def test_giving_it_up_takes_the_recovery_codes_along(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        browser.post(DEACTIVATE)
        assert not Authenticator.objects.exists()
        assert Browser().sign_in("alice@example.com")["Location"] == "/"

    def test_a_second_one_is_not_set_up(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        assert browser.get(ACTIVATE)["Location"] == DEACTIVATE
        assert browser.post(ACTIVATE, {"code": "1"})["Location"] == DEACTIVATE
        assert Authenticator.objects.filter(type="totp").count() == 1


class NoTrailNoChangeTests:
    @pytest.fixture
    def broken_trail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no room")

        monkeypatch.setattr(AuditEvent, "save", refuse)

    def test_no_app_is_set_up(self, alice: User, request: pytest.FixtureRequest) -> None:
        browser = Browser(alice, raise_request_exception=False)
        page = browser.get(ACTIVATE).content.decode()
        (secret,) = re.findall(r">([A-Z2-7]{32})</code>", page)
        request.getfixturevalue("broken_trail")
        assert browser.post(ACTIVATE, {"code": code(secret)}).status_code == 500
        assert not Authenticator.objects.exists()

    def test_no_app_is_given_up(self, alice: User, request: pytest.FixtureRequest) -> None:
        browser = Browser(alice, raise_request_exception=False)
        set_up_app(browser)
        request.getfixturevalue("broken_trail")
        assert browser.post(DEACTIVATE).status_code == 500
        assert Authenticator.objects.filter(type="totp").exists()

    def test_no_recovery_code_is_shown(self, alice: User, request: pytest.FixtureRequest) -> None:
        browser = Browser(alice, raise_request_exception=False)
        set_up_app(browser)
        request.getfixturevalue("broken_trail")
        assert browser.get(CODES).status_code == 500
        assert "viewed_at" not in Authenticator.objects.get(type="recovery_codes").data

    def test_no_passkey_is_added(self, alice: User, request: pytest.FixtureRequest) -> None:
        browser = Browser(alice, raise_request_exception=False)
        asked = options_in(browser.get(ADD_PASSKEY).content, "creation_options")
        request.getfixturevalue("broken_trail")
        form = {"name": "", "credential": json.dumps(SoftPasskey().create(asked))}
        assert browser.post(ADD_PASSKEY, form).status_code == 500
        assert not Authenticator.objects.exists()


class RecoveryCodeTests:
    def test_each_works_once(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        codes = recovery_codes(browser)
        assert len(set(codes)) == 10
        assert second_step(codes[0])[1]["Location"] == "/"
        assert b"Incorrect code" in second_step(codes[0])[1].content
        assert second_step(codes[1])[1]["Location"] == "/"
        assert b"8 of 10 left" in browser.get("/accounts/2fa/").content

    def test_they_are_shown_once_and_that_is_in_the_trail(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        answer = browser.get(CODES)
        assert "no-store" in answer["Cache-Control"]
        assert len(re.findall(r"\b\d{8}\b", answer.content.decode())) == 10
        again = browser.get(CODES).content.decode()
        assert not re.findall(r"\b\d{8}\b", again)
        assert "10 of 10 are left" in again
        assert len(events("recovery_codes.viewed")) == 1

    def test_new_ones_end_the_old_ones(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        old = recovery_codes(browser)
        assert browser.post(f"{CODES}generate/")["Location"] == CODES
        new = recovery_codes(browser)
        assert not set(old) & set(new)
        assert b"Incorrect code" in second_step(old[0])[1].content
        assert second_step(new[0])[1]["Location"] == "/"
        assert len(events("recovery_codes.generated")) == 2

    def test_there_are_none_without_a_second_factor(self, alice: User) -> None:
        browser = Browser(alice)
        assert browser.get(CODES).status_code == 404
        assert b"cannot generate recovery codes" in browser.post(f"{CODES}generate/").content
        assert not Authenticator.objects.exists()

    def test_they_are_encrypted_in_the_database(self, alice: User) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        seed = Authenticator.objects.get(type="recovery_codes").data["seed"]
        assert json.loads(seed)["algorithm"] == "AES-256-GCM"


class PasskeyTests:
    def test_one_is_added_and_lets_in_alone(self, alice: User) -> None:
        passkey = SoftPasskey()
        assert add_passkey(Browser(alice), passkey, passwordless="on")["Location"] == CODES
        browser = Browser()
        asked = self.ask(browser)
        answer = browser.post(LOGIN_BY_PASSKEY, {"credential": json.dumps(passkey.get(asked))})
        assert answer["Location"] == "/"
        assert is_signed_in(browser)
        (event,) = events("mfa.enabled")
        assert event.detail == {"kind": "webauthn", "name": "Laptop"}
        assert len(events("user.signed_in")) == 1

    def ask(self, browser: Browser) -> dict[str, Any]:
        answer = browser.get(LOGIN_BY_PASSKEY, headers={"accept": "application/json"})
        asked: dict[str, Any] = answer.json()["request_options"]["publicKey"]
        assert asked["userVerification"] == "required"
        assert not asked.get("allowCredentials")
        return asked

    def test_it_is_bound_to_the_public_host(self, alice: User) -> None:
        browser = Browser(alice)
        page = browser.get(ADD_PASSKEY, headers={"host": "api.localhost"}).content
        assert options_in(page, "creation_options")["rp"] == {"id": "localhost", "name": "Tamarack"}
        assert settings.TAMARACK_PUBLIC_HOST == "localhost"

    def test_it_is_the_second_factor_after_the_password(self, alice: User) -> None:
        passkey = SoftPasskey(verifies=False)
        add_passkey(Browser(alice), passkey)
        browser = Browser()
        assert browser.sign_in("alice@example.com")["Location"] == AUTHENTICATE
        asked = options_in(browser.get(AUTHENTICATE).content, "request_options")
        answer = browser.post(AUTHENTICATE, {"credential": json.dumps(passkey.get(asked))})
        assert answer["Location"] == "/"
        assert is_signed_in(browser)

    def test_it_is_asked_for_only_of_people_who_have_one(self, alice: User) -> None:
        setting_up = Browser(alice)
        set_up_app(setting_up)
        browser = Browser()
        browser.sign_in("alice@example.com")
        assert b"data-passkey" not in browser.get(AUTHENTICATE).content
        add_passkey(setting_up, SoftPasskey())
        assert b'data-passkey="get"' in browser.get(AUTHENTICATE).content

    def test_a_security_key_without_pin_does_not_let_in_alone(self, alice: User) -> None:
        key = SoftPasskey(verifies=False)
        add_passkey(Browser(alice), key)
        browser = Browser()
        asked = self.ask(browser)
        browser.post(LOGIN_BY_PASSKEY, {"credential": json.dumps(key.get(asked))})
        assert not is_signed_in(browser)

    def test_nor_with_the_question_for_a_second_factor(self, alice: User) -> None:
        key = SoftPasskey(verifies=False)
        add_passkey(Browser(alice), key)
        mallory = make_user("mallory@example.com")
        add_passkey(Browser(mallory), SoftPasskey())
        browser = Browser()
        browser.sign_in("mallory@example.com")
        asked = options_in(browser.get(AUTHENTICATE).content, "request_options")
        browser.post(LOGIN_BY_PASSKEY, {"credential": json.dumps(key.get(asked))})
        assert not is_signed_in(browser)
        assert not events("user.signed_in")

    def test_a_passkey_that_can_not_check_a_pin_is_not_taken_for_use_alone(
        self, alice: User
    ) -> None:
        answer = add_passkey(Browser(alice), SoftPasskey(verifies=False), passwordless="on")
        assert answer.status_code == 200
        assert not Authenticator.objects.exists()

    @pytest.mark.parametrize(
        "forged",
        [
            SoftPasskey(origin="https://evil.example"),
            SoftPasskey(origin="http://localhost:8443"),
            SoftPasskey(rp_id="evil.example"),
        ],
    )
    def test_one_of_another_site_is_refused(self, alice: User, forged: SoftPasskey) -> None:
        assert add_passkey(Browser(alice), forged).status_code == 200
        assert not Authenticator.objects.exists()

    def test_an_answer_works_once(self, alice: User) -> None:
        passkey = SoftPasskey()
        add_passkey(Browser(alice), passkey)
        browser = Browser()
        form = {"credential": json.dumps(passkey.get(self.ask(browser)))}
        assert browser.post(LOGIN_BY_PASSKEY, form)["Location"] == "/"
        browser.post("/accounts/logout/")
        browser.post(LOGIN_BY_PASSKEY, form)
        assert not is_signed_in(browser)
        other = Browser()
        self.ask(other)
        other.post(LOGIN_BY_PASSKEY, form)
        assert not is_signed_in(other)

    def test_a_wrong_signature_is_refused(self, alice: User) -> None:
        passkey = SoftPasskey()
        add_passkey(Browser(alice), passkey)
        impostor = SoftPasskey(id=passkey.id, handle=passkey.handle)
        browser = Browser()
        answer = browser.post(
            LOGIN_BY_PASSKEY, {"credential": json.dumps(impostor.get(self.ask(browser)))}
        )
        assert answer["Location"] == "/accounts/login/"
        assert not is_signed_in(browser)

    def test_a_removed_one_lets_nobody_in_any_more(self, alice: User) -> None:
        passkey, browser = SoftPasskey(), Browser(alice)
        add_passkey(browser, passkey)
        row = Authenticator.objects.get(type="webauthn")
        path = f"/accounts/2fa/webauthn/keys/{row.pk}/remove/"
        assert b"Remove Laptop?" in browser.get(path).content
        assert browser.post(path)["Location"] == "/accounts/2fa/"
        assert [e.detail["kind"] for e in events("mfa.disabled")] == ["webauthn"]
        other = Browser()
        form = {"credential": json.dumps(passkey.get(self.ask(other)))}
        other.post(LOGIN_BY_PASSKEY, form)
        assert not is_signed_in(other)

    def test_nobody_removes_anothers(self, alice: User) -> None:
        add_passkey(Browser(alice), SoftPasskey())
        row = Authenticator.objects.get(type="webauthn")
        path = f"/accounts/2fa/webauthn/keys/{row.pk}/remove/"
        assert Browser(make_user()).post(path).status_code == 404
        assert Authenticator.objects.filter(pk=row.pk).exists()

    def test_a_switched_off_account_stays_out(self, alice: User) -> None:
        passkey = SoftPasskey()
        add_passkey(Browser(alice), passkey)
        User.objects.filter(pk=alice.pk).update(is_active=False)
        browser = Browser()
        form = {"credential": json.dumps(passkey.get(self.ask(browser)))}
        assert browser.post(LOGIN_BY_PASSKEY, form)["Location"] == "/accounts/inactive/"
        assert not is_signed_in(browser)

    BROKEN = (
        *("", "null", "[]", "1", '"x"', "{}", "{", '{"id": 1}', "[" * 5000),
        '{"rawId": "AA", "response": {}, "type": "public-key"}',
        '{"rawId": "AA", "response": {"clientDataJSON": "AA", "attestationObject": "AA"}}',
        '{"rawId": "!", "response": {"clientDataJSON": "é", "attestationObject": "AA"}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "e30", "attestationObject": "oA"}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "e30", "authenticatorData": "AA",'
        ' "signature": "AA", "userHandle": "AA"}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "e30", "authenticatorData": "AA",'
        ' "signature": "AA", "userHandle": null}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "e30", "authenticatorData": "'
        + "A" * 60
        + '", "signature": 5, "userHandle": ["x"]}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "W10", "attestationObject": "gA"}}',
        '{"rawId": "AA", "clientExtensionResults": [], "response": null}',
        '{"rawId": "\\ud800", "response": {"clientDataJSON": "\\u0000"}}',
    )

    @pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
    def test_an_answer_of_any_shape_is_refused_not_an_error(self, alice: User, broken: str) -> None:
        browser = Browser(alice)
        browser.get(ADD_PASSKEY)
        assert browser.post(ADD_PASSKEY, {"credential": broken}).status_code == 200
        stranger = Browser()
        self.ask(stranger)
        answer = stranger.post(LOGIN_BY_PASSKEY, {"credential": broken})
        assert answer["Location"] == "/accounts/login/"
        add_passkey(browser, SoftPasskey())
        half = Browser()
        half.sign_in("alice@example.com")
        half.get(AUTHENTICATE)
        assert half.post(AUTHENTICATE, {"credential": broken}).status_code == 200
        browser.get("/accounts/2fa/webauthn/reauthenticate/")
        answer = browser.post("/accounts/2fa/webauthn/reauthenticate/", {"credential": broken})
        assert answer["Location"] == "/accounts/2fa/webauthn/reauthenticate/"

    def test_what_else_an_answer_carries_is_not_stored(self, alice: User) -> None:
        browser, passkey = Browser(alice), SoftPasskey()
        asked = options_in(browser.get(ADD_PASSKEY).content, "creation_options")
        credential = {**passkey.create(asked), "more": "\0 and a lone \ud800"}
        form = {"name": "", "credential": json.dumps(credential)}
        assert browser.post(ADD_PASSKEY, form).status_code == 302
        assert "more" not in json.dumps(Authenticator.objects.get(type="webauthn").data)

    @pytest.mark.parametrize("name", ["x" * 61, "a\x07b", "\0"])
    def test_a_bad_name_is_refused(self, alice: User, name: str) -> None:
        assert add_passkey(Browser(alice), SoftPasskey(), name=name).status_code == 200
        assert not Authenticator.objects.exists()

    def test_questions_are_limited_by_address(self, alice: User) -> None:
        answers = [Browser().post(LOGIN_BY_PASSKEY, {}).status_code for _ in range(11)]
        assert answers == [302] * 10 + [429]


class FactsTests:
    def facts(self, browser: Browser, user: User, rf: Any) -> bool:
        request = rf.get("/")
        request.session = browser.session
        return has_mfa(request, user)

    def test_password_alone_is_no_second_factor(self, alice: User, rf: Any) -> None:
        browser = Browser()
        browser.sign_in("alice@example.com")
        assert not self.facts(browser, alice, rf)

    def test_setting_one_up_counts_at_once(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        assert self.facts(browser, alice, rf)

    def test_a_session_from_before_does_not_count_until_it_shows_the_factor(
        self, alice: User, rf: Any, clock: Clock
    ) -> None:
        older, newer = Browser(alice), Browser(alice)
        secret = set_up_app(newer)
        assert not self.facts(older, alice, rf)
        clock.steps = 1
        path = "/accounts/2fa/reauthenticate/"
        assert older.post(path, {"code": code(secret, steps=1)}).status_code == 302
        assert self.facts(older, alice, rf)

    def test_a_passkey_alone_counts(self, alice: User, rf: Any) -> None:
        passkey = SoftPasskey()
        add_passkey(Browser(alice), passkey)
        browser = Browser()
        asked = PasskeyTests().ask(browser)
        browser.post(LOGIN_BY_PASSKEY, {"credential": json.dumps(passkey.get(asked))})
        assert self.facts(browser, alice, rf)

    def test_a_recovery_code_stands_in(self, alice: User, rf: Any) -> None:
        setting_up = Browser(alice)
        set_up_app(setting_up)
        browser, _ = second_step(recovery_codes(setting_up)[0])
        assert self.facts(browser, alice, rf)

    def test_it_ends_with_the_last_factor(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        browser.post(DEACTIVATE)
        assert not self.facts(browser, alice, rf)

    def test_another_persons_proof_does_not_count(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        assert not self.facts(browser, make_user(), rf)

    def test_it_reaches_the_actor(self, alice: User, rf: Any) -> None:
        browser = Browser(alice)
        request = rf.get("/")
        request.session = browser.session
        assert actor_of(request, alice).authenticated_at is not None


class LostFactorTests:
    def test_the_operator_removes_them_all(self, alice: User, capsys: Any) -> None:
        browser = Browser(alice)
        set_up_app(browser)
        add_passkey(browser, SoftPasskey())
        call_command("remove_second_factors", "Alice@example.com")
        assert "3 removed" in capsys.readouterr().out
        assert Browser().sign_in("alice@example.com", PASSWORD)["Location"] == "/"
        (event,) = events("mfa.disabled")
        assert (event.actor_kind, event.detail) == ("system", {"kind": "all", "count": 3})

    def test_nobody_else_does(self, alice: User) -> None:
        with pytest.raises(PermissionDenied):
            remove_second_factors(actor=actor_for(alice), user=alice)


@pytest.mark.django_db(transaction=True)
class TwoAtOnceTests:
    def race(self, sent: str) -> int:
        """How many of four browsers get in with the same code at the same time."""
        browsers = [Browser(ip=f"198.51.100.{number}") for number in range(4)]
        for browser in browsers:
            assert browser.sign_in("alice@example.com")["Location"] == AUTHENTICATE

        def send(browser: Browser) -> int:
            try:
                return int(browser.post(AUTHENTICATE, {"code": sent}).status_code)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(send, browsers)).count(302)

    def test_a_recovery_code_lets_one_in(self) -> None:
        browser = Browser(make_user("alice@example.com"))
        set_up_app(browser)
        assert self.race(recovery_codes(browser)[0]) == 1

    def test_an_apps_code_lets_one_in(self, clock: Clock) -> None:
        secret = set_up_app(Browser(make_user("alice@example.com")))
        clock.steps = 1
        assert self.race(code(secret, steps=1)) == 1

"""Who has to sign in through an organization can't come in, or escape it, any other way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress, Login
from allauth.account.stages import LoginStageController
from allauth.mfa.totp.internal import auth as totp_auth
from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.test import RequestFactory

from orgs.adapters import AccountAdapter
from orgs.errors import Forbidden
from orgs.models import ResourceType, User
from orgs.permissions import Role
from orgs.services.invitations import InvitedRole, create_invitation
from sso.models import Connection
from sso.services.break_glass import remove_owner
from sso.services.enforcement import relax
from tests.cast import Cast
from tests.factories import PASSWORD, SYSTEM
from tests.orgs.accounts import (
    AUTHENTICATE,
    Clock,
    add_passkey,
    code,
    events,
    is_signed_in,
    link_in,
    received,
    set_up_app,
)
from tests.orgs.passkeys import SoftPasskey
from tests.pages import Browser
from tests.sso.emergencies import SECRET, give_factor, make_ready, make_required
from tests.sso.signing_in import answered, leave, sign_in
from tests.sso.support import make_connection

LOGIN = "/accounts/login/"
RESET = "/accounts/password/reset/"
PASSKEY_LOGIN = "/accounts/2fa/webauthn/login/"
NEW_PASSWORD = "another horse battery staple"


@pytest.fixture(autouse=True)
def no_rate_limits_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(totp_auth, "yield_hotp_counters_from_time", stopped.counters)
    return stopped


@pytest.fixture
def required(cast: Cast) -> Connection:
    """Acme requires single sign-on of example.com; Alice is named for emergencies."""
    return make_required(cast.organization, cast.alice)


def leads_to(answer: Any, connection: Connection) -> bool:
    """Whether it is the page with a plain link to the organization's sign-in."""
    return (
        answer.status_code == 403 and f'href="/sso/{connection.pk}/login' in answer.content.decode()
    )


def by_sso(user: User, connection: Connection, **proof: Any) -> Browser:
    """A browser in which the person came by the connection."""
    browser = Browser(user)
    browser.prove(
        user,
        method="sso",
        connection=str(connection.pk),
        organization=str(connection.organization_id),
        until=time.time() + 3600,
        **proof,
    )
    return browser


class PasswordTests:
    def test_a_right_password_lets_nobody_in(self, cast: Cast, required: Connection) -> None:
        browser = Browser()
        assert leads_to(browser.sign_in("bob@example.com"), required)
        assert not is_signed_in(browser)

    def test_not_even_who_is_named_for_emergencies(self, cast: Cast, required: Connection) -> None:
        assert leads_to(Browser().sign_in("alice@example.com"), required)

    def test_the_answer_depends_on_the_domain_alone(self, cast: Cast, required: Connection) -> None:
        cases = [
            ("bob@example.com", PASSWORD),
            ("bob@example.com", "wrong"),
            ("nobody@example.com", PASSWORD),
            ("BOB@EXAMPLE.COM", PASSWORD),
            ("bob@example.com", ""),
        ]
        answers = [Browser().sign_in(email, password) for email, password in cases]
        pages = {
            (answer.status_code, answer.content.replace(answer["X-Request-Id"].encode(), b""))
            for answer in answers
        }
        assert len(pages) == 1

    def test_each_try_is_in_the_trail(self, cast: Cast, required: Connection) -> None:
        Browser().sign_in("bob@example.com")
        Browser().sign_in("nobody@example.com")
        reasons = [event.detail["reason"] for event in events("user.sign_in_failed")]
        assert reasons == ["single sign-on is required"] * 2

    def test_the_link_leads_on_to_where_the_person_wanted(
        self, cast: Cast, required: Connection
    ) -> None:
        page = Browser().sign_in("bob@example.com", next="/organizations/x/").content
        assert b"?next=%2Forganizations%2Fx%2F" in page
        assert b"evil" not in Browser().sign_in("bob@example.com", next="//evil.example").content

    @pytest.mark.parametrize(
        "email", ["bob\0@example.com", "@example.com", "bob@", "a" * 5000 + "@example.com"]
    )
    def test_what_is_no_address_is_an_error_of_the_form(
        self, cast: Cast, required: Connection, email: str
    ) -> None:
        assert Browser().sign_in(email).status_code in {200, 403}

    def test_tries_are_limited_like_all(self, cast: Cast, required: Connection) -> None:
        codes = [Browser().sign_in("bob@example.com").status_code for _ in range(31)]
        assert codes == [403] * 30 + [429]

    def test_people_of_other_domains_sign_in_as_before(
        self, cast: Cast, required: Connection
    ) -> None:
        assert Browser().sign_in("charlie@example.org").status_code == 302

    def test_a_connection_that_is_not_required_refuses_nobody(self, cast: Cast) -> None:
        make_connection(cast.organization, domains=["example.com"])
        assert Browser().sign_in("bob@example.com").status_code == 302

    def test_it_counts_again_when_the_connection_is_optional(
        self, cast: Cast, required: Connection
    ) -> None:
        relax(actor=SYSTEM, connection_id=required.pk, to_state="active")
        assert Browser().sign_in("bob@example.com").status_code == 302


class OtherWaysInTests:
    def test_no_passkey_lets_in(self, cast: Cast) -> None:
        passkey = SoftPasskey()
        add_passkey(Browser(cast.bob), passkey, passwordless="on")
        connection = make_required(cast.organization, cast.alice)
        browser = Browser()
        asked = browser.get(PASSKEY_LOGIN, headers={"accept": "application/json"})
        options = json.loads(asked.content)["request_options"]["publicKey"]
        answer = browser.post(PASSKEY_LOGIN, {"credential": json.dumps(passkey.get(options))})
        assert leads_to(answer, connection)
        assert not is_signed_in(browser)

    def test_a_sign_in_half_way_through_its_second_factor_ends(
        self, cast: Cast, clock: Clock
    ) -> None:
        give_factor(cast.bob)
        browser = Browser()
        assert browser.sign_in("bob@example.com")["Location"] == AUTHENTICATE
        connection = make_required(cast.organization, cast.alice)
        answer = browser.post(AUTHENTICATE, {"code": code(SECRET)})
        assert leads_to(answer, connection)
        assert not is_signed_in(browser)
        assert not events("user.signed_in")

    def test_none_is_asked_for_a_second_factor_first(
        self, cast: Cast, required: Connection
    ) -> None:
        give_factor(cast.bob)
        request = RequestFactory().get("/")
        request.session = Browser().session
        found = {"email_verification": "", "signal_kwargs": None, "email": None}
        answer = AccountAdapter(request).pre_login(
            request, cast.bob, signup=False, redirect_url=None, **found
        )
        assert answer is not None
        assert leads_to(answer, required)

    def test_a_grant_of_another_organization_opens_nothing(
        self, cast: Cast, required: Connection
    ) -> None:
        browser = Browser()
        session = browser.session
        session["account_authentication_methods_user"] = str(cast.bob.pk)
        session["account_authentication_methods"] = [
            {
                "method": "sso",
                "at": time.time(),
                "organization": str(cast.other_organization.pk),
                "until": time.time() + 60,
            }
        ]
        session.save()
        assert leads_to(browser.sign_in("bob@example.com"), required)

    def test_there_is_no_other_sign_in_page(self) -> None:
        assert not apps.is_installed("django.contrib.admin")
        assert not apps.is_installed("allauth.headless")
        assert "Basic" not in str(settings.REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"])

    def test_rest_with_a_session_needs_the_grant_too(
        self, cast: Cast, required: Connection
    ) -> None:
        path = f"/admin/organizations/{cast.organization.pk}"
        headers = {
            "Tamarack-Organization": str(cast.organization.pk),
            "accept": "application/json",
        }
        assert Browser(cast.alice).get(path, headers=headers).status_code == 403
        assert by_sso(cast.alice, required).get(path, headers=headers).status_code == 200


class ResetTests:
    def test_the_mail_leads_to_the_organization(self, cast: Cast, required: Connection) -> None:
        assert Browser().post(RESET, {"email": "bob@example.com"}).status_code == 302
        (message,) = received("bob@example.com")
        assert f"https://localhost:8443/sso/{required.pk}/login" in str(message.body)
        assert "/password/reset/key/" not in str(message.body)

    def test_the_public_answer_is_the_same(self, cast: Cast, required: Connection) -> None:
        for email in ("bob@example.com", "nobody@example.com", "charlie@example.org"):
            answer = Browser().post(RESET, {"email": email})
            assert answer["Location"] == "/accounts/password/reset/done/"

    def test_who_is_named_for_emergencies_gets_the_link(
        self, cast: Cast, required: Connection
    ) -> None:
        Browser().post(RESET, {"email": "alice@example.com"})
        message = received("alice@example.com")[-1]
        browser = Browser()
        form = browser.get(link_in(message))["Location"]
        browser.post(form, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
        cast.alice.refresh_from_db()
        assert cast.alice.check_password(NEW_PASSWORD)

    def test_who_is_not_named_any_more_gets_none(self, cast: Cast, required: Connection) -> None:
        relax(actor=SYSTEM, connection_id=required.pk, to_state="active")
        remove_owner(actor=SYSTEM, organization_id=cast.organization.pk, user_id=cast.alice.pk)
        Connection.objects.update(state=Connection.State.ENFORCED)
        Browser().post(RESET, {"email": "alice@example.com"})
        assert "/password/reset/key/" not in str(received("alice@example.com")[-1].body)

    @pytest.mark.parametrize("opened", [False, True])
    def test_links_of_before_are_dead(self, cast: Cast, *, opened: bool) -> None:
        Browser().post(RESET, {"email": "bob@example.com"})
        link = link_in(received("bob@example.com")[-1])
        browser = Browser()
        form = browser.get(link)["Location"] if opened else link
        make_required(cast.organization, cast.alice)
        for answer in (
            browser.get(form),
            browser.post(form, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}),
        ):
            assert b"work any more" in answer.content
        cast.bob.refresh_from_db()
        assert cast.bob.check_password(PASSWORD)

    def test_no_page_sets_a_password_that_is_good_for_nothing(
        self, cast: Cast, required: Connection
    ) -> None:
        with pytest.raises(Forbidden, match="requires its own sign-in"):
            AccountAdapter(RequestFactory().get("/")).set_password(cast.bob, NEW_PASSWORD)


class OwnAccountTests:
    CHANGE = "/accounts/password/change/"

    def test_the_password_is_not_changed(self, cast: Cast, required: Connection) -> None:
        browser = by_sso(cast.bob, required)
        form = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
        assert leads_to(browser.get(self.CHANGE), required)
        assert leads_to(browser.post(self.CHANGE, form), required)
        cast.bob.refresh_from_db()
        assert cast.bob.check_password(PASSWORD)

    def test_that_of_emergencies_is(self, cast: Cast, required: Connection) -> None:
        browser = by_sso(cast.alice, required)
        form = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
        assert browser.post(self.CHANGE, form).status_code == 302
        cast.alice.refresh_from_db()
        assert cast.alice.check_password(NEW_PASSWORD)

    @pytest.mark.parametrize("who", ["bob", "alice"])
    def test_nobody_leaves_the_domain_by_changing_the_address(
        self, cast: Cast, required: Connection, who: str
    ) -> None:
        browser = by_sso(getattr(cast, who), required)
        form = {"email": "free@elsewhere.example", "action_add": "1"}
        assert leads_to(browser.post("/accounts/email/", form), required)
        assert not EmailAddress.objects.filter(email="free@elsewhere.example").exists()

    def test_nobody_takes_an_address_of_the_domain(self, cast: Cast, required: Connection) -> None:
        form = {"email": "boss@example.com", "action_add": "1"}
        answer = Browser(cast.charlie).post("/accounts/email/", form)
        assert b"whose people sign in" in answer.content
        assert not EmailAddress.objects.filter(email="boss@example.com").exists()

    @pytest.mark.parametrize(
        ("who", "address"),
        [("charlie", "boss@example.com"), ("bob", "free@elsewhere.example")],
        ids=["into", "out of"],
    )
    def test_links_of_before_prove_no_address(self, cast: Cast, who: str, address: str) -> None:
        user: User = getattr(cast, who)
        Browser(user).post("/accounts/email/", {"email": address, "action_add": "1"})
        link = link_in(received(address)[-1])
        connection = make_required(cast.organization, cast.alice)
        browser = Browser()
        assert leads_to(browser.get(link), connection)
        assert leads_to(browser.post(link), connection)
        user.refresh_from_db()
        assert user.email != address

    def test_an_address_is_not_confirmed_by_any_caller(
        self, cast: Cast, required: Connection
    ) -> None:
        request = RequestFactory().get("/")
        row = EmailAddress.objects.create(user=cast.charlie, email="boss@example.com")
        assert not AccountAdapter(request).confirm_email(request, row)
        row.refresh_from_db()
        assert not row.verified

    def test_the_security_page_says_how_the_person_signs_in(
        self, cast: Cast, required: Connection
    ) -> None:
        page = by_sso(cast.bob, required).get("/accounts/").content
        assert b"you sign in through Acme" in page
        assert b"Lets you in nowhere" in page
        assert b"For emergencies" in by_sso(cast.alice, required).get("/accounts/").content


class ReauthenticationTests:
    PAGE = "/accounts/reauthenticate/?next=/accounts/2fa/"

    def test_people_of_the_domain_prove_it_there(self, cast: Cast, required: Connection) -> None:
        answer = by_sso(cast.bob, required).get(self.PAGE)
        entrance = f"/sso/organizations/{cast.organization.pk}/?next=%2Faccounts%2F2fa%2F&fresh=1"
        assert answer["Location"] == entrance

    def test_so_do_people_without_a_password(self, cast: Cast) -> None:
        connection = make_connection(cast.organization, domains=["example.com"])
        User.objects.filter(pk=cast.bob.pk).update(password=make_password(None))
        cast.bob.refresh_from_db()
        answer = by_sso(cast.bob, connection).get(self.PAGE)
        assert answer["Location"].startswith(f"/sso/organizations/{cast.organization.pk}/")

    def test_others_show_their_password_as_before(self, cast: Cast) -> None:
        connection = make_connection(cast.organization, domains=["example.com"])
        assert by_sso(cast.bob, connection).get(self.PAGE).status_code == 200
        assert Browser(cast.charlie).get(self.PAGE).status_code == 200


class SecondFactorTests:
    def step(self, user: User, connection: Connection, *, mfa: bool) -> bool:
        """Whether a sign-in by the connection is asked for the second factor."""
        request = RequestFactory().get("/")
        browser = by_sso(user, connection, mfa=mfa)
        request.session = browser.session
        controller = LoginStageController(request, Login(user=user))
        stage = controller.get_stage("mfa_authenticate")
        assert stage is not None
        return bool(stage.handle()[0])

    @pytest.mark.parametrize("mfa", [False, True])
    def test_it_is_left_to_an_identity_provider_that_is_trusted_with_it(
        self, cast: Cast, *, mfa: bool
    ) -> None:
        connection = make_connection(cast.organization, domains=["example.com"])
        give_factor(cast.bob)
        assert self.step(cast.bob, connection, mfa=mfa) is not mfa

    def test_not_where_the_person_belongs_to_another_organization(self, cast: Cast) -> None:
        connection = make_connection(cast.organization, domains=["example.com"])
        give_factor(cast.bob)
        cast.bob.memberships.create(organization=cast.other_organization)
        assert self.step(cast.bob, connection, mfa=True)

    def test_a_password_asks_for_it_as_before(self, cast: Cast) -> None:
        set_up_app(Browser(cast.bob))
        assert Browser().sign_in("bob@example.com")["Location"] == AUTHENTICATE


def test_a_ready_connection_alone_refuses_nobody(cast: Cast) -> None:
    make_ready(cast.organization, cast.alice)
    assert Browser().sign_in("bob@example.com").status_code == 302


class HomeTests:
    def test_it_leads_into_an_organization_that_bars(
        self, cast: Cast, required: Connection
    ) -> None:
        page = Browser(cast.bob).get("/").content.decode()
        assert f'href="/sso/organizations/{cast.organization.pk}/"' in page
        assert "Sign in through Acme" in page


class RequiredWayTests:
    """The sign-in that remains, from the refused password to the page that was wanted."""

    def test_the_link_of_the_refusal_lets_in(self, cast: Cast, required: Connection) -> None:
        wanted = f"/organizations/{cast.organization.pk}/"
        browser = Browser()
        page = browser.sign_in("bob@example.com", next=wanted).content.decode()
        (link,) = re.findall(r'href="(/sso/[^"]+/login[^"]*)"', page)
        _, row = leave(browser, link)
        answer = browser.get(answered(browser, required, row, email="bob@example.com"))
        assert answer["Location"] == wanted
        assert browser.get(wanted).status_code == 200

    def test_the_invited_come_back_to_their_invitation(
        self, cast: Cast, required: Connection
    ) -> None:
        create_invitation(
            actor=SYSTEM,
            organization_id=cast.other_organization.pk,
            email="dora@example.com",
            roles=[InvitedRole(Role.ORG_MEMBER.value, ResourceType.ORGANIZATION)],
        )
        (path,) = re.findall(r"(/invitations/\S+)", str(received("dora@example.com")[-1].body))
        browser = Browser()
        invitation = browser.get(path)["Location"]
        (link,) = re.findall(
            r'href="(/sso/[^"]+/login[^"]*)"', browser.get(invitation).content.decode()
        )
        _, row = leave(browser, link)
        answer = browser.get(answered(browser, required, row, email="dora@example.com"))
        assert answer["Location"] == invitation
        browser.post(invitation)
        assert cast.other_organization.memberships.filter(user__email="dora@example.com").exists()

    @pytest.mark.parametrize("trusted", [False, True])
    def test_the_second_factor_is_asked_for_unless_the_identity_provider_is_trusted(
        self, cast: Cast, required: Connection, *, trusted: bool
    ) -> None:
        Connection.objects.update(trusts_idp_mfa=trusted)
        required.refresh_from_db()
        give_factor(cast.bob)
        browser = Browser()
        answer = sign_in(browser, required, "bob@example.com")
        assert (answer["Location"] == AUTHENTICATE) is not trusted
        assert is_signed_in(browser) is trusted
        if not trusted:
            browser.post(AUTHENTICATE, {"code": code(SECRET)})
            assert is_signed_in(browser)
            wanted = f"/organizations/{cast.organization.pk}/"
            assert browser.get(wanted).status_code == 200

    def test_a_fresh_proof_is_given_at_the_identity_provider(
        self, cast: Cast, required: Connection
    ) -> None:
        browser = Browser()
        sign_in(browser, required, "bob@example.com")
        session = browser.session
        for proof in session["account_authentication_methods"]:
            proof["at"] -= 3600
        session.save()
        page = "/accounts/2fa/totp/activate/"
        asked = browser.get(page)["Location"]
        answer = browser.get(asked)
        assert answer["Location"].startswith(f"/sso/organizations/{cast.organization.pk}/")
        _, row = leave(browser, answer["Location"])
        done = browser.get(answered(browser, required, row, email="bob@example.com"))
        assert done["Location"] == page
        assert browser.get(page).status_code == 200

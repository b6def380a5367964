"""Who an identity provider may speak for: the people of its own organization's domains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.utils import timezone

from audit.models import AuditEvent
from orgs.models import Membership, Organization, SecurityBaseline, User
from sso.models import Connection, Domain, Identity
from tests.factories import make_member, make_organization, make_user
from tests.orgs.accounts import is_signed_in, received
from tests.pages import Browser
from tests.sso import idp
from tests.sso.signing_in import (
    answered,
    code_on,
    confirm,
    enter,
    leave,
    post_answer,
    ready_connection,
    sign_in,
)

ADA = "ada@acme.example"
MALLORY = "mallory@umbrella.example"


@dataclass(frozen=True)
class Two:
    """Two organizations, each with an identity provider and a key of its own."""

    acme: Connection
    umbrella: Connection
    ada: User

    @property
    def signer(self) -> idp.Pair:
        """What Umbrella's identity provider signs with."""
        return idp.pair("umbrella")


@pytest.fixture
def two(db: None) -> Two:
    """Ada belongs to Acme, which owns her address's domain, and has signed in there."""
    acme = ready_connection(make_organization(name="Acme"), "acme.example")
    umbrella = ready_connection(
        make_organization(name="Umbrella"), "umbrella.example", signer=idp.pair("umbrella")
    )
    sign_in(Browser(), acme, ADA)
    return Two(acme, umbrella, User.objects.get(email=ADA))


def opened(browser: Browser) -> str:
    """Who is signed in; empty: nobody."""
    page = browser.get("/accounts/")
    return str(page.context["user"].email) if page.status_code == 200 else ""


class AnotherOrganizationTests:
    """Nothing that Umbrella's identity provider says signs anyone into Acme."""

    def test_the_same_address(self, two: Two) -> None:
        browser = Browser()
        answer = sign_in(browser, two.umbrella, ADA, signer=two.signer)
        assert code_on(answer) == "sso_domain_not_owned"
        assert not is_signed_in(browser)
        assert not two.ada.memberships.filter(organization=two.umbrella.organization).exists()

    def test_the_same_lasting_id(self, two: Two) -> None:
        browser = Browser()
        sign_in(browser, two.umbrella, MALLORY, name_id=ADA, signer=two.signer)
        assert opened(browser) == MALLORY
        assert browser.get(f"/organizations/{two.acme.organization_id}/").status_code == 404

    def test_the_same_lasting_id_and_address(self, two: Two) -> None:
        browser = Browser()
        answer = sign_in(browser, two.umbrella, ADA, name_id=ADA, signer=two.signer)
        assert code_on(answer) == "sso_domain_not_owned"

    def test_a_member_of_both_is_not_signed_in_by_the_other(self, two: Two) -> None:
        Membership.objects.create(user=two.ada, organization=two.umbrella.organization)
        browser = Browser()
        answer = sign_in(browser, two.umbrella, ADA, signer=two.signer)
        assert code_on(answer) == "sso_domain_not_owned"
        assert not is_signed_in(browser)

    def test_a_claim_on_the_domain_is_nothing_without_proof(self, two: Two) -> None:
        Domain.objects.create(
            organization=two.umbrella.organization,
            connection=two.umbrella,
            name="acme.example",
            token="t",
        )
        browser = Browser()
        answer = sign_in(browser, two.umbrella, ADA, signer=two.signer)
        assert code_on(answer) == "sso_domain_not_owned"

    @pytest.mark.parametrize(
        "email",
        [
            "ada@sub.umbrella.example",
            "ada@umbrella.example.acme.example",
            "ada@xumbrella.example",
        ],
    )
    def test_the_domain_has_to_be_the_same_to_the_letter(self, two: Two, email: str) -> None:
        answer = sign_in(Browser(), two.umbrella, email, signer=two.signer)
        assert code_on(answer) == "sso_domain_not_owned"

    def test_its_answer_at_the_address_of_the_other(self, two: Two) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{two.acme.pk}/login")
        raw = idp.make_response(two.acme, row.request_id, email=ADA, signer=two.signer)
        assert code_on(post_answer(browser, two.acme, raw)) == "sso_signature"

    def test_its_answer_to_the_request_of_the_other(self, two: Two) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{two.acme.pk}/login")
        raw = idp.make_response(two.umbrella, row.request_id, email=ADA, signer=two.signer)
        assert code_on(post_answer(browser, two.umbrella, raw)) == "sso_unsolicited"
        assert code_on(post_answer(browser, two.acme, raw)) in {"sso_issuer", "sso_signature"}

    def test_its_result_at_the_address_of_the_other(self, two: Two) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{two.umbrella.pk}/login")
        page = answered(browser, two.umbrella, row, email=MALLORY, signer=two.signer)
        swapped = page.replace(str(two.umbrella.pk), str(two.acme.pk))
        assert code_on(browser.get(swapped)) == "sso_request_over"
        assert not is_signed_in(browser)
        assert browser.get(page).status_code == 302

    def test_renaming_its_own_person_to_the_address_of_the_other(self, two: Two) -> None:
        sign_in(
            Browser(),
            two.umbrella,
            MALLORY,
            name_id="m",
            name_id_format=idp.PERSISTENT,
            signer=two.signer,
        )
        browser = Browser()
        answer = sign_in(
            browser,
            two.umbrella,
            ADA,
            name_id="m",
            name_id_format=idp.PERSISTENT,
            signer=two.signer,
        )
        assert code_on(answer) == "sso_domain_not_owned"
        assert User.objects.filter(email=MALLORY).exists()

    def test_whose_address_moved_to_the_other_domain_is_the_others(self, two: Two) -> None:
        sign_in(Browser(), two.umbrella, MALLORY, signer=two.signer)
        User.objects.filter(email=MALLORY).update(email="mallory@acme.example")
        browser = Browser()
        answer = sign_in(browser, two.umbrella, MALLORY, signer=two.signer)
        assert code_on(answer) == "sso_domain_not_owned"
        assert not is_signed_in(browser)

    def test_a_domain_that_lapsed_opens_nothing_any_more(self, two: Two) -> None:
        Domain.objects.filter(name="acme.example").update(verified_at=None)
        browser = Browser()
        assert code_on(sign_in(browser, two.acme, ADA)) == "sso_domain_not_owned"
        assert not is_signed_in(browser)


class ExistingAccountTests:
    def test_an_account_of_the_domain_is_linked_and_told(self, two: Two) -> None:
        bea = make_user("bea@acme.example")
        browser = Browser()
        sign_in(browser, two.acme, bea.email)
        assert opened(browser) == bea.email
        assert Identity.objects.get(user=bea).opens_sessions
        assert AuditEvent.objects.filter(
            type="sso_identity.linked", resource_id=str(bea.pk)
        ).exists()
        (message,) = received(bea.email)
        assert "linked to Acme" in message.subject

    def test_an_address_that_nobody_proved_is_not_linked(self, two: Two) -> None:
        bea = make_user("bea@acme.example")
        EmailAddress.objects.filter(user=bea).update(verified=False)
        assert code_on(sign_in(Browser(), two.acme, bea.email)) == "sso_identity_conflict"

    def test_only_by_the_connection_that_the_domain_belongs_to(self, two: Two) -> None:
        second = ready_connection(two.acme.organization, signer=idp.pair("second"))
        bea = make_user("bea@acme.example")
        answer = sign_in(Browser(), second, bea.email, signer=idp.pair("second"))
        assert code_on(answer) == "sso_domain_not_owned"


class EnteringTests:
    """Signed in by one organization, let into another one."""

    @pytest.fixture
    def guest(self, two: Two) -> User:
        """A member of Acme whose address is none of Acme's."""
        return make_member(two.acme.organization, "guest@elsewhere.example")

    @pytest.fixture
    def required(self, two: Two) -> Organization:
        """Acme, which lets nobody in without its single sign-on."""
        SecurityBaseline.objects.create(organization=two.acme.organization, sso_required=True)
        Connection.objects.filter(pk=two.acme.pk).update(state="enforced")
        return two.acme.organization

    def test_a_member_is_led_there_and_back(
        self, two: Two, guest: User, required: Organization
    ) -> None:
        browser = Browser(guest)
        page = f"/organizations/{required.pk}/"
        sent = browser.get(page)
        assert sent["Location"] == f"/sso/organizations/{required.pk}/?next=" + page.replace(
            "/", "%2F"
        )
        _, row = leave(browser, sent["Location"])
        result = answered(browser, two.acme, row, email="guest@idp.example")
        asked = browser.get(result)
        assert "guest@idp.example" in asked.content.decode()
        assert guest.email in asked.content.decode()
        done = confirm(browser, asked, result)
        assert done["Location"] == page
        assert browser.get(page).status_code == 200
        identity = Identity.objects.get(user=guest)
        assert not identity.opens_sessions
        assert "ends" not in browser.session

    def test_once_linked_nobody_is_asked_again(self, two: Two, guest: User) -> None:
        Identity.objects.create(connection=two.acme, user=guest, uid="g", opens_sessions=False)
        browser = Browser(guest)
        answer = enter(
            browser, two.acme, "g@idp.example", name_id="g", name_id_format=idp.PERSISTENT
        )
        assert answer["Location"] == "/accounts/"

    def test_a_guest_is_never_signed_in_by_it(self, two: Two, guest: User) -> None:
        Identity.objects.create(connection=two.acme, user=guest, uid="g", opens_sessions=False)
        browser = Browser()
        answer = sign_in(browser, two.acme, guest.email, name_id="g", name_id_format=idp.PERSISTENT)
        assert code_on(answer) == "sso_domain_not_owned"
        assert not is_signed_in(browser)

    def test_a_guest_of_a_domain_that_is_proven_later_is(self, two: Two, guest: User) -> None:
        Identity.objects.create(connection=two.acme, user=guest, uid="g", opens_sessions=False)
        Domain.objects.create(
            organization=two.acme.organization,
            connection=two.acme,
            name="elsewhere.example",
            token="e",
            verified_at=timezone.now(),
        )
        browser = Browser()
        sign_in(browser, two.acme, guest.email, name_id="g", name_id_format=idp.PERSISTENT)
        assert opened(browser) == guest.email

    def test_who_comes_back_as_somebody_known_gets_nothing(self, two: Two, guest: User) -> None:
        browser = Browser(guest)
        answer = enter(browser, two.acme, ADA)
        assert code_on(answer) == "sso_other_person"
        assert not Identity.objects.filter(user=guest).exists()

    def test_who_comes_back_with_the_address_of_an_account_gets_nothing(
        self, two: Two, guest: User
    ) -> None:
        bea = make_user("bea@acme.example")
        assert code_on(enter(Browser(guest), two.acme, bea.email)) == "sso_other_person"

    def test_a_person_of_the_domain_comes_back_with_their_own_address(self, two: Two) -> None:
        bea = make_member(two.acme.organization, "bea@acme.example")
        answer = enter(Browser(bea), two.acme, "new@acme.example")
        assert code_on(answer) == "sso_other_person"

    def test_another_person_at_the_browser_meanwhile(self, two: Two, guest: User) -> None:
        browser = Browser(guest)
        _, row = leave(browser, f"/sso/organizations/{two.acme.organization_id}/")
        result = answered(browser, two.acme, row, email="guest@idp.example")
        browser.force_login(make_user())
        assert code_on(browser.get(result)) == "sso_other_person"

    def test_it_is_404_for_everybody_else(self, two: Two) -> None:
        path = f"/sso/organizations/{two.acme.organization_id}/"
        assert Browser(make_user()).get(path).status_code == 404
        assert (
            Browser(two.ada).get(f"/sso/organizations/{two.umbrella.organization_id}/").status_code
            == 404
        )
        assert Browser().get(path)["Location"].startswith("/accounts/login/")

    def test_the_grant_of_one_organization_opens_no_other(
        self, two: Two, required: Organization
    ) -> None:
        eve = make_member(two.umbrella.organization, "eve@elsewhere.example")
        Membership.objects.create(user=eve, organization=required)
        Identity.objects.create(connection=two.umbrella, user=eve, uid="e", opens_sessions=False)
        browser = Browser(eve)
        enter(
            browser,
            two.umbrella,
            "e@idp.example",
            name_id="e",
            name_id_format=idp.PERSISTENT,
            signer=two.signer,
        )
        assert browser.get(f"/organizations/{two.umbrella.organization_id}/").status_code == 200
        assert browser.get(f"/organizations/{required.pk}/").status_code in {302, 404}

    def test_a_strangers_identity_provider_proves_nothing_anew(self, two: Two, guest: User) -> None:
        Identity.objects.create(connection=two.acme, user=guest, uid="g", opens_sessions=False)
        browser = Browser(guest)
        browser.prove(guest, seconds_ago=4000)
        before = browser.session["account_authentication_methods"][0]["at"]
        _, row = leave(browser, f"/sso/organizations/{two.acme.organization_id}/?fresh=1")
        assert row.is_forced
        browser.get(answered(browser, two.acme, row, name_id="g", name_id_format=idp.PERSISTENT))
        times = [each["at"] for each in browser.session["account_authentication_methods"]]
        assert times == [before, before]

    @pytest.mark.parametrize(("query", "is_proof"), [("?fresh=1", True), ("", False)])
    def test_ones_own_proves_anew_when_it_was_asked_to(
        self, two: Two, query: str, is_proof: bool
    ) -> None:
        browser = Browser()
        sign_in(browser, two.acme, ADA)
        session = browser.session
        (proof,) = session["account_authentication_methods"]
        proof["at"] -= 4000
        old = proof["at"]
        session.save()
        _, row = leave(browser, f"/sso/organizations/{two.acme.organization_id}/{query}")
        browser.get(answered(browser, two.acme, row, email=ADA))
        (proof,) = browser.session["account_authentication_methods"]
        assert (proof["at"] > old) is is_proof
        assert proof["opened"]

    def test_an_earlier_proof_is_none(self, two: Two) -> None:
        browser = Browser()
        sign_in(browser, two.acme, ADA)
        before = browser.session["account_authentication_methods"]
        _, row = leave(browser, f"/sso/organizations/{two.acme.organization_id}/?fresh=1")
        raw = idp.make_response(
            two.acme, row.request_id, email=ADA, proven_ago=timedelta(minutes=10)
        )
        refused = browser.post(f"/sso/{two.acme.pk}/acs", {"SAMLResponse": raw})
        assert refused.status_code == 403
        assert b"sso_expired" in refused.content
        assert browser.session["account_authentication_methods"] == before

    def test_of_several_connections_the_person_chooses(self, two: Two, guest: User) -> None:
        second = ready_connection(two.acme.organization, name="Second")
        path = f"/sso/organizations/{two.acme.organization_id}/"
        page = Browser(guest).get(f"{path}?next=/accounts/")
        assert page.status_code == 200
        assert f"?connection={second.pk}&amp;next=%2Faccounts%2F" in page.content.decode()
        _, row = leave(Browser(guest), f"{path}?connection={second.pk}&next=/accounts/")
        assert (row.connection, row.next_path) == (second, "/accounts/")

    def test_of_several_connections_that_of_the_domain_is_taken(self, two: Two) -> None:
        ready_connection(two.acme.organization, name="Second")
        bea = make_member(two.acme.organization, "bea@acme.example")
        _, row = leave(Browser(bea), f"/sso/organizations/{two.acme.organization_id}/")
        assert row.connection == two.acme

    def test_a_suspended_place_stays_closed(self, two: Two, guest: User) -> None:
        Identity.objects.create(connection=two.acme, user=guest, uid="g", opens_sessions=False)
        Membership.objects.filter(user=guest).update(suspended_at=timezone.now())
        answer = enter(
            Browser(guest), two.acme, "g@idp.example", name_id="g", name_id_format=idp.PERSISTENT
        )
        assert code_on(answer) == "sso_suspended"

    def test_sessions_are_not_multiplied(self, two: Two, guest: User) -> None:
        Identity.objects.create(connection=two.acme, user=guest, uid="g", opens_sessions=False)
        browser = Browser(guest)
        for _ in range(2):
            enter(browser, two.acme, "g@idp.example", name_id="g", name_id_format=idp.PERSISTENT)
        assert len(browser.session["account_authentication_methods"]) == 2
        assert Session.objects.filter(session_key=browser.session.session_key).count() == 1

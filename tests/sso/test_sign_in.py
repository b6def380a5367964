from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.mfa.totp.internal import auth as totp_auth
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from audit.models import AuditEvent
from orgs.models import (
    Invitation,
    Membership,
    Organization,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.services.invitations import InvitedRole, create_invitation
from sso.errors import PUBLIC_TEXTS, Code
from sso.models import Attempt, Connection, Identity, SignInRequest, SsoSession, UsedAssertion
from tests.cast import Cast
from tests.factories import make_organization, make_user
from tests.orgs.accounts import Clock, code, is_signed_in, set_up_app
from tests.orgs.racing import at_once
from tests.pages import Browser
from tests.sso import idp
from tests.sso.signing_in import (
    answered,
    code_on,
    enter,
    leave,
    post_answer,
    ready_connection,
    saml_request_in,
    sign_in,
)

DOMAIN = "acme.example"
ADA = "ada@acme.example"


@pytest.fixture
def acme(cast: Cast) -> Connection:
    """Acme's connection."""
    return ready_connection(cast.organization, DOMAIN)


class FirstSignInTests:
    def test_makes_account_place_and_default_role(self, acme: Connection) -> None:
        browser = Browser()
        answer = sign_in(browser, acme, ADA, next_path="/accounts/", display_name="Ada L.")
        assert (answer.status_code, answer["Location"]) == (302, "/accounts/")
        user = User.objects.get(email=ADA)
        assert not user.has_usable_password()
        assert Membership.objects.filter(user=user, organization=acme.organization).exists()
        roles = RoleBinding.objects.filter(principal_id=user.pk).values_list("role", flat=True)
        assert list(roles) == ["OrgMember"]
        assert is_signed_in(browser)
        (identity,) = Identity.objects.all()
        assert (identity.user, identity.opens_sessions) == (user, True)

    def test_is_in_the_trail_and_in_the_log(self, acme: Connection) -> None:
        sign_in(Browser(ip="203.0.113.9"), acme, ADA)
        user = User.objects.get(email=ADA)
        kinds = set(
            AuditEvent.objects.filter(resource_id=str(user.pk)).values_list("type", flat=True)
        )
        assert {"user.created", "member.added", "sso_identity.linked", "user.signed_in"} <= kinds
        event = AuditEvent.objects.get(type="user.signed_in")
        assert event.detail["kind"] == "sso"
        (attempt,) = Attempt.objects.all()
        assert (attempt.code, attempt.email, attempt.user) == ("ok", ADA, user)
        assert attempt.attributes == {"email": 1}
        assert attempt.ip == "203.0.113.9"

    def test_an_open_invitation_gives_its_roles(self, cast: Cast, acme: Connection) -> None:
        acme.provisions_people = False
        acme.save()
        create_invitation(
            actor=cast.actor(cast.alice),
            organization_id=cast.organization.pk,
            email=ADA,
            roles=[
                InvitedRole("OrgMember", ResourceType.ORGANIZATION),
                InvitedRole("ProjectViewer", ResourceType.PROJECT, cast.project.pk),
            ],
        )
        sign_in(Browser(), acme, ADA)
        user = User.objects.get(email=ADA)
        roles = RoleBinding.objects.filter(principal_id=user.pk).values_list("role", flat=True)
        assert set(roles) == {"OrgMember", "ProjectViewer"}
        assert Invitation.objects.get().processed_at is not None

    def test_nobody_is_made_where_the_connection_makes_nobody(self, acme: Connection) -> None:
        acme.provisions_people = False
        acme.save()
        browser = Browser()
        answer = sign_in(browser, acme, ADA)
        assert (answer.status_code, code_on(answer)) == (403, "sso_not_provisioned")
        assert not User.objects.filter(email=ADA).exists()
        assert not is_signed_in(browser)
        event = AuditEvent.objects.get(type="sso.refused")
        assert (event.outcome, event.detail["code"]) == ("failure", "sso_not_provisioned")

    def test_takes_a_seat_or_is_refused(self, acme: Connection) -> None:
        Organization.objects.filter(pk=acme.organization_id).update(overrides={"max_members": 2})
        answer = sign_in(Browser(), acme, ADA)
        assert code_on(answer) == "sso_no_seat"
        assert not User.objects.filter(email=ADA).exists()

    def test_two_browsers_make_one_person(self, acme: Connection) -> None:
        browsers = [Browser(), Browser()]
        pages = []
        for browser in browsers:
            _, row = leave(browser, f"/sso/{acme.pk}/login")
            pages.append(answered(browser, acme, row))
        first, second = (browser.get(page) for browser, page in zip(browsers, pages, strict=True))
        assert (first.status_code, second.status_code) == (302, 302)
        assert User.objects.filter(email=ADA).count() == Identity.objects.count() == 1


class LaterSignInTests:
    def test_finds_the_person_by_the_lasting_id(self, acme: Connection) -> None:
        sign_in(Browser(), acme, ADA, name_id="ada-1", name_id_format=idp.PERSISTENT)
        browser = Browser()
        sign_in(browser, acme, ADA, name_id="ada-1", name_id_format=idp.PERSISTENT)
        assert is_signed_in(browser)
        assert Identity.objects.count() == 1

    def test_a_new_address_in_the_same_domain_is_followed(self, acme: Connection) -> None:
        persistent = {"name_id": "ada-1", "name_id_format": idp.PERSISTENT}
        sign_in(Browser(), acme, ADA, **persistent)
        sign_in(Browser(), acme, "ada.king@acme.example", **persistent)
        assert User.objects.filter(email="ada.king@acme.example").exists()
        assert not User.objects.filter(email=ADA).exists()
        assert AuditEvent.objects.filter(type="email.changed").exists()

    def test_an_address_that_somebody_has_is_not_followed(self, acme: Connection) -> None:
        persistent = {"name_id": "ada-1", "name_id_format": idp.PERSISTENT}
        sign_in(Browser(), acme, ADA, **persistent)
        make_user("bea@acme.example")
        browser = Browser()
        sign_in(browser, acme, "bea@acme.example", **persistent)
        assert browser.get("/accounts/").context["user"].email == ADA

    def test_another_id_with_the_same_address_is_a_conflict(self, acme: Connection) -> None:
        sign_in(Browser(), acme, ADA, name_id="ada-1", name_id_format=idp.PERSISTENT)
        browser = Browser()
        answer = sign_in(browser, acme, ADA, name_id="ada-2", name_id_format=idp.PERSISTENT)
        assert code_on(answer) == "sso_identity_conflict"
        assert not is_signed_in(browser)

    def test_a_suspended_place_lets_nobody_in(self, acme: Connection) -> None:
        sign_in(Browser(), acme, ADA)
        Membership.objects.filter(user__email=ADA).update(suspended_at=timezone.now())
        browser = Browser()
        assert code_on(sign_in(browser, acme, ADA)) == "sso_suspended"
        assert not is_signed_in(browser)

    def test_an_account_that_is_switched_off_lets_nobody_in(self, acme: Connection) -> None:
        sign_in(Browser(), acme, ADA)
        User.objects.filter(email=ADA).update(is_active=False)
        browser = Browser()
        assert code_on(sign_in(browser, acme, ADA)) == "sso_suspended"
        assert not is_signed_in(browser)

    def test_who_was_removed_does_not_come_back_where_nobody_is_made(
        self, acme: Connection
    ) -> None:
        sign_in(Browser(), acme, ADA)
        Membership.objects.filter(user__email=ADA).delete()
        Connection.objects.update(provisions_people=False)
        assert code_on(sign_in(Browser(), acme, ADA)) == "sso_not_provisioned"

    def test_the_session_of_somebody_else_ends_first(self, cast: Cast, acme: Connection) -> None:
        browser = Browser(cast.bob)
        old = browser.session.session_key
        sign_in(browser, acme, ADA)
        assert browser.get("/accounts/").context["user"].email == ADA
        assert browser.session.session_key != old
        assert not Session.objects.filter(session_key=old).exists()


class NoRoleTests:
    @pytest.mark.parametrize("way", ["login", "enter"])
    def test_who_has_none_at_the_identity_provider_loses_those_from_before(
        self, cast: Cast, way: str
    ) -> None:
        acme = ready_connection(
            cast.organization,
            DOMAIN,
            roles_mode=Connection.RolesMode.EXACT,
            role_mappings=[{"value": "managers", "role": "OrgManager", "project_id": None}],
        )
        browser = Browser()
        sign_in(browser, acme, groups=["managers"])
        ada = User.objects.get(email=ADA)

        def roles() -> set[str]:
            return set(
                RoleBinding.objects.filter(principal_id=ada.pk).values_list("role", flat=True)
            )

        assert roles() == {"OrgManager"}
        come = sign_in if way == "login" else enter
        assert code_on(come(browser, acme, ADA, groups=["cooks"])) == Code.NO_ROLES
        assert roles() == {"OrgMember"}

    def test_nobody_is_made_for_it(self, cast: Cast) -> None:
        acme = ready_connection(cast.organization, DOMAIN, roles_mode=Connection.RolesMode.EXACT)
        assert code_on(sign_in(Browser(), acme)) == Code.NO_ROLES
        assert not User.objects.filter(email=ADA).exists()
        assert not Identity.objects.exists()


class SecondFactorTests:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        stopped = Clock()
        monkeypatch.setattr(totp_auth, "yield_hotp_counters_from_time", stopped.counters)
        return stopped

    def test_is_asked_for_and_then_the_session_is_bound(
        self, acme: Connection, clock: Clock
    ) -> None:
        first = Browser()
        sign_in(first, acme, ADA)
        secret = set_up_app(first)
        browser = Browser()
        answer = sign_in(browser, acme, ADA, next_path="/accounts/", session_index="_2")
        assert answer["Location"] == "/accounts/2fa/authenticate/"
        assert not is_signed_in(browser)
        assert not SsoSession.objects.filter(session_index="_2").exists()
        clock.steps += 1
        proof = {"code": code(secret, steps=clock.steps)}
        done = browser.post("/accounts/2fa/authenticate/", proof)
        assert done["Location"] == "/accounts/"
        assert is_signed_in(browser)
        assert browser.session["ends"] > timezone.now().timestamp()
        bound = SsoSession.objects.get(session_index="_2")
        assert bound.session_key == browser.session.session_key

    @pytest.mark.parametrize("change", ["switched off", "deleted", "unlinked"])
    def test_opens_nothing_where_the_connection_is_gone_meanwhile(
        self, acme: Connection, clock: Clock, change: str
    ) -> None:
        first = Browser()
        sign_in(first, acme, ADA)
        secret = set_up_app(first)
        browser = Browser()
        sign_in(browser, acme, ADA)
        if change == "switched off":
            Connection.objects.update(state="disabled")
        elif change == "deleted":
            acme.delete()
        else:
            Identity.objects.all().delete()
        clock.steps += 1
        proof = {"code": code(secret, steps=clock.steps)}
        answer = browser.post("/accounts/2fa/authenticate/", proof)
        assert answer["Location"] == "/accounts/login/"
        assert not is_signed_in(browser)
        assert b"Start over" in browser.get("/accounts/login/").content

    def test_is_not_where_the_only_organization_trusts_its_provider_with_it(
        self, acme: Connection
    ) -> None:
        first = Browser()
        sign_in(first, acme, ADA)
        set_up_app(first)
        Connection.objects.update(trusts_idp_mfa=True)
        browser = Browser()
        sign_in(browser, acme, ADA)
        assert is_signed_in(browser)


class LifetimeTests:
    def test_lasts_as_long_as_the_organization_says(self, acme: Connection) -> None:
        browser = Browser()
        sign_in(browser, acme, ADA)
        left = browser.session["ends"] - timezone.now().timestamp()
        assert 23.9 * 3600 < left <= 24 * 3600

    def test_or_as_the_identity_provider_says_if_that_is_shorter(self, acme: Connection) -> None:
        browser = Browser()
        sign_in(browser, acme, ADA, session_lifetime=timedelta(minutes=20))
        left = browser.session["ends"] - timezone.now().timestamp()
        assert 19 * 60 < left <= 20 * 60
        session = browser.session
        session["ends"] = timezone.now().timestamp() - 1
        session.save()
        assert not is_signed_in(browser)

    def test_the_record_of_the_session_has_what_logout_needs(self, acme: Connection) -> None:
        browser = Browser()
        sign_in(browser, acme, ADA, session_index="_here")
        row = SsoSession.objects.get()
        assert (row.name_id, row.session_index) == (ADA, "_here")
        assert row.session_key == browser.session.session_key


class BrowserTests:
    def test_leaves_with_a_request_and_a_cookie_for_this_host_alone(self, acme: Connection) -> None:
        answer, row = leave(Browser(), f"/sso/{acme.pk}/login?hint={ADA}")
        assert answer["Location"].startswith(acme.sso_url)
        sent = saml_request_in(answer["Location"])
        assert {"SAMLRequest", "RelayState", "SigAlg", "Signature"} <= set(sent)
        assert "/" not in sent["RelayState"][0]
        (cookie,) = (each for name, each in answer.cookies.items() if "-sso-" in name)
        assert cookie.key.startswith("__Host-")
        assert cookie["secure"]
        assert cookie["httponly"]
        assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Lax", "/", "")
        assert 0 < int(cookie["max-age"]) <= 600
        assert cookie.value not in row.browser_hash

    def test_many_that_were_begun_do_not_fill_the_browser(self, acme: Connection) -> None:
        browser = Browser()
        for _ in range(25):
            leave(browser, f"/sso/{acme.pk}/login")
        kept = [each for name, each in browser.cookies.items() if "-sso-" in name and each.value]
        assert len(kept) <= 11

    def test_another_browser_gets_nothing_and_the_right_one_still_does(
        self, acme: Connection
    ) -> None:
        browser, thief = Browser(), Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        page = answered(browser, acme, row)
        leave(thief, f"/sso/{acme.pk}/login")
        assert code_on(thief.get(page)) == "sso_other_browser"
        assert not is_signed_in(thief)
        assert browser.get(page).status_code == 302
        assert is_signed_in(browser)

    def test_the_answer_alone_touches_no_session(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        before = Session.objects.count()
        answer = post_answer(browser, acme, idp.make_response(acme, row.request_id))
        assert "__Host-tamarack-session" not in answer.cookies
        assert Session.objects.count() == before
        assert not User.objects.filter(email=ADA).exists()

    def test_the_result_is_there_once(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        page = answered(browser, acme, row)
        browser.get(page)
        assert code_on(browser.get(page)) == "sso_request_over"
        row.refresh_from_db()
        assert row.answer is None

    def test_the_same_answer_again_is_a_replay(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        raw = idp.make_response(acme, row.request_id)
        assert post_answer(browser, acme, raw).status_code == 303
        again = post_answer(browser, acme, raw)
        assert (again.status_code, code_on(again)) == (403, "sso_replay")
        event = AuditEvent.objects.get(type="sso.refused")
        assert (event.detail["code"], event.detail["email"]) == ("sso_replay", ADA)

    def test_a_second_answer_to_one_request_is_refused(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        answered(browser, acme, row)
        other = post_answer(
            browser, acme, idp.make_response(acme, row.request_id, email="b@acme.example")
        )
        assert code_on(other) == "sso_request_over"

    @pytest.mark.parametrize("step", ["request", "result"])
    def test_too_late_is_too_late(self, acme: Connection, step: str) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        page = answered(browser, acme, row) if step == "result" else ""
        SignInRequest.objects.update(expires_at=timezone.now())
        answer = (
            browser.get(page)
            if page
            else post_answer(browser, acme, idp.make_response(acme, row.request_id))
        )
        assert code_on(answer) == "sso_request_over"
        assert not is_signed_in(browser)

    def test_what_changed_meanwhile_is_started_over(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        page = answered(browser, acme, row)
        Connection.objects.update(config_version=acme.config_version + 1)
        assert code_on(browser.get(page)) == "sso_request_over"

    @pytest.mark.parametrize(
        "wanted",
        ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "x"],
    )
    def test_leads_to_paths_of_this_site_only(self, acme: Connection, wanted: str) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login?next={wanted}")
        assert row.next_path == ""
        assert browser.get(answered(browser, acme, row))["Location"] == "/"

    def test_relay_state_leads_nowhere(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        raw = idp.make_response(acme, row.request_id)
        answer = post_answer(browser, acme, raw, RelayState="https://evil.example/")
        assert answer["Location"].startswith(f"/sso/{acme.pk}/finish/?handle=")
        assert browser.get(answer["Location"])["Location"] == "/"


@pytest.mark.django_db(transaction=True)
class AtOnceTests:
    def test_one_of_several_fetches_of_one_result_wins(self) -> None:
        acme = ready_connection(make_organization(), DOMAIN)
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        page = answered(browser, acme, row)
        statuses: list[int] = []

        def fetch() -> None:
            other = Browser()
            other.cookies.update(browser.cookies)
            statuses.append(other.get(page).status_code)

        at_once(fetch, fetch, fetch)
        assert sorted(statuses) == [302, 403, 403]
        assert Session.objects.count() == 1

    def test_one_of_several_posts_of_one_answer_wins(self) -> None:
        acme = ready_connection(make_organization(), DOMAIN)
        _, row = leave(Browser(), f"/sso/{acme.pk}/login")
        raw = idp.make_response(acme, row.request_id)
        statuses: list[int] = []

        def post() -> None:
            statuses.append(post_answer(Browser(), acme, raw).status_code)

        at_once(post, post, post)
        assert sorted(statuses) == [303, 403, 403]
        assert UsedAssertion.objects.count() == 1


class StateTests:
    @pytest.mark.parametrize("state", ["draft", "testing", "disabled"])
    def test_only_active_connections_sign_in(self, acme: Connection, state: str) -> None:
        Connection.objects.update(state=state)
        answer = Browser().get(f"/sso/{acme.pk}/login")
        assert (answer.status_code, code_on(answer)) == (403, "sso_not_active")

    def test_switched_off_meanwhile_is_off(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        page = answered(browser, acme, row)
        Connection.objects.update(state="disabled")
        assert code_on(browser.get(page)) == "sso_not_active"
        assert not is_signed_in(browser)

    def test_the_plan_has_to_include_it(self, acme: Connection) -> None:
        Organization.objects.update(overrides={"sso": False})
        assert code_on(Browser().get(f"/sso/{acme.pk}/login")) == "sso_not_entitled"

    def test_what_is_required_goes_on_without_the_plan(self, acme: Connection) -> None:
        Organization.objects.update(overrides={"sso": False})
        Connection.objects.update(state="enforced")
        browser = Browser()
        sign_in(browser, acme, ADA)
        assert is_signed_in(browser)

    @pytest.mark.parametrize("path", ["login", "finish/", "metadata"])
    def test_no_such_connection_is_404(self, db: None, path: str) -> None:
        nowhere = "00000000-0000-0000-0000-000000000000"
        assert Browser().get(f"/sso/{nowhere}/{path}").status_code == 404

    def test_metadata_is_public(self, acme: Connection) -> None:
        answer = Browser().get(f"/sso/{acme.pk}/metadata")
        assert answer.status_code == 200
        assert answer["Content-Type"] == "application/samlmetadata+xml"
        assert acme.acs_url in answer.content.decode()


class UnsolicitedTests:
    def test_nobody_comes_in_unasked(self, acme: Connection) -> None:
        answer = post_answer(Browser(), acme, idp.make_response(acme, None))
        assert code_on(answer) == "sso_unsolicited"

    def test_an_answer_to_nothing_of_ours_is_refused(self, acme: Connection) -> None:
        answer = post_answer(Browser(), acme, idp.make_response(acme, "_made-up"))
        assert code_on(answer) == "sso_unsolicited"

    def test_where_it_is_allowed_the_person_is_asked(self, acme: Connection) -> None:
        Connection.objects.update(allows_idp_initiated=True)
        browser = Browser(enforce_csrf_checks=True)
        answer = post_answer(browser, acme, idp.make_response(acme, None))
        page = browser.get(answer["Location"])
        assert "Continue as ada@acme.example?" in page.content.decode()
        assert not is_signed_in(browser)
        handle = answer["Location"].partition("handle=")[2]
        path = f"/sso/{acme.pk}/finish/"
        assert browser.post(path, {"handle": handle}).status_code == 403
        assert not is_signed_in(browser)
        token = page.content.decode().partition('name="csrfmiddlewaretoken" value="')[2][:64]
        said = browser.post(
            path,
            {"handle": handle, "csrfmiddlewaretoken": token},
            headers={"referer": f"https://localhost:8443{path}"},
        )
        assert said.status_code == 302
        assert is_signed_in(browser)
        assert code_on(post_answer(Browser(), acme, idp.make_response(acme, "_x"))) == (
            "sso_unsolicited"
        )

    def test_an_unasked_answer_works_once(self, acme: Connection) -> None:
        Connection.objects.update(allows_idp_initiated=True)
        raw = idp.make_response(acme, None)
        assert post_answer(Browser(), acme, raw).status_code == 303
        assert code_on(post_answer(Browser(), acme, raw)) == "sso_replay"


class RefusalPageTests:
    def test_every_code_has_a_text_and_is_documented(self) -> None:
        documented = re.findall(
            r"^\| `(sso_\w+)` \|", (settings.BASE_DIR / "docs/sso.md").read_text(), re.M
        )
        assert documented == [each.value for each in Code]
        assert list(PUBLIC_TEXTS) == list(Code)

    def test_tells_code_reference_and_time_and_not_the_reason(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        raw = idp.make_response(acme, row.request_id, audience="https://elsewhere.example/")
        answer = post_answer(browser, acme, raw)
        (attempt,) = Attempt.objects.all()
        text = answer.content.decode()
        assert answer.status_code == 403
        assert code_on(answer) == attempt.code == "sso_audience"
        assert str(attempt.pk) in text
        assert "elsewhere.example" not in text
        assert "elsewhere.example" in attempt.reason
        assert answer["Cache-Control"].count("no-store")

    def test_text_of_the_identity_provider_is_escaped(self, acme: Connection) -> None:
        browser = Browser()
        _, row = leave(browser, f"/sso/{acme.pk}/login")
        raw = idp.make_response(
            acme, row.request_id, status=idp.RESPONDER, status_message="<script>x</script>"
        )
        answer = post_answer(browser, acme, raw)
        assert code_on(answer) in {"sso_idp_refused", "sso_signature"}
        assert b"<script>x" not in answer.content

    @pytest.mark.parametrize("raw", ["", "%%%", "PGE+", "a" * 70_000])
    def test_what_can_not_be_read_is_400(self, acme: Connection, raw: str) -> None:
        answer = post_answer(Browser(), acme, raw)
        assert (answer.status_code, code_on(answer)) == (400, "sso_invalid_response")

"""Single logout, begun by the identity provider or here."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from audit.models import AuditEvent
from orgs.models import User
from sso.models import Connection, Identity, SsoSession
from tests.cast import Cast
from tests.factories import make_member
from tests.orgs.accounts import is_signed_in
from tests.pages import Browser
from tests.sso import idp
from tests.sso.signing_in import code_on, enter, ready_connection, sign_in

ADA = "ada@acme.example"
SLO_URL = "https://idp.example/slo"


@pytest.fixture
def acme(cast: Cast) -> Connection:
    return ready_connection(cast.organization, "acme.example", slo_url=SLO_URL)


def signed_in(acme: Connection, email: str = ADA, index: str = "_one") -> Browser:
    browser = Browser()
    sign_in(browser, acme, email, session_index=index)
    assert is_signed_in(browser)
    return browser


def ask(acme: Connection, query: str) -> Any:
    """The identity provider's request, which comes with no cookies of ours."""
    return Browser().get(f"/sso/{acme.pk}/sls?{query}")


def request_for(acme: Connection, name_id: str = ADA, *indexes: str, **said: Any) -> str:
    root = idp.build_logout_request(acme, name_id=name_id, session_indexes=indexes, **said)
    return idp.redirect_query(root, relay_state="state")


class ByIdentityProviderTests:
    def test_ends_the_sessions_of_that_name_and_answers(self, acme: Connection) -> None:
        here, there = signed_in(acme), signed_in(acme, index="_two")
        other = signed_in(acme, "bea@acme.example")
        answer = ask(acme, request_for(acme))
        assert answer.status_code == 302
        assert answer["Location"].startswith(f"{SLO_URL}?SAMLResponse=")
        sent = parse_qs(urlsplit(answer["Location"]).query)
        assert sent["RelayState"] == ["state"]
        assert "Signature" in sent
        assert not is_signed_in(here)
        assert not is_signed_in(there)
        assert is_signed_in(other)
        event = AuditEvent.objects.get(type="session.ended")
        assert (event.actor_kind, event.detail["count"]) == ("sso", 2)

    def test_ends_only_the_session_of_that_index(self, acme: Connection) -> None:
        here, there = signed_in(acme), signed_in(acme, index="_two")
        ask(acme, request_for(acme, ADA, "_two"))
        assert is_signed_in(here)
        assert not is_signed_in(there)

    def test_by_form_too(self, acme: Connection) -> None:
        browser = signed_in(acme)
        root = idp.sign(idp.build_logout_request(acme, name_id=ADA), "response")
        answer = Browser(enforce_csrf_checks=True).post(
            f"/sso/{acme.pk}/sls", {"SAMLRequest": idp.encode(root)}
        )
        assert answer.status_code == 302
        assert not is_signed_in(browser)

    @pytest.mark.parametrize("how", ["unsigned", "other key", "old", "nothing"])
    def test_what_is_not_to_be_believed_ends_nothing(self, acme: Connection, how: str) -> None:
        browser = signed_in(acme)
        root = idp.build_logout_request(
            acme, name_id=ADA, clock=timedelta(hours=-1 if how == "old" else 0)
        )
        query = idp.redirect_query(
            root, signer=idp.pair("mallory" if how == "other key" else "idp")
        )
        query = {"unsigned": query.partition("&SigAlg")[0], "nothing": "a=b"}.get(how, query)
        answer = ask(acme, query)
        assert answer.status_code in {400, 403}
        assert code_on(answer).startswith("sso_")
        assert is_signed_in(browser)

    def test_another_connection_ends_nothing_here(self, cast: Cast, acme: Connection) -> None:
        browser = signed_in(acme)
        umbrella = ready_connection(cast.other_organization, slo_url=SLO_URL)
        ask(umbrella, request_for(umbrella))
        assert is_signed_in(browser)

    def test_a_message_that_comes_again_does_nothing(self, acme: Connection) -> None:
        query = request_for(acme)
        ask(acme, query)
        browser = signed_in(acme)
        assert ask(acme, query).status_code == 302
        assert is_signed_in(browser)

    def test_a_session_that_was_only_let_in_keeps_the_rest(
        self, cast: Cast, acme: Connection
    ) -> None:
        guest = make_member(cast.organization, "guest@elsewhere.example")
        Identity.objects.create(connection=acme, user=guest, uid="g", opens_sessions=False)
        browser = Browser(guest)
        enter(browser, acme, "g@idp.example", name_id="g", name_id_format=idp.PERSISTENT)
        ask(acme, request_for(acme, "g"))
        assert is_signed_in(browser)
        methods = [each["method"] for each in browser.session["account_authentication_methods"]]
        assert methods == ["password"]

    def test_leads_nowhere_without_an_address_of_the_connection(self, acme: Connection) -> None:
        Connection.objects.update(slo_url="")
        browser = signed_in(acme)
        acme.refresh_from_db()
        answer = ask(acme, request_for(acme))
        assert answer.status_code == 200
        assert not is_signed_in(browser)


class ByOurselvesTests:
    def test_signs_out_here_and_leads_on_by_a_page(self, acme: Connection) -> None:
        browser = signed_in(acme)
        answer = browser.post("/accounts/logout/")
        assert not is_signed_in(browser)
        assert answer["Location"].startswith(f"/sso/{acme.pk}/leave/?token=")
        page = browser.get(answer["Location"]).content.decode()
        (url,) = set(re.findall(r'(?:url=|href=")(https://idp[^"]+)"', page))
        sent = parse_qs(urlsplit(unescape(url)).query)
        assert url.startswith(f"{SLO_URL}?SAMLRequest=")
        assert "Signature" in sent

    def test_the_answer_comes_back_to_a_page(self, acme: Connection) -> None:
        root = idp.build_logout_response(acme, "_whatever")
        answer = ask(acme, idp.redirect_query(root, relay_state="https://evil.example/"))
        assert answer.status_code == 200
        assert "You are signed out" in answer.content.decode()
        assert "evil" not in answer.content.decode()

    def test_other_sessions_just_end(self, cast: Cast, acme: Connection) -> None:
        browser = Browser(cast.alice)
        assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"

    def test_nothing_leads_on_without_an_address(self, acme: Connection) -> None:
        browser = signed_in(acme)
        Connection.objects.update(slo_url="")
        assert browser.post("/accounts/logout/")["Location"] == "/accounts/login/"

    @pytest.mark.parametrize("token", ["", "made-up", "x:y:z"])
    def test_a_token_that_is_not_ours_leads_nowhere(self, acme: Connection, token: str) -> None:
        answer = Browser().get(f"/sso/{acme.pk}/leave/?token={token}")
        assert answer.status_code == 200
        assert "idp.example" not in answer.content.decode()

    def test_the_token_of_one_connection_is_nothing_to_another(
        self, cast: Cast, acme: Connection
    ) -> None:
        other = ready_connection(cast.other_organization, slo_url="https://other.example/slo")
        page = signed_in(acme).post("/accounts/logout/")["Location"]
        answer = Browser().get(page.replace(str(acme.pk), str(other.pk)))
        assert "other.example" not in answer.content.decode()

    def test_the_session_is_known_no_more_after_it(self, acme: Connection) -> None:
        signed_in(acme)
        ask(acme, request_for(acme))
        assert not SsoSession.objects.exists()
        assert User.objects.filter(email=ADA).exists()

"""Every response of the attackers' table, posted to the running endpoint."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session

from orgs.models import User
from sso.models import Attempt, Identity, UsedAssertion
from tests.factories import make_organization, make_user
from tests.orgs.accounts import is_signed_in
from tests.pages import Browser
from tests.sso import idp
from tests.sso.saml.attacks import CASES, ISSUER, VICTIM, Case, Scene
from tests.sso.signing_in import code_on, leave, post_answer, ready_connection

HONEST = tuple(case for case in CASES if case.code is None)
HOSTILE = tuple(case for case in CASES if case.code is not None)


@pytest.fixture
def owner(db: None) -> User:
    return make_user(VICTIM)


def arrive(case: Case, owner: User) -> tuple[Browser, Scene]:
    """A browser that was sent to the identity provider of the case."""
    connection = ready_connection(
        make_organization(owner, "X"), "x.example", idp_entity_id=ISSUER, **case.fields
    )
    idp.add_certificate(connection, idp.pair("idp-ec", kind="ec"))
    browser = Browser()
    _, row = leave(browser, f"/sso/{connection.pk}/login")
    return browser, Scene(connection, row.request_id)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_refused_with_code_and_reference_and_nobody_is_signed_in(case: Case, owner: User) -> None:
    browser, scene = arrive(case, owner)
    sessions = Session.objects.count()
    answer = post_answer(browser, scene.connection, case.field_for(scene))
    assert answer.status_code in {400, 403}
    assert code_on(answer) == (case.at_acs or case.code)
    (attempt,) = Attempt.objects.all()
    assert str(attempt.pk) in answer.content.decode()
    assert attempt.reason
    assert attempt.reason not in answer.content.decode()
    assert not answer.cookies
    assert Session.objects.count() == sessions
    assert not is_signed_in(browser)
    assert list(User.objects.all()) == [owner]
    assert not Identity.objects.exists()
    assert not UsedAssertion.objects.exists()


@pytest.mark.parametrize("case", HONEST, ids=lambda case: case.name)
def test_honest_response_is_kept_for_the_browser_and_refused_the_second_time(
    case: Case, owner: User
) -> None:
    browser, scene = arrive(case, owner)
    sessions = Session.objects.count()
    raw = case.field_for(scene)
    answer = post_answer(browser, scene.connection, raw)
    assert answer.status_code == 303
    assert not answer.cookies
    assert Session.objects.count() == sessions
    again = post_answer(Browser(), scene.connection, raw)
    assert again.status_code == 403
    assert code_on(again) in {"sso_request_over", "sso_replay"}
    result = browser.get(answer["Location"])
    if case.at_acs is not None:
        assert code_on(result) == case.at_acs
        assert not is_signed_in(browser)
        assert list(User.objects.all()) == [owner]
        return
    assert result.status_code == 302
    assert is_signed_in(browser)
    assert set(User.objects.values_list("email", flat=True)) == {VICTIM, case.email}


def test_relay_state_is_never_an_address_to_go_to(owner: User) -> None:
    browser, scene = arrive(CASES[0], owner)
    raw = idp.make_response(scene.connection, scene.request_id, email="mallory@x.example")
    answer = post_answer(browser, scene.connection, raw, RelayState="https://evil.example/")
    result = browser.get(answer["Location"])
    assert "evil" not in answer["Location"] + result["Location"]
    assert result["Location"].startswith("/")

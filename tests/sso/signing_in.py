"""People who sign in through identity providers, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from orgs.models import Organization
from sso.models import Connection, SignInRequest
from tests.pages import Browser
from tests.sso import idp
from tests.sso.support import make_connection


def ready_connection(
    organization: Organization, *domains: str, signer: idp.Pair | None = None, **fields: Any
) -> Connection:
    """A connection that works, with its domains proven."""
    made = make_connection(organization, domains=domains, **fields)
    idp.install(made, *([signer] if signer else ()))
    return made


def leave(browser: Browser, url: str) -> tuple[Any, SignInRequest]:
    """Be sent to the identity provider; the request that was begun."""
    before = set(SignInRequest.objects.values_list("pk", flat=True))
    answer = browser.get(url)
    assert answer.status_code == 302, answer.content
    (row,) = SignInRequest.objects.exclude(pk__in=before)
    return answer, row


def saml_request_in(url: str) -> dict[str, list[str]]:
    """The parameters that go to the identity provider."""
    return parse_qs(urlsplit(url).query)


def post_answer(browser: Browser, connection: Connection, raw: str, **form: str) -> Any:
    """The identity provider's page posts its answer: from another site, so without our cookies."""
    cookies = browser.cookies.copy()
    browser.cookies.clear()
    answer = browser.post(
        f"/sso/{connection.pk}/acs",
        {"SAMLResponse": raw, "RelayState": "anything", **form},
        headers={"origin": "https://idp.example"},
    )
    browser.cookies.clear()
    browser.cookies.update(cookies)
    return answer


def answered(browser: Browser, connection: Connection, row: SignInRequest, **said: Any) -> str:
    """The page where the result waits, after the identity provider has said that."""
    answer = post_answer(browser, connection, idp.make_response(connection, row.request_id, **said))
    assert answer.status_code == 303, answer.content.decode()
    return str(answer["Location"])


def sign_in(
    browser: Browser,
    connection: Connection,
    email: str = "ada@acme.example",
    *,
    next_path: str = "",
    **said: Any,
) -> Any:
    """The whole way; what the browser gets at the end of it."""
    query = f"?next={next_path}" if next_path else ""
    _, row = leave(browser, f"/sso/{connection.pk}/login{query}")
    return browser.get(answered(browser, connection, row, email=email, **said))


def enter(browser: Browser, connection: Connection, email: str, **said: Any) -> Any:
    """Go into the connection's organization with a session that there is."""
    _, row = leave(browser, f"/sso/organizations/{connection.organization_id}/?next=/accounts/")
    return browser.get(answered(browser, connection, row, email=email, **said))


def code_on(answer: Any) -> str:
    """The public code on a refusal page."""
    text = answer.content.decode()
    marker = '<p class="code-status">'
    assert marker in text, text
    return str(text.split(marker, 1)[1].split("<", 1)[0])


def confirm(browser: Browser, answer: Any, url: str) -> Any:
    """Say yes on the page that asks."""
    assert answer.status_code == 200, answer.content.decode()
    parts = urlsplit(url)
    return browser.post(parts.path, {"handle": parse_qs(parts.query)["handle"][0]})

"""Single sign-on in a real browser: what people see, and what the content policy lets through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from orgs.models import User
from sso.models import Attempt, Connection
from sso.services.connections import create_connection
from tests.browser.quality import FAULTS
from tests.browser.site import Provider
from tests.cast import Cast
from tests.factories import PASSWORD
from tests.sso import idp
from tests.sso.support import make_connection
from tests.sso.test_console import ENTITY_ID, fill, metadata, page_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
State = Connection.State


def sign_in(page: Page, email: str = "alice@example.com") -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Acme")
    # Scripts run when the page is parsed, which a key pressed before that does not wait for.
    page.wait_for_load_state("load")


@pytest.fixture
def connection(people: Cast, provider: Provider) -> Connection:
    """A connection that is on, with the identity provider of the test."""
    made = make_connection(
        people.organization, name="Acme Okta", domains=["acme.example"], sso_url=provider.url
    )
    idp.install(made)
    provider.connection = made
    return made


class SignInTests:
    def test_the_address_leads_to_the_identity_provider_and_back_in(
        self, page: Page, connection: Connection
    ) -> None:
        page.goto("/accounts/login/")
        assert page.evaluate(FAULTS) == []
        page.get_by_label("Email").fill("ada@acme.example")
        page.get_by_role("button", name="Continue").click()
        assert page.evaluate(FAULTS) == []
        page.get_by_role("link", name=re.compile("Continue with Acme")).click()
        page.get_by_role("button", name="Sign in as Ada").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Acme")
        expect(page.get_by_text("ada@acme.example").first).to_be_visible()
        assert User.objects.filter(email="ada@acme.example").exists()

    def test_where_it_is_required_the_address_alone_leads_there(
        self, page: Page, connection: Connection
    ) -> None:
        Connection.objects.update(state=State.ENFORCED)
        page.goto("/accounts/login/")
        page.get_by_label("Email").fill("ada@acme.example")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Identity provider")
        page.get_by_role("button", name="Sign in as Ada").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Acme")

    def test_a_refusal_names_its_code_and_a_reference_that_owners_find(
        self, page: Page, connection: Connection, provider: Provider
    ) -> None:
        provider.says = {"email": "eve@elsewhere.example"}
        page.goto(f"/sso/{connection.pk}/login")
        page.get_by_role("button", name="Sign in as Ada").click()
        expect(page.get_by_text("sso_domain_not_owned")).to_be_visible()
        assert page.evaluate(FAULTS) == []
        refused = Attempt.objects.get()
        expect(page.get_by_text(str(refused.pk))).to_be_visible()
        page.get_by_role("link", name="To the sign-in").click()
        sign_in(page)
        page.goto(page_of(connection, "log"))
        page.get_by_label("Reference").fill(str(refused.pk))
        page.get_by_role("button", name="Show").click()
        page.get_by_role("link", name=str(refused.pk)[:8]).click()
        expect(page.get_by_text(refused.reason)).to_be_visible()

    def test_a_person_without_single_sign_on_goes_on_by_password(
        self, page: Page, people: Cast
    ) -> None:
        sign_in(page)
        page.get_by_role("link", name="Single sign-on").click()
        expect(page.get_by_text("No identity provider yet")).to_be_visible()


class SetUpTests:
    def test_from_nothing_to_a_test_that_succeeds(
        self, page: Page, people: Cast, provider: Provider, tmp_path: Path
    ) -> None:
        sign_in(page)
        page.goto(reverse("sso:overview", args=[people.organization.pk]))
        page.get_by_role("link", name="Set up single sign-on").click()
        page.get_by_label("Name").fill("Acme Okta")
        page.get_by_role("button", name="Create connection").click()
        made = Connection.objects.get()

        copy = page.get_by_role("button", name="Copy: ACS URL")
        copy.click()
        expect(copy).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == made.acs_url
        with page.expect_download() as download:
            page.get_by_role("link", name="Download metadata").click()
        assert made.acs_url in Path(download.value.path()).read_text()

        page.get_by_role("link", name="Enter its data").click()
        file = tmp_path / "metadata.xml"
        file.write_bytes(metadata())
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_role("button", name="Read the metadata").click()
        expect(page.get_by_text(ENTITY_ID)).to_be_visible()
        expect(page.get_by_text("2 of 6 steps done")).to_be_visible()

        page.get_by_role("link", name="Add a domain").click()
        page.get_by_label("Domain", exact=True).fill("acme.example")
        page.get_by_role("button", name="Add domain").click()
        page.get_by_role("button", name="Copy: Value").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == made.domains.get().record_value

        Connection.objects.update(sso_url=provider.url)
        made.domains.update(verified_at=made.created_at)
        made.refresh_from_db()
        provider.connection = made
        provider.says = {"issuer": ENTITY_ID, "email": "alice@acme.example"}
        page.goto(page_of(made))
        page.get_by_role("button", name="Allow tests").click()
        page.get_by_role("button", name="Test the sign-in").click()
        page.get_by_role("button", name="Sign in as Ada").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("test succeeded"))
        assert page.evaluate(FAULTS) == []
        page.get_by_role("link", name="Back to the connection").click()
        page.get_by_role("button", name="Switch on").click()
        expect(page.get_by_text("5 of 6 steps done")).to_be_visible()

    def test_a_set_up_link_works_for_a_stranger_without_scripts(
        self, page: Page, people: Cast, tmp_path: Path
    ) -> None:
        made = create_connection(
            actor=people.actor(people.alice),
            organization_id=people.organization.pk,
            name="Acme Okta",
        )
        sign_in(page)
        page.goto(page_of(made, "setup_link"))
        page.get_by_role("button", name="Make a link").click()
        link = page.get_by_label("The set-up link").inner_text()
        page.get_by_role("button", name="Copy the link").click()
        assert page.evaluate("navigator.clipboard.readText()") == link

        browser = page.context.browser
        assert browser is not None
        stranger = browser.new_context(ignore_https_errors=True, java_script_enabled=False)
        theirs = stranger.new_page()
        theirs.goto(link)
        expect(theirs.get_by_text(made.acs_url)).to_be_visible()
        expect(theirs.get_by_role("button", name=re.compile("^Copy"))).to_have_count(0)
        theirs.get_by_role("button", name="Send the metadata").click()
        expect(theirs.get_by_text("Choose the metadata file")).to_be_visible()
        file = tmp_path / "metadata.xml"
        file.write_bytes(metadata())
        theirs.get_by_label("Metadata file").set_input_files(file)
        theirs.get_by_role("button", name="Send the metadata").click()
        expect(theirs.get_by_role("heading", level=1)).to_have_text("Done")
        theirs.goto(link)
        expect(theirs.get_by_role("heading", level=1)).to_have_text("This link is over")
        stranger.close()


class PagesTests:
    def test_every_page_is_sound_at_every_width(
        self, page: Page, people: Cast, connection: Connection
    ) -> None:
        fill(people, connection, 2)
        sign_in(page)
        pages = [
            page_of(connection, name)
            for name in (
                *("connection", "provider", "settings", "roles", "certificates", "log", "people"),
                *("scim", "setup_link", "require", "delete", "switch_off"),
            )
        ]
        pages += [
            reverse(f"sso:{name}", args=[people.organization.pk])
            for name in ("overview", "create", "domains", "break_glass_owners")
        ]
        domain = connection.domains.all()[0]
        pages.append(reverse("sso:domain", args=[people.organization.pk, domain.pk]))
        found = {}
        for path in pages:
            for width in (1280, 390):
                page.set_viewport_size({"width": width, "height": 900})
                answer = page.goto(path)
                assert answer is not None
                assert answer.ok, path
                if faults := page.evaluate(FAULTS):
                    found[path, width] = faults
        assert found == {}

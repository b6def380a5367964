"""What administrators do all day, in a real browser, with JavaScript and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from audit.sealing import seal_all
from keys.models import ApiKey
from orgs.models import OutgoingMail, RoleBinding, User
from tests.browser.conftest import CSP_LISTENER
from tests.browser.test_sso import sign_in
from tests.cast import Cast

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
PASSWORD = "correct horse battery staple"


@pytest.fixture(params=[True, False], ids=["js", "no-js"])
def tab(request: Any, chromium: Browser, site: str) -> Iterator[Page]:
    """A tab; what the content policy complains of fails the test."""
    context = chromium.new_context(
        base_url=site, ignore_https_errors=True, java_script_enabled=bool(request.param)
    )
    context.set_default_timeout(30_000)
    expect.set_options(timeout=15_000)
    context.add_init_script(CSP_LISTENER)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    context.close()
    assert [each for each in complaints if "CSP" in each] == []


def link_of(mail: OutgoingMail) -> str:
    """The path of the first link in the mail."""
    found = re.search(r"https?://[^/\s]+(/\S+)", mail.text)
    assert found is not None
    return found[1]


class PeopleTests:
    def test_from_an_invitation_to_a_member_with_a_role(self, tab: Page, people: Cast) -> None:
        sign_in(tab)
        tab.get_by_role("link", name="Members", exact=True).first.click()
        tab.get_by_role("link", name="Invite people").click()
        tab.get_by_label("E-mail addresses").fill("ada@example.com\nnobody")
        tab.get_by_label("Role in the organization").select_option("OrgMember")
        tab.get_by_role("button", name="Send invitations").click()
        expect(tab.get_by_label("E-mail addresses")).to_have_value("nobody")
        tab.get_by_role("link", name="Cancel").click()
        expect(tab.get_by_text("ada@example.com").first).to_be_visible()
        tab.get_by_role("button", name="Sign out").click()
        if "logout" in tab.url:
            tab.get_by_role("button", name="Sign out").click()

        tab.goto(link_of(OutgoingMail.objects.get(to="ada@example.com")))
        expect(tab.get_by_text("see the organization and its people")).to_be_visible()
        tab.get_by_label("Your name").fill("Ada Lovelace")
        tab.get_by_label("Password", exact=True).fill(PASSWORD)
        tab.get_by_label("The password again").fill(PASSWORD)
        tab.get_by_role("button", name="Make the account and accept").click()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Acme")
        assert User.objects.get(email="ada@example.com").name == "Ada Lovelace"

    def test_a_role_is_looked_at_then_changed(self, tab: Page, people: Cast) -> None:
        sign_in(tab)
        tab.get_by_role("link", name="Members", exact=True).first.click()
        tab.get_by_role("link", name="bob@example.com").click()
        tab.get_by_role("link", name="Change OrgMember on Acme").click()
        tab.get_by_label("New role").select_option("OrgManager")
        tab.get_by_role("button", name="Preview").click()
        expect(tab.get_by_text("create projects").last).to_be_visible()
        held = RoleBinding.objects.filter(principal_id=people.bob.pk)
        assert [row.role for row in held] == ["OrgMember"]
        expect(tab.get_by_label("New role")).to_have_value("OrgManager")
        tab.get_by_role("button", name="Change role").click()
        expect(tab.get_by_text("has another role now")).to_be_visible()
        assert [row.role for row in held.all()] == ["OrgManager"]


class KeyTests:
    def test_made_rotated_and_revoked(self, tab: Page, people: Cast) -> None:
        sign_in(tab)
        tab.get_by_role("link", name="Search", exact=True).first.click()
        tab.goto(f"/projects/{people.project.pk}/keys/")
        tab.get_by_role("link", name=re.compile("(New|Create).*key")).first.click()
        tab.get_by_label("Name", exact=True).fill("nightly import")
        tab.get_by_role("button", name="Create key").click()
        first = tab.locator("#api-key").inner_text().strip()
        tab.get_by_role("link", name="I have saved the key").click()
        row = tab.get_by_role("row").filter(has_text="nightly import")
        row.get_by_role("link", name=re.compile("Rotate")).click()
        tab.get_by_role("button", name=re.compile("Rotate|secret")).click()
        second = tab.locator("#api-key").inner_text().strip()
        assert first != second
        tab.get_by_role("link", name="I have saved the key").click()
        row.get_by_role("link", name=re.compile("Revoke")).click()
        tab.get_by_role("button", name="Revoke key").click()
        expect(tab.locator(".error, .callout-error").first).to_be_visible()
        tab.get_by_label(re.compile("confirm|name", re.IGNORECASE)).last.fill("nightly import")
        tab.get_by_role("button", name="Revoke key").click()
        expect(tab.get_by_text("is revoked")).to_be_visible()
        assert ApiKey.objects.get(name="nightly import").revoked_at is not None


class AuditTests:
    def test_searched_and_exported(self, tab: Page, people: Cast, tmp_path: Path) -> None:
        sign_in(tab)
        seal_all()
        tab.get_by_role("link", name="Audit log").first.click()
        tab.get_by_label("Text").fill("alice@example.com")
        tab.get_by_role("button", name="Search").last.click()
        assert "alice%40example.com" in tab.url
        tab.locator("tbody a").first.click()
        expect(tab.get_by_text("alice@example.com").first).to_be_visible()
        tab.go_back()
        assert "alice%40example.com" in tab.url
        with tab.expect_download() as download:
            tab.get_by_role("button", name="Export").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert len(lines) > 2

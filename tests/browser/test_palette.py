"""The search by Ctrl-K, and the theme, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_sso import sign_in
from tests.cast import Cast

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


class PaletteTests:
    def test_finds_a_project_by_keys_alone_and_the_theme_stays(
        self, page: Page, people: Cast
    ) -> None:
        sign_in(page)
        page.keyboard.press("Control+k")
        expect(page.get_by_label("Pages, projects and indexes")).to_be_focused()
        page.keyboard.type(str(people.project.pk))
        expect(page.locator(".hits a")).to_have_count(1)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"/projects/{people.project.pk}/$"))

        page.get_by_role("button", name="Light or dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        # The cookie is written by an answer that the page does not wait for.
        page.wait_for_load_state("networkidle")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")

    def test_enter_before_the_answer_opens_the_search(self, page: Page, people: Cast) -> None:
        sign_in(page)
        page.route("**/search/?*part=1*", lambda route: None)
        page.keyboard.press("Control+k")
        page.keyboard.type("search")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/search/\?q=search$"))
        expect(page.get_by_role("link", name="Search Acme Project")).to_be_visible()

"""The theme: chosen by a button, kept in a cookie, there before the first paint."""

from __future__ import annotations

import pytest

from tests.cast import Cast
from tests.pages import Browser


class ThemeTests:
    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_the_chosen_theme_is_on_the_next_page(self, cast: Cast, theme: str) -> None:
        browser = Browser(cast.alice)
        answer = browser.post("/theme/", {"theme": theme, "next": "/accounts/?a=1"})
        assert (answer.status_code, answer["Location"]) == (302, "/accounts/?a=1")
        assert f'data-theme="{theme}"' in browser.get("/accounts/").content.decode()

    def test_without_a_theme_it_is_the_other_one(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        for expected in ("dark", "light", "dark"):
            browser.post("/theme/", {"theme": "<b>"})
            assert browser.cookies["theme"].value == expected

    def test_a_foreign_cookie_does_nothing(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        browser.cookies["theme"] = '"><script>'
        assert b'<html lang="en">' in browser.get("/accounts/").content

    @pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:1"])
    def test_leads_to_no_other_site(self, db: None, back: str) -> None:
        assert Browser().post("/theme/", {"next": back})["Location"] == "/"

    def test_is_not_changed_by_a_link_or_another_site(self, db: None) -> None:
        assert Browser().get("/theme/").status_code == 405
        assert Browser(enforce_csrf_checks=True).post("/theme/").status_code == 403

"""Every page in a real browser, by an owner: sound on a wide screen and a phone, in both themes,
within the content policy, and without anything that axe-core finds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.quality import barriers, faults
from tests.cast import Cast
from tests.controlplane.test_urls import ACCOUNT
from tests.matrix.world import PAGES, PEOPLE, ROOMS, SSO_PAGES, World, make_world
from tests.pages import Browser as HttpBrowser

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
SESSION = "__Host-tamarack-session"
OWNER = PEOPLE.index("OrgOwner")
PERSON = "OrgOwner"
SHOWN = [route for route, (get, _) in PAGES.items() if get.split()[OWNER] == "ok"]
ROOM_OF = {
    **{route: room.__name__.rpartition(".")[2] for room in ROOMS for route in room.PAGES},
    **dict.fromkeys(SSO_PAGES, "sso"),
}
GROUPS = sorted({ROOM_OF[route] for route in SHOWN})
ALONE = sorted(route for route in ACCOUNT if "<" not in route and not route.startswith("api/"))
REFUSED = ("no-such-page/", f"projects/{'0' * 8}-0000-4000-8000-{'0' * 12}/")


@pytest.fixture
def world(people: Cast) -> World:
    return make_world(people)


@pytest.fixture
def free_page(chromium: Browser, site: str) -> Iterator[Page]:
    """An empty tab without the content policy: axe-core writes styles."""
    context = chromium.new_context(base_url=site, ignore_https_errors=True, bypass_csp=True)
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def come_in(page: Page, site: str, browser: HttpBrowser) -> None:
    """Be whom `browser` is."""
    value = browser.cookies[SESSION].value
    page.context.add_cookies([{"name": SESSION, "value": value, "url": site, "secure": True}])


def look_at(page: Page, free_page: Page, path: str, status: int = 200) -> list[str]:
    """What is wrong with the page at `path`, each with the path."""
    answer = page.goto(path)
    assert answer is not None
    found = [f"status {answer.status}"] if answer.status != status else []
    found += faults(page)
    free_page.goto(path)
    found += barriers(free_page)
    return [f"{path} {each}" for each in found]


class WalkTests:
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("group", GROUPS)
    def test_every_page_is_sound(
        self, page: Page, free_page: Page, world: World, site: str, group: str
    ) -> None:
        browser = world.browser(PERSON)
        for tab in (page, free_page):
            come_in(tab, site, browser)
        found = []
        for route in SHOWN:
            if ROOM_OF[route] == group:
                found += look_at(page, free_page, world.path(route))
        assert not found, "\n".join(found)

    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("signed_in", [False, True])
    def test_so_are_those_of_the_account(
        self, page: Page, free_page: Page, world: World, site: str, signed_in: bool
    ) -> None:
        browser = world.browser(PERSON if signed_in else "nobody")
        if signed_in:
            for tab in (page, free_page):
                come_in(tab, site, browser)
        shown = [f"/{route}" for route in ALONE if browser.get(f"/{route}").status_code == 200]
        assert ("/accounts/sessions/" in shown) == signed_in
        pages = [path for path in shown if path != "/healthz"]
        found = [each for path in pages for each in look_at(page, free_page, path)]
        assert not found, "\n".join(found)

    def test_so_is_what_says_no(self, page: Page, free_page: Page, world: World, site: str) -> None:
        for tab in (page, free_page):
            come_in(tab, site, world.browser("OrgMember"))
        forbidden = f"/organizations/{world.cast.organization.pk}/audit/"
        found = look_at(page, free_page, forbidden, 403)
        for path in REFUSED:
            found += look_at(page, free_page, f"/{path}", 404)
        assert not found, "\n".join(found)

"""`make screenshots`: every page in light, in dark and on a phone, into docs/screenshots/.

No test: run by name only. The pages are those of the walk (test_walk.py), of an organization with
something in it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page

from tests.browser.quality import PHONE, WIDE
from tests.browser.showcase import furnish
from tests.browser.test_walk import ALONE, SHOWN, come_in
from tests.cast import Cast
from tests.console.test_pages_operator import make_operator, signed_in
from tests.matrix.world import World, make_world

FOLDER = Path(settings.BASE_DIR) / "docs" / "screenshots"
LOOKS = {"light": ("light", WIDE), "dark": ("dark", WIDE), "phone": ("light", PHONE)}
QUALITY = 70
MAX_HEIGHT = 2400


@pytest.fixture
def world(people: Cast) -> World:
    furnish(people)
    return make_world(people)


@pytest.fixture
def tab(chromium: Browser, site: str) -> Iterator[Page]:
    context = chromium.new_context(base_url=site, ignore_https_errors=True)
    yield context.new_page()
    context.close()


def take(page: Page, path: str, name: str) -> None:
    """The page in every look, as `<name>.<look>.webp`."""
    FOLDER.mkdir(exist_ok=True)
    for look, (theme, size) in LOOKS.items():
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size(size)  # type: ignore[arg-type]  # a TypedDict of its own
        page.goto(path)
        page.evaluate("document.fonts.ready.then(() => true)")
        height = page.evaluate("document.documentElement.scrollHeight")
        area = {"x": 0, "y": 0, "width": size["width"], "height": min(height, MAX_HEIGHT)}
        shot = page.context.new_cdp_session(page).send(
            "Page.captureScreenshot",
            {
                "format": "webp",
                "quality": QUALITY,
                "captureBeyondViewport": True,
                "clip": {**area, "scale": 1},
            },
        )
        (FOLDER / f"{name}.{look}.webp").write_bytes(base64.b64decode(shot["data"]))


def name_of(route: str) -> str:
    """A file name for the route."""
    name = re.sub(r"(?:organizations|projects)/<uuid:(organization|project)_id>", r"\1", route)
    name = re.sub(r"<uuid:(\w+)_id>", r"\1", name).strip("/").replace("/", "-")
    return name or "home"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("group", ["signed-out", "owner", "operator"])
def test_take(tab: Page, world: World, site: str, group: str) -> None:
    """One group of pages."""
    if group == "signed-out":
        for route in ("accounts/login/", "accounts/password/reset/"):
            take(tab, f"/{route}", name_of(route))
    elif group == "owner":
        browser = world.browser("OrgOwner")
        come_in(tab, site, browser)
        for route in SHOWN:
            take(tab, world.path(route), name_of(route))
        for route in ALONE:
            if browser.get(f"/{route}").status_code == 200 and route.startswith("accounts/"):
                take(tab, f"/{route}", name_of(route))
    else:
        come_in(tab, site, signed_in(make_operator()))
        for part in ("", "organizations/", "work/", "drift/"):
            take(tab, f"/operator/{part}", name_of(f"operator/{part}"))
        tenant = f"/operator/organizations/{world.cast.organization.pk}/"
        take(tab, tenant, "operator-organization")

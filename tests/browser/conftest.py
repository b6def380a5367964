"""A real browser: the system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.site import Provider, serve
from tests.cast import Cast, make_cast
from tests.pages import Browser as HttpBrowser

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
NO_CHROMIUM = "no Chromium on this machine: apt-get install chromium"
CSP_LISTENER = """
document.addEventListener('securitypolicyviolation', (event) =>
  console.error('CSP: ' + event.violatedDirective + ' ' + event.blockedURI));
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the module; each test gets a profile of its own.

    Not for longer: while Playwright is there its loop runs, and no other test can start one.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip(NO_CHROMIUM)
    # Playwright's loop runs in this thread, and Django takes that for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def site(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[str]:
    """The address of the site."""
    # The first request of a process loads everything: not while a browser waits.
    assert HttpBrowser().get("/accounts/login/").status_code == 200
    with serve(tmp_path) as address:
        settings.TAMARACK_PUBLIC_URL = address
        yield address


@pytest.fixture
def people(site: str) -> Cast:
    """Alice and the others, on that site."""
    return make_cast()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An identity provider that answers whatever the test tells it to."""
    with Provider() as found:
        yield found


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    """An empty tab. What the console or the content policy complains of fails the test."""
    context = chromium.new_context(
        base_url=site,
        ignore_https_errors=True,
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(30_000)
    expect.set_options(timeout=15_000)
    context.add_init_script(CSP_LISTENER)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    yield tab
    context.close()
    # A page that is refused says so by its status; the browser notes that too.
    assert [each for each in complaints if "Failed to load resource" not in each] == []

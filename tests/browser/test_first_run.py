"""On a whole running platform, in a real browser: from a sign-in to the first query, and the end of
the index; with JavaScript and without.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pinecone import Pinecone
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import CSP_LISTENER
from tests.browser.quality import barriers
from tests.platform.support import Instance

pytestmark = [pytest.mark.instance, pytest.mark.slow, pytest.mark.xdist_group("instance")]
MAX_KILOBYTES, MAX_REQUESTS = 150, 10
"""What a page may weigh on a first visit, as it goes over the wire."""


@pytest.fixture(params=[True, False], ids=["js", "no-js"])
def has_scripts(request: Any) -> bool:
    return bool(request.param)


@pytest.fixture
def tab(chromium: Browser, instance: Instance, has_scripts: bool) -> Iterator[Page]:
    """A tab on the running platform. What the content policy complains of fails the test."""
    context = chromium.new_context(
        base_url=instance.gateway, ignore_https_errors=True, java_script_enabled=has_scripts
    )
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    context.add_init_script(CSP_LISTENER)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    context.close()
    assert [each for each in complaints if "CSP" in each] == []


def sign_in(page: Page, owner: dict[str, Any]) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(owner["email"])
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Password").fill(owner["password"])
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Acme")


def await_text(page: Page, text: str, *, has_scripts: bool, seconds: float = 60) -> None:
    """The text shows: by itself with scripts, else after the page is loaded again."""
    if has_scripts:
        expect(page.get_by_text(text).first).to_be_visible(timeout=seconds * 1000)
        return
    deadline = time.monotonic() + seconds
    while page.get_by_text(text).count() == 0:
        assert time.monotonic() < deadline, f"{text!r} did not come"
        time.sleep(0.5)
        page.reload()


class FirstRunTests:
    def test_from_the_sign_in_to_the_first_query_and_to_the_end_of_the_index(
        self, tab: Page, instance: Instance, has_scripts: bool
    ) -> None:
        owner = instance.owner()
        sign_in(tab, owner)
        tab.get_by_role("link", name="New project").click()
        tab.get_by_label("Name").fill("Recommendations")
        tab.get_by_role("button", name="Create project").click()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Get started")
        start = tab.url

        tab.get_by_role("link", name="Create an API key").click()
        tab.get_by_label("Name", exact=True).fill("first")
        tab.get_by_role("button", name="Create key").click()
        secret = tab.locator("#api-key").inner_text().strip()
        assert secret.startswith("tmrk_")
        assert secret in tab.locator("#snippet-python").inner_text()

        tab.goto(start)
        tab.get_by_role("link", name="Create an index").click()
        tab.get_by_label("Name", exact=True).fill("shop")
        tab.get_by_label("Dimension").fill("3")
        tab.get_by_role("button", name="Create index").click()
        await_text(tab, "Use it", has_scripts=has_scripts)
        page_of_index = tab.url
        host = tab.locator("#host").inner_text().strip()
        assert f"https://{host}/describe_index_stats" in tab.content()

        tab.goto(start)
        expect(tab.get_by_text("It has arrived")).to_have_count(0)
        with (
            Pinecone(
                api_key=secret, host=instance.gateway, ssl_ca_certs=instance.ca_file
            ) as client,
            client.Index("shop") as index,
        ):
            index.upsert(vectors=[{"id": "a", "values": [0.1, 0.2, 0.3]}])
            assert index.query(vector=[0.1, 0.2, 0.3], top_k=1).matches[0].id == "a"
        await_text(tab, "It has arrived", has_scripts=has_scripts)

        tab.goto(page_of_index)
        tab.get_by_role("link", name="Requests").click()
        expect(tab.get_by_text("As a table").first).to_be_visible()
        tab.get_by_role("link", name="Encryption").click()
        expect(tab.get_by_text("Data key, version 1")).to_be_visible()
        expect(tab.get_by_text("spiffe://").first).to_be_visible()

        tab.goto(page_of_index)
        tab.get_by_role("link", name="Delete").click()
        tab.get_by_label("Type shop to confirm").fill("shop")
        tab.get_by_role("button", name="Delete index").click()
        await_text(tab, "This index is deleted", has_scripts=has_scripts)


class WeightTests:
    """Over the real gateway, with an empty cache."""

    @pytest.mark.parametrize("has_scripts", [True], indirect=True)
    def test_no_page_is_heavy_or_asks_for_much(
        self, tab: Page, chromium: Browser, instance: Instance, has_scripts: bool
    ) -> None:
        owner = instance.owner()
        sign_in(tab, owner)
        cookies = tab.context.cookies()
        organization = f"/organizations/{owner['organization_id']}/"
        project = f"/projects/{owner['project_id']}/"
        weighed = {}
        for path in (
            "/accounts/sessions/",
            organization,
            f"{organization}members/",
            f"{organization}roles/",
            f"{organization}audit/",
            f"{organization}sso/",
            project,
            f"{project}start/",
            f"{project}indexes/",
            f"{project}keys/create/",
        ):
            context = chromium.new_context(base_url=instance.gateway, ignore_https_errors=True)
            context.add_cookies(cookies)  # type: ignore[arg-type]  # what the other context gave
            page = context.new_page()
            session = context.new_cdp_session(page)
            session.send("Network.enable")
            sizes: list[float] = []
            session.on(
                "Network.loadingFinished", lambda e, s=sizes: s.append(e["encodedDataLength"])
            )
            page.goto(path, wait_until="networkidle")
            weighed[path] = (len(sizes), sum(sizes) / 1024)
            context.close()
        heavy = {
            path: found
            for path, found in weighed.items()
            if not 1 <= found[0] <= MAX_REQUESTS or found[1] > MAX_KILOBYTES
        }
        assert heavy == {}, weighed

    @pytest.mark.parametrize("has_scripts", [True], indirect=True)
    def test_the_sign_in_has_no_barrier(
        self, chromium: Browser, instance: Instance, has_scripts: bool
    ) -> None:
        context = chromium.new_context(
            base_url=instance.gateway, ignore_https_errors=True, bypass_csp=True
        )
        page = context.new_page()
        page.goto("/accounts/login/")
        assert barriers(page) == []
        context.close()

"""The pages as a browser meets them: through the real gateway, over TLS."""

from __future__ import annotations

import html
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.pages import hidden_value
from tests.platform.support import Instance

pytestmark = [pytest.mark.instance, pytest.mark.xdist_group("instance")]
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def owner(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An owner, made by the operator's command."""
    file = tmp_path_factory.mktemp("owner") / "password"
    file.write_text(PASSWORD)
    done = instance.manage(
        *("create_owner", "--email", "browser@example.com", "--organization", "Through"),
        *("--password-file", str(file), "--json"),
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, str] = json.loads(done.stdout)
    return made


@pytest.fixture
def browser(instance: Instance) -> Iterator[httpx.Client]:
    trust = ssl.create_default_context(cafile=instance.ca_file)
    with httpx.Client(
        base_url=instance.gateway,
        verify=trust,
        headers={"accept": "text/html", "referer": f"{instance.gateway}/"},
    ) as client:
        yield client


def sign_in(browser: httpx.Client, **headers: str) -> httpx.Response:
    """Fill in the form as a browser does."""
    form = browser.get("/accounts/login/")
    token = hidden_value(form.content, "csrfmiddlewaretoken")
    return browser.post(
        "/accounts/login/",
        data={
            "login": "browser@example.com",
            "password": PASSWORD,
            "csrfmiddlewaretoken": token,
        },
        headers=headers,
    )


def pasted(page: str, language: str) -> subprocess.CompletedProcess[str]:
    """The page's snippet in a shell, where the client is installed already."""
    text = page.partition(f'id="snippet-{language}">')[2].partition("</pre>")[0]
    commands = html.unescape(text).removeprefix("pip install pinecone\n")
    assert "export PINECONE_API_KEY=tmrk_" in commands
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", commands],
        env={"PATH": path, "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class BrowserTests:
    def test_signs_in_and_makes_a_key_and_pastes_what_the_page_says(
        self, browser: httpx.Client, owner: dict[str, str]
    ) -> None:
        answer = sign_in(browser)
        assert (answer.status_code, answer.headers["location"]) == (302, "/")
        page = f"/projects/{owner['project_id']}/"
        form = browser.get(f"{page}keys/create/")
        made = browser.post(
            f"{page}keys/create/",
            data={
                "csrfmiddlewaretoken": hidden_value(form.content, "csrfmiddlewaretoken"),
                "token": hidden_value(form.content, "token"),
                "name": "made in a browser",
                "roles": "ProjectEditor",
                "days": "",
            },
        )
        secret = made.text.partition("export PINECONE_API_KEY=")[2].partition("\n")[0]
        listing = browser.get("/indexes", headers={"api-key": secret})
        assert (listing.status_code, listing.json()) == (200, {"indexes": []})
        assert browser.get("/indexes").status_code == 401
        done = pasted(made.text, "python")
        assert done.returncode == 0, done.stderr
        assert "'a'" in done.stdout
        listed = pasted(made.text, "curl")
        assert listed.returncode == 0, listed.stderr
        assert '"name":"first"' in listed.stdout.replace(": ", ":")
        assert b"first" in browser.get(f"{page}indexes/").content
        browser.delete("/indexes/first", headers={"api-key": secret})

    def test_the_trail_has_the_address_that_the_gateway_saw(
        self, instance: Instance, browser: httpx.Client, owner: dict[str, str]
    ) -> None:
        answer = sign_in(browser, **{"x-forwarded-for": "6.6.6.6"})
        assert answer.status_code == 302
        done = instance.manage(
            "shell",
            "-v0",
            "-c",
            "from audit.models import AuditEvent;"
            "print(AuditEvent.objects.filter(type='user.signed_in').first().ip)",
        )
        assert done.stdout.strip() == "127.0.0.1", done.stderr

    def test_files_and_policy_arrive(self, browser: httpx.Client) -> None:
        page = browser.get("/accounts/login/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        link = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
        sheet = browser.get(link)
        assert sheet.headers["content-type"].startswith("text/css")
        assert "immutable" in sheet.headers["cache-control"]

    def test_django_knows_that_it_is_spoken_to_over_tls(
        self, browser: httpx.Client, owner: dict[str, str]
    ) -> None:
        # Only over HTTPS does Django look at where a form came from.
        answer = sign_in(browser, referer="https://evil.example/")
        assert answer.status_code == 403
        assert "security token" in answer.text

    def test_pages_that_are_not_there_are_pages(self, browser: httpx.Client) -> None:
        answer = browser.get("/accounts/signup/")
        assert answer.status_code == 404
        assert "There is nothing here" in answer.text
        assert answer.headers["x-request-id"] in answer.text

    def test_neither_password_nor_session_is_in_any_log(
        self, instance: Instance, browser: httpx.Client, owner: dict[str, str]
    ) -> None:
        sign_in(browser)
        browser.get("/accounts/signup/")
        session = browser.cookies["__Host-tamarack-session"]
        logs = [path for path in Path(instance.home, "log").rglob("*") if path.is_file()]
        text = b"".join(path.read_bytes() for path in logs)
        assert b"/accounts/signup/" in text
        assert session.encode() not in text
        assert PASSWORD.encode() not in text

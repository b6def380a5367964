"""A real identity provider, written by somebody else, as a process; and somebody who travels
between it and us as a browser does: follows redirects, keeps cookies, fills in and sends forms.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import httpx
import pytest
from django.conf import settings
from lxml import html

from controlplane.demo.idp import PYTHON, LocalIdp, Person, serving
from tests.oidc import make_certificate
from tests.pages import Browser
from tests.platform.support import free_port_block

OIDC_CONNECTION = UUID("0c0ffee0-0000-4000-8000-000000000001")
"""The connection whose callback the identity provider's OpenID Connect client knows."""
ALICE = Person("wonderland-alice", "alice@acme.example", groups=("everyone", "ops"))
BOB = Person("wonderland-bob", "bob@acme.example", groups=("everyone",))
PEOPLE = {"alice": ALICE, "bob": BOB}
MAX_STEPS = 15


@pytest.fixture(scope="module")
def tls_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key that the identity provider shows."""
    return make_certificate(tmp_path_factory.mktemp("nanoidp-tls"))


@pytest.fixture(scope="module")
def nanoidp(tmp_path_factory: pytest.TempPathFactory, tls_pair: Path) -> Iterator[LocalIdp]:
    """nanoidp, serving over TLS; takes requests that are signed by `sp.pem` in its folder alone."""
    if not PYTHON.exists():
        pytest.skip(f"no nanoidp: {PYTHON} is missing, make .venv-idp/.installed makes it")
    folder = tmp_path_factory.mktemp("nanoidp")
    callback = f"{settings.TAMARACK_PUBLIC_URL}/sso/{OIDC_CONNECTION}/callback"
    idp = LocalIdp(
        folder=folder,
        port=free_port_block(1),
        people=PEOPLE,
        sp_certificates=[folder / "sp.pem"],
        redirect_uris=[callback],
    )
    with serving(idp, certificate=tls_pair, key=tls_pair):
        yield idp


class Traveller:
    """A browser that goes from page to page by itself, signing in at the identity provider.

    Attributes:
        home: at our side.
        trail: every address that it was at, in order.
        held: a form to us that was not sent, as the last page had it, where the traveller was told
            to hold it.
    """

    def __init__(self, idp: LocalIdp, tls_pair: Path, name: str = "") -> None:
        self.home = Browser()
        self.trail: list[str] = []
        self.name = name
        context = ssl.create_default_context(cafile=str(tls_pair))
        self.away = httpx.Client(verify=context, base_url=idp.url)

    def close(self) -> None:
        self.away.close()

    def visit(self, path: str) -> Any:
        """Go to a page of ours and wherever it leads, to the page that leads nowhere."""
        response = self.walk_to_answer(path)
        return response if isinstance(response, _Ours) else self.send(response)

    def test(self, connection_id: UUID) -> Any:
        """Test the connection, as an owner who is signed in, to the page with the result."""
        page: Any = html.fromstring(self.home.post(f"/sso/{connection_id}/test").content)
        (away,) = (link.get("href") for link in page.iter("a") if "button" in link.get("class", ""))
        return self.send(self._walk(self._get(away)))

    def walk_to_answer(self, path: str) -> Any:
        """The same, but stop where the identity provider's answer is about to be sent to us: the
        form's path and values.
        """
        return self._walk(self._get(settings.TAMARACK_PUBLIC_URL + path))

    def _walk(self, step: Any) -> Any:
        for _ in range(MAX_STEPS):
            step = self._next(step)
            if isinstance(step, _Ours | tuple):
                return step
        raise AssertionError(f"walked in circles: {self.trail}")

    def send(self, form: tuple[str, dict[str, str]]) -> Any:
        """Send such a form, and go on to the page that leads nowhere."""
        step: Any = self._follow(self.home.post(*form))
        for _ in range(MAX_STEPS):
            if isinstance(step, _Ours):
                return step
            step = self._next(step)
        raise AssertionError(f"walked in circles: {self.trail}")

    def _get(self, url: str) -> Any:
        self.trail.append(url.partition("?")[0])
        if url.startswith(settings.TAMARACK_PUBLIC_URL):
            path = url.removeprefix(settings.TAMARACK_PUBLIC_URL)
            return self._follow(self.home.get(path))
        return self.away.get(url)

    def _follow(self, response: Any) -> Any:
        location = response.get("Location", "")
        if not location:
            return _Ours(response)
        return self._get(urljoin(settings.TAMARACK_PUBLIC_URL, location))

    def _next(self, step: Any) -> Any:
        """One step from a page of the identity provider."""
        if isinstance(step, _Ours):
            return step
        if step.is_redirect:
            return self._get(urljoin(str(step.url), step.headers["Location"]))
        assert step.status_code == 200, (step.status_code, step.text[:2000])
        page: Any = html.fromstring(step.text)
        form = page.forms[0]
        values = {name: value or "" for name, value in form.fields.items()}
        target = urljoin(str(step.url), form.action or "")
        if target.startswith(settings.TAMARACK_PUBLIC_URL):
            return urlsplit(target).path, values
        assert "SAMLResponse" not in values, f"the answer would go to {target}"
        person = PEOPLE[self.name]
        return self.away.post(
            target, data={**values, "username": self.name, "password": person.password}
        )


class _Ours:
    """A page of ours that leads nowhere by itself."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.status_code = response.status_code
        self.text = response.content.decode()

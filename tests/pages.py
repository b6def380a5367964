"""A browser for tests: HTTPS, wants pages, signs in where asked."""

from __future__ import annotations

import re
import time
from typing import Any

from django.test import Client

from orgs.models import User
from tests.factories import PASSWORD


class Browser(Client):
    """Django's test client over HTTPS, asking for HTML from an address of its own."""

    def __init__(self, user: User | None = None, *, ip: str = "203.0.113.7", **kwargs: Any) -> None:
        super().__init__(
            headers={"accept": "text/html", "x-forwarded-for": f"10.9.9.9, {ip}"}, **kwargs
        )
        if user is not None:
            self.force_login(user)
            self.prove(user)

    def prove(self, user: User, *, seconds_ago: float = 0, **proof: Any) -> None:
        """Have proven who is there, by password unless `proof` says otherwise, so long ago."""
        session = self.session
        session["account_authentication_methods"] = [
            {"method": "password", "at": time.time() - seconds_ago, **proof}
        ]
        session["account_authentication_methods_user"] = str(user.pk)
        session["started"] = int(time.time() - seconds_ago)
        session.save()

    def request(self, **request: Any) -> Any:
        """As a browser does: the scheme is https, by the gateway's word."""
        return super().request(**{**request, "wsgi.url_scheme": "https"})

    def sign_in(self, email: str, password: str = PASSWORD, **data: str) -> Any:
        """Fill in the sign-in form."""
        return self.post("/accounts/login/", {"login": email, "password": password, **data})


def hidden_value(page: bytes, name: str) -> str:
    """The value of a hidden field."""
    match = re.search(rf'name="{name}" value="([^"]+)"', page.decode())
    assert match is not None, f"no field {name}"
    return match[1]

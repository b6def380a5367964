"""What allauth's part for other people's sign-ins has to do our way."""

from __future__ import annotations

from typing import Any

import requests
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter

from sso.oidc.http import safe_session


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # no types
    """Connections are ours (`sso.oidc`): allauth finds none of its own, and makes nobody."""

    def list_apps(self, *_: Any, **__: Any) -> list[Any]:
        """None: its tables stay empty, and no page of its own lists whose people sign in how."""
        return []

    def is_open_for_signup(self, *_: Any, **__: Any) -> bool:
        """Never: who gets an account is for the connection's rules."""
        return False

    def get_requests_session(self) -> requests.Session:
        """For every request that leaves: to identity providers, whose addresses people type in."""
        return safe_session()

"""What tests of organizations and people may rely on."""

from __future__ import annotations

import pytest
from allauth.mfa.totp.internal import auth as totp_auth

from tests.orgs.accounts import Clock


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of authenticator apps, which stands still until a test moves it on."""
    stopped = Clock()
    monkeypatch.setattr(totp_auth, "yield_hotp_counters_from_time", stopped.counters)
    return stopped

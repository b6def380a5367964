"""What tests of people's own accounts share: mailboxes, authenticator apps, the trail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa import app_settings
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail as django_mail
from django.core.mail import EmailMessage

from audit.models import AuditEvent
from orgs import delivery
from tests.orgs.passkeys import SoftPasskey
from tests.pages import Browser

ACTIVATE = "/accounts/2fa/totp/activate/"
ADD_PASSKEY = "/accounts/2fa/webauthn/add/"
AUTHENTICATE = "/accounts/2fa/authenticate/"


def received(to: str) -> list[EmailMessage]:
    """Everything in somebody's mailbox, after whatever is due was delivered."""
    for mail_id in delivery.due():
        delivery.deliver(mail_id)
    return [message for message in django_mail.outbox if message.to == [to]]


def link_in(message: EmailMessage) -> str:
    """The path of the one link in a message that is meant to be opened."""
    (path,) = re.findall(r"^https://localhost:8443(/accounts/\S+)$", str(message.body), re.M)
    return str(path)


START = 60_000_000
"""The half minute in which every test begins."""


@dataclass
class Clock:
    """Half minutes since then."""

    steps: int = 0

    def counters(self) -> Iterator[int]:
        """What allauth compares with: now, and the tolerance around it."""
        tolerance = app_settings.TOTP_TOLERANCE
        return iter(range(START + self.steps - tolerance, START + self.steps + tolerance + 1))


def code(secret: str, *, steps: int = 0) -> str:
    """What an authenticator app shows so many half minutes after the start."""
    return str(format_hotp_value(hotp_value(secret, START + steps)))


def set_up_app(browser: Browser) -> str:
    """Take an authenticator app into use; its key."""
    page = browser.get(ACTIVATE).content.decode()
    (secret,) = re.findall(r'<code class="secret" tabindex="0">([A-Z2-7]+)</code>', page)
    answer = browser.post(ACTIVATE, {"code": code(secret)})
    assert answer["Location"] == "/accounts/2fa/recovery-codes/", answer.content
    return str(secret)


def recovery_codes(browser: Browser) -> list[str]:
    """The codes that the page shows."""
    page = browser.get("/accounts/2fa/recovery-codes/").content.decode()
    return re.findall(r"^(?:<pre[^>]*>)?\s*(?:.*tabindex=\"0\">)?(\d{8})$", page, re.M)


def options_in(page: bytes, name: str) -> dict[str, Any]:
    """The question to a passkey that a page carries."""
    (found,) = re.findall(
        r'<script id="passkey-options" type="application/json">(.*?)</script>', page.decode()
    )
    asked: dict[str, Any] = json.loads(found)[name]["publicKey"]
    return asked


def add_passkey(browser: Browser, passkey: SoftPasskey, **fields: str) -> Any:
    """Register the passkey."""
    asked = options_in(browser.get(ADD_PASSKEY).content, "creation_options")
    form = {"name": "Laptop", "credential": json.dumps(passkey.create(asked)), **fields}
    return browser.post(ADD_PASSKEY, form)


def events(kind: str) -> list[AuditEvent]:
    """The audit events of one kind, oldest first."""
    return list(AuditEvent.objects.filter(type=kind).order_by("time", "id"))


def is_signed_in(browser: Browser) -> bool:
    """Whether the browser's next request finds somebody signed in."""
    return bool(browser.get("/accounts/sessions/").status_code == 200)

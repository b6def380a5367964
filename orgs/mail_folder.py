"""Mail of an installation without a mail server: files that only its operator can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage

from kms.files import write_atomically


class FolderBackend(BaseEmailBackend):
    """Writes every message to a file of its own, mode 0600, in TAMARACK_HOME/mail."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """How many were written: all of them.

        Raises:
            OSError: the folder can't be written.
        """
        folder = settings.TAMARACK_MAIL_FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            content = message.message()
            name = str(content["Message-ID"]).strip("<>").partition("@")[0]
            time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            write_atomically(folder / f"{time}-{name}.eml", content.as_bytes(), mode=0o600)
        return len(email_messages)

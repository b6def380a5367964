"""`manage.py keyservice`: hands data keys to index servers until SIGTERM."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from indexes import keyservice
from kms.certificates import CertificateError
from kms.envelope import KeyUnavailable


class Command(BaseCommand):
    """Runs the key service in the foreground."""

    help = "Runs the key service, which hands data keys to index servers; SIGTERM ends it."

    def handle(self, *_: Any, **__: Any) -> None:
        """Serve; what can't be mended here ends the command with its reason."""
        stop = threading.Event()
        numbers = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

        def listen() -> None:
            # A handler runs in the main thread alone, which may be falling asleep just then.
            signal.sigwait(numbers)
            stop.set()

        threading.Thread(target=listen, name="signals", daemon=True).start()
        try:
            keyservice.serve(stop)
        except (CertificateError, KeyUnavailable, OSError, RuntimeError) as error:
            raise CommandError(f"The key service can't run: {error}") from error

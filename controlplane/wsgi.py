"""What granian serves on the unix socket behind the gateway."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from controlplane.lifetime import end_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
# This is granian's worker. Without its main process nobody would end it, or start it again.
end_with_parent(signal.SIGKILL)
_django = get_wsgi_application()
_CHUNK_BYTES = 65_536


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Django; then what its answer left unread of the request's body, as most refusals do.

    Granian closes a connection that has some left, without a word: the gateway would send the next
    request into it, and answer 503. The gateway sends bodies whole, so nothing is waited for.
    """
    answer = _django(environ, start_response)
    while environ["wsgi.input"].read(_CHUNK_BYTES):
        pass
    return answer

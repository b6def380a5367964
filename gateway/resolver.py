"""The authorizer's two questions, answered by the control plane's database."""

from __future__ import annotations

from django.db import close_old_connections

from gateway import authorizer
from indexes import selectors as indexes
from keys.selectors import api_keys as keys


class DatabaseResolver:
    """Reads only; each thread has a connection of its own, which is replaced when it broke."""

    def verify_key(self, secret: str) -> authorizer.VerifiedKey | None:
        """See `keys.selectors.api_keys.verify_key`."""
        close_old_connections()
        return keys.verify_key(secret)

    def route_for(self, host: str, port: int | None) -> authorizer.Route | None:
        """See `indexes.selectors.route_for`."""
        close_old_connections()
        return indexes.route_for(host, port)

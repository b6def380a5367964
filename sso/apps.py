from __future__ import annotations

from django.apps import AppConfig


class SsoConfig(AppConfig):
    name = "sso"

    def ready(self) -> None:
        """Tell the room below what single sign-on demands and decides; hear of sign-ins."""
        from sso import identity_providers, signals  # noqa: PLC0415  models have to be loaded first

        identity_providers.register()
        signals.connect()

from __future__ import annotations

from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"

    def ready(self) -> None:
        """Tell how role bindings find what this room holds, and listen to sign-ins."""
        from orgs.account import signals  # noqa: PLC0415  models have to be loaded first
        from orgs.selectors import baseline, principals  # noqa: PLC0415  likewise

        baseline.register()
        principals.register()
        signals.connect()

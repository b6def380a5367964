from __future__ import annotations

from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"

    def ready(self) -> None:
        """Tell how role bindings find what this room holds."""
        from orgs.selectors import principals  # noqa: PLC0415  models have to be loaded first

        principals.register()

from __future__ import annotations

from django.apps import AppConfig


class IndexesConfig(AppConfig):
    name = "indexes"

    def ready(self) -> None:
        """Tell how role bindings find what this room holds."""
        from indexes import resources  # noqa: PLC0415  models have to be loaded first

        resources.register()

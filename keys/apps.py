from __future__ import annotations

from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "keys"

    def ready(self) -> None:
        """Tell how role bindings find what this room holds."""
        from keys import principals  # noqa: PLC0415  models have to be loaded first

        principals.register()

from __future__ import annotations

from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "keys"

    def ready(self) -> None:
        """Tell how role bindings find what this room holds, and what a baseline would stop."""
        from keys import principals  # noqa: PLC0415  models have to be loaded first
        from keys.selectors import baseline  # noqa: PLC0415

        principals.register()
        baseline.register()

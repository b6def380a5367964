from __future__ import annotations

from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "projects"

    def ready(self) -> None:
        """Tell how role bindings find what this room holds."""
        from projects import resources  # noqa: PLC0415  models have to be loaded first

        resources.register()

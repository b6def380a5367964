from __future__ import annotations

from django.apps import AppConfig


class ControlPlaneConfig(AppConfig):
    name = "controlplane"

    def ready(self) -> None:
        """Register the system checks."""
        from controlplane import checks  # noqa: F401, PLC0415  settings are complete only now

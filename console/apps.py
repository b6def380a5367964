from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """What the dashboard's pages share, and the pages that bring several rooms together."""

    name = "console"
    default_auto_field = "django.db.models.BigAutoField"

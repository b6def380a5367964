from __future__ import annotations

from django.apps import AppConfig


class IndexesConfig(AppConfig):
    name = "indexes"

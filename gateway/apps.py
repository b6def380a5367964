"""The gateway as a Django app: its periodic tasks."""

from __future__ import annotations

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """Without models."""

    name = "gateway"

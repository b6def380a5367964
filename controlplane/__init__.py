"""Wiring only: settings, URL roots, the Celery application, middleware and the commands."""

from __future__ import annotations

from controlplane.celery import app as celery_app

__all__ = ("celery_app",)

"""The Celery application. Rooms declare their tasks with `@shared_task`."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

app = Celery("tamarack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**_: object) -> None:
    """Celery must not replace the JSON log lines by its own format."""
    import logging.config  # noqa: PLC0415  needed in this signal alone

    from django.conf import settings  # noqa: PLC0415  settings are read when Celery starts

    logging.config.dictConfig(settings.LOGGING)

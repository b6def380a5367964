"""What the gateway needs done every few minutes."""

from __future__ import annotations

import logging

from celery import shared_task

from gateway import access_log, certificates, usage

logger = logging.getLogger(__name__)


@shared_task
def renew_certificates() -> None:
    """Issue what is due; Envoy picks the files up by itself. Safe to run twice."""
    if issued := certificates.renew_due():
        logger.info("issued certificates: %s", ", ".join(issued))


@shared_task
def rotate_access_log() -> None:
    """Keep the access log from filling the disk. Safe to run twice."""
    access_log.rotate()


@shared_task
def count_usage() -> None:
    """Count what keys were used for since the last time. Safe to run twice, and at once."""
    usage.count_new()

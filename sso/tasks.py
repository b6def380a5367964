"""What time does to single sign-on: domains, metadata, certificates, sign-ins.

Every task may run twice or be lost: rows say what is to be done, and the schedule asks again.
"""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task
from celery.app.task import Task
from kombu.exceptions import OperationalError

from sso import domain_checks, expiry, housekeeping, metadata_source

logger = logging.getLogger(__name__)


@shared_task
def recheck_domain(domain_id: str) -> None:
    """Look for the TXT record of a verified domain."""
    domain_checks.recheck(UUID(domain_id))


@shared_task
def recheck_domains() -> None:
    """Ask for every domain whose turn it is."""
    for domain_id in domain_checks.due():
        _ask(recheck_domain, domain_id)


@shared_task
def refresh_metadata(connection_id: str) -> None:
    """Fetch the metadata of a connection's identity provider."""
    metadata_source.refresh(UUID(connection_id))


@shared_task
def refresh_due_metadata() -> None:
    """Ask for every connection whose turn it is."""
    for connection_id in metadata_source.due():
        _ask(refresh_metadata, connection_id)


@shared_task
def warn_of_expiry() -> None:
    """Tell owners of certificates that end soon."""
    expiry.warn_all()


@shared_task
def forget_old_setup_links() -> None:
    """Delete set-up links that ended long ago."""
    expiry.forget_old_links()


@shared_task
def forget_sign_ins() -> None:
    """Delete what is left of sign-ins, each kind by itself."""
    housekeeping.forget_requests()
    housekeeping.forget_used_assertions()
    housekeeping.forget_attempts()
    housekeeping.forget_sessions()


def _ask(task: Task[[str], None], pk: UUID) -> None:
    """Put one piece of work into the queue; one that does not answer is no reason to fail."""
    try:
        task.apply_async((str(pk),), expires=300)
    except OperationalError as error:
        logger.warning("The queue does not answer, the schedule asks again: %s", error)

"""What the queue carries: hints to look at a row. One that is lost or comes twice is harmless."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from indexes import provisioning, reconciliation, usage

logger = logging.getLogger(__name__)


@shared_task
def run_operation(operation_id: str) -> None:
    """Advance an operation as far as it goes now, and ask to be called again for the rest."""
    hint = provisioning.advance(UUID(operation_id))
    if hint is not None:
        send_hint(hint.operation_id, hint.seconds)


@shared_task
def sweep_operations() -> None:
    """Put operations that are due and that nobody works on into the queue again."""
    for operation_id in provisioning.take_due():
        send_hint(operation_id)


@shared_task
def reconcile_deployments() -> None:
    """Make what runs on this node follow the rows."""
    reconciliation.reconcile()


@shared_task
def measure_indexes() -> None:
    """Ask the servers of this node what they hold."""
    usage.measure_all()


@shared_task
def forget_old_traffic() -> None:
    """Remove counts that are too old."""
    usage.forget_old_traffic()


def send_hint(operation_id: UUID, seconds: float = 0.0) -> None:
    """Ask for the operation to be advanced; a queue that does not answer is no reason to fail."""
    try:
        run_operation.apply_async((str(operation_id),), countdown=seconds)
    except OperationalError as error:
        logger.warning("The queue does not answer, the next sweep asks again: %s", error)

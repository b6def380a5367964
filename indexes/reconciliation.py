"""Comparing the rows with what really runs on this node, and making the node follow the rows."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from indexes import addresses, files, provisioning
from indexes.certificates import refresh_index_pair
from indexes.drivers import current_driver
from indexes.drivers.base import Driver, DriverUnavailable, ProcessState, Status
from indexes.models import Deployment, Index
from indexes.selectors import resting_deployments, wanted_deployments
from kms.certificates import CertificateError
from kms.envelope import KeyUnavailable
from orgs.errors import QuotaExceeded

logger = logging.getLogger(__name__)


LAST_ROUND = "indexes.reconciliation.last_round"
RESTING = "The index server is stopped, because the project is archived."
WAKING = "Restore the project: the server starts within half a minute then."


@dataclass(slots=True)
class Report:
    """What was done, to which deployments (`moved`: indexes), and what nobody could mend."""

    started: list[UUID] = field(default_factory=list)
    stopped: list[UUID] = field(default_factory=list)
    removed: list[UUID] = field(default_factory=list)
    renewed: list[UUID] = field(default_factory=list)
    moved: list[UUID] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)


def reconcile() -> Report:
    """One round. What can't be mended is reported and logged; the next round tries again."""
    report = Report()
    try:
        report.moved += addresses.refresh()
    except QuotaExceeded as error:
        report.drift.append(error.message)
    driver = current_driver()
    # Looked at before the rows: whatever appears later has a row by then.
    folders = _deployment_folders()
    try:
        running = driver.all()
    except DriverUnavailable as error:
        report.drift.append(f"What runs can't be told: {error}")
        running = None
    for deployment in wanted_deployments():
        try:
            _keep_files(deployment, report)
            if running is not None:
                _keep_running(driver, deployment, running.get(deployment.pk), report)
        except (DriverUnavailable, CertificateError, KeyUnavailable, OSError) as error:
            report.drift.append(f"{deployment}: {error}")
    resting = resting_deployments()
    for deployment in resting:
        _note(deployment, Deployment.Observed.STOPPED, RESTING, WAKING)
    if running is not None:
        _stop_unwanted(driver, running, {each.pk for each in resting}, report)
    _remove_leftovers(folders, report)
    _report(report)
    cache.set(LAST_ROUND, {"at": timezone.now(), **asdict(report)}, None)
    return report


def last_round() -> dict[str, Any] | None:
    """What the last round did, by the names of `Report`, and when it ended (`at`); None: no round
    yet.
    """
    found: dict[str, Any] | None = cache.get(LAST_ROUND)
    return found


def _keep_files(deployment: Deployment, report: Report) -> None:
    folder = files.folder_of(deployment.pk)
    if folder.exists() and refresh_index_pair(deployment, folder):
        report.renewed.append(deployment.pk)


def _keep_running(
    driver: Driver, deployment: Deployment, status: Status | None, report: Report
) -> None:
    """Start what does not run; say on the index why, until it runs again."""
    if status is not None and status.state in {ProcessState.STARTING, ProcessState.STOPPING}:
        return
    if status is not None and status.state is ProcessState.RUNNING:
        _note(deployment, Deployment.Observed.RUNNING, "", "")
        return
    if not files.record_path(deployment.pk).exists():
        # Starting would make a new, empty record, and what was lost would look like deleted.
        cause = f"The index's record {files.record_path(deployment.pk)} is gone."
        _note(
            deployment, Deployment.Observed.FAILED, cause, "Restore the file, or delete the index."
        )
        report.drift.append(cause)
        return
    if status is not None and status.state is ProcessState.FAILED:
        cause, remedy = provisioning.explain_failure(deployment)
        _note(deployment, Deployment.Observed.FAILED, cause, remedy)
        report.drift.append(cause)
        provisioning.move_from_taken_port(deployment)
    files.write(deployment)
    driver.ensure(deployment)
    report.started.append(deployment.pk)


def _note(deployment: Deployment, observed: Deployment.Observed, cause: str, remedy: str) -> None:
    if deployment.observed_state != observed:
        Deployment.objects.filter(pk=deployment.pk).update(observed_state=observed)
    if deployment.index.cause != cause:
        Index.objects.filter(pk=deployment.index_id, state=Index.State.READY).update(
            cause=cause[: provisioning.MESSAGE_LENGTH], remedy=remedy
        )


def _stop_unwanted(
    driver: Driver, running: dict[UUID, Status], resting: set[UUID], report: Report
) -> None:
    """Stop our servers that no row wants: of deleted indexes, of failed ones, of none at all; and
    those of archived projects.
    """
    wanted = set(
        Deployment.objects.filter(
            node=settings.TAMARACK_NODE,
            removed_at=None,
            desired_state=Deployment.Desired.RUNNING,
        ).values_list("pk", flat=True)
    )
    for deployment_id in running.keys() - (wanted - resting):
        try:
            driver.remove(deployment_id)
        except DriverUnavailable as error:
            report.drift.append(f"Deployment {deployment_id} is not wanted but runs: {error}")
        else:
            report.stopped.append(deployment_id)


def _deployment_folders() -> list[UUID]:
    folder: Path = settings.TAMARACK_HOME / "indexes"
    found = []
    for path in folder.iterdir() if folder.exists() else ():
        try:
            found.append(UUID(path.name))
        except ValueError:
            continue
    return found


def _remove_leftovers(folders: list[UUID], report: Report) -> None:
    """Remove what deleted indexes left. A folder without a row stays: whose database is this?"""
    rows = dict(Deployment.objects.filter(pk__in=folders).values_list("pk", "removed_at"))
    for deployment_id in folders:
        if deployment_id not in rows:
            report.drift.append(
                f"{files.folder_of(deployment_id)} belongs to no index in this database."
            )
        elif rows[deployment_id] is not None:
            try:
                files.remove(deployment_id)
            except OSError as error:
                report.drift.append(f"{files.folder_of(deployment_id)} can't be removed: {error}")
            else:
                report.removed.append(deployment_id)


def _report(report: Report) -> None:
    for what in ("started", "stopped", "removed", "renewed", "moved"):
        for identifier in getattr(report, what):
            logger.warning("Reconciler: %s %s", what, identifier)
    for sentence in report.drift:
        logger.error("Reconciler: %s", sentence)

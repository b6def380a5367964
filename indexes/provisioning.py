"""Carrying out what the rows ask for, step by step.

An operation is worked on by whoever holds its lease. Every step may run twice and may be cut off
at any instant: it looks at what is there and does what is missing. No step waits long; what has
to wait gives its lease back and is called again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from indexes import data_keys, files, probe
from indexes.drivers import current_driver
from indexes.drivers.base import DriverUnavailable, ProcessState
from indexes.drivers.process import include_folder, write_program
from indexes.models import Deployment, Index, Operation
from indexes.selectors import taken_upstream_ports, wanted_deployments
from kms.certificates import CertificateError
from kms.envelope import KeyUnavailable
from orgs.actors import system
from orgs.models import ResourceType, RoleBinding

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
LEASE = timedelta(seconds=15)
MAX_ATTEMPTS = 8
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the second attempt, doubled with each, up to the longest."""
START_SECONDS = 60
"""A server that runs this long without serving is taken for broken."""
LOOK_SECONDS, LOOK_EVERY, LOOK_AGAIN = 0.4, 0.02, 0.2
"""Seconds that a worker watches a starting server, between two looks, and until it returns."""
HINT_AGAIN = timedelta(seconds=5)
MESSAGE_LENGTH = 500
ACTOR = system("provisioning")
TEMPORARY = (
    DriverUnavailable,
    OSError,
    KeyUnavailable,
    CertificateError,
    data_keys.StillReadable,
)
"""What trying again may get over; anything else but `Broken` is a bug and ends the task."""


class Superseded(Exception):
    """The lease is gone or a newer wish is there: stop touching the index."""


class Broken(Exception):
    """Trying again won't help."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause, self.remedy = cause, remedy


@dataclass(frozen=True, slots=True)
class Hint:
    """Which operation wants to be advanced, in how many seconds."""

    operation_id: UUID
    seconds: float = 0.0


@dataclass(slots=True)
class Work:
    """An operation under our lease."""

    operation: Operation
    owner: str

    @property
    def index(self) -> Index:
        """The index that it is about."""
        return self.operation.index


Step = Callable[[Work], float | None]
"""Does what is missing. Returns None when done, or in how many seconds to call it again."""


# ---- The steps of a creation -------------------------------------------------------------------
def allocate(work: Work) -> None:
    """Give the index a deployment on this node with a port of its own."""
    if _deployment(work.index) is not None:
        return
    for port in _free_upstream_ports():
        try:
            with transaction.atomic():
                _hold(work)
                Deployment.objects.create(
                    index=work.index, node=settings.TAMARACK_NODE, address=LOOPBACK, port=port
                )
        except IntegrityError:
            continue  # taken a moment ago, or the index got its deployment meanwhile
        return
    if _deployment(work.index) is None:
        ports = settings.TAMARACK_UPSTREAM_PORTS
        raise Broken(
            f"No port is left for the index's server: all of {ports[0]}-{ports[-1]} are taken.",
            "Delete an index, or widen TAMARACK_UPSTREAM_PORTS and restart; then create it again.",
        )


def make_key(work: Work) -> None:
    """Give the index its data key."""
    data_keys.make(work.index)


def write_files(work: Work) -> None:
    """Write the server's configuration and certificate."""
    files.write(_live_deployment(work))


def start(work: Work) -> None:
    """Start the server's process."""
    current_driver().ensure(_live_deployment(work))


def await_health(work: Work) -> float | None:
    """Watch the server for a moment; done once it serves."""
    deployment = _live_deployment(work)
    until = time.monotonic() + LOOK_SECONDS
    while True:
        if probe.is_healthy(deployment):
            return None
        if time.monotonic() >= until:
            break
        time.sleep(LOOK_EVERY)
    driver = current_driver()
    status = driver.status(deployment.pk)
    if status is None or status.state is ProcessState.STOPPED:
        driver.ensure(deployment)
    elif status.state is ProcessState.FAILED:
        if move_from_taken_port(deployment):
            files.write(deployment)
            driver.ensure(deployment)
        else:
            raise Broken(*explain_failure(deployment))
    elif status.seconds > START_SECONDS:
        raise Broken(
            f"The index server did not become healthy within {START_SECONDS} s."
            f" {driver.reason(deployment.pk)}".strip(),
            f"See {files.log_path(deployment.pk).name} in the log folder; then delete the index"
            " and create it again.",
        )
    return LOOK_AGAIN


def announce(work: Work) -> None:
    """The index is Ready."""
    with transaction.atomic():
        index = Index.objects.select_for_update().get(pk=work.index.pk)
        _finish(work, Operation.State.SUCCEEDED)
        index.state = Index.State.READY
        index.save(update_fields=["state"])
        _deployments(index).update(observed_state=Deployment.Observed.RUNNING)
        _record(EventType.INDEX_READY, index)


# ---- The steps of a deletion -------------------------------------------------------------------
def stop(work: Work) -> float | None:
    """End the server's process."""
    driver = current_driver()
    _deployments(work.index).update(desired_state=Deployment.Desired.STOPPED)
    stopping = [pk for pk in _deployment_ids(work.index) if not driver.remove(pk)]
    return LOOK_AGAIN if stopping else None


def shred(work: Work) -> None:
    """Destroy the data keys: from here on nothing of the index can be read, backups included."""
    with transaction.atomic():
        index = Index.objects.select_for_update().get(pk=work.index.pk)
        _hold(work)
        if shredded := data_keys.shred(index.pk):
            _record(EventType.INDEX_KEY_SHREDDED, index, keys=shredded)
    data_keys.sweep_copies()


def remove_files(work: Work) -> None:
    """Remove what the server left on this node."""
    for deployment_id in _deployment_ids(work.index):
        files.remove(deployment_id)


def bury(work: Work) -> None:
    """The index is gone; its name and addresses are free."""
    with transaction.atomic():
        index = Index.objects.select_for_update().get(pk=work.index.pk)
        _finish(work, Operation.State.SUCCEEDED)
        now = timezone.now()
        _deployments(index).update(removed_at=now, observed_state=Deployment.Observed.STOPPED)
        index.deleted_at = now
        index.save(update_fields=["deleted_at"])
        # Nobody holds a role on what is gone.
        bindings = RoleBinding.objects.filter(
            resource_type=ResourceType.INDEX, resource_id=index.pk
        ).delete()[0]
        _record(EventType.INDEX_DELETED, index, role_bindings=bindings)


STEPS: dict[str, dict[str, Step]] = {
    Operation.Kind.CREATE: {
        step.__name__: step
        for step in (allocate, make_key, write_files, start, await_health, announce)
    },
    Operation.Kind.DELETE: {step.__name__: step for step in (stop, shred, remove_files, bury)},
}
FIRST_STEP = {kind: next(iter(steps)) for kind, steps in STEPS.items()}


# ---- Leases ------------------------------------------------------------------------------------
def advance(operation_id: UUID) -> Hint | None:
    """Work on the operation as far as it goes now; what to call next and when, if anything.

    Does nothing where somebody else holds a lease on the index, or nothing is due.
    """
    work = _claim(operation_id)
    if work is None:
        return None
    try:
        return _take_steps(work)
    except Superseded:
        return _give_way(work)
    except Broken as error:
        return _failed(work, error.cause, error.remedy, final=True)
    except TEMPORARY as error:
        return _failed(work, str(error), _remedy(error))


def _take_steps(work: Work) -> Hint | None:
    operation = work.operation
    if operation.kind == Operation.Kind.CREATE and operation.attempt >= MAX_ATTEMPTS:
        raise Broken(
            f"Setting the index up was tried {operation.attempt} times; the last worker was cut"
            f" off. {operation.error}".strip(),
            "See the worker's log for what ends it; then delete the index and create it again.",
        )
    steps = STEPS[operation.kind]
    names = list(steps)
    for name in names[names.index(operation.step) :]:
        _hold(work, step=name)
        delay = steps[name](work)
        if delay is not None:
            return _give_back(work, delay)
    return None


def _remedy(error: Exception) -> str:
    match error:
        case KeyUnavailable() | CertificateError():
            return "Restore the key or certificate that it names."
        case data_keys.StillReadable():
            return "Wait for whoever reads the database."
        case _:
            return "Look after the machine: `manage.py doctor` says what is wrong with it."


def take_due(limit: int = 200) -> list[UUID]:
    """Operations that are due and that nobody works on, to be put into the queue again.

    Each is handed out at most once per `HINT_AGAIN`, so a queue that is slow is not flooded.
    """
    now = timezone.now()
    due = Operation.objects.filter(
        Q(lease_until=None) | Q(lease_until__lte=now),
        state=Operation.State.PENDING,
        run_after__lte=now,
        hinted_at__lte=now - HINT_AGAIN,
    ).order_by("run_after")
    found = list(due.values_list("pk", flat=True)[:limit])
    Operation.objects.filter(pk__in=found).update(hinted_at=now)
    return found


def _claim(operation_id: UUID) -> Work | None:
    """Take the lease in one statement; None where somebody else was faster or holds the index."""
    now, owner = timezone.now(), uuid.uuid4().hex
    elsewhere = Operation.objects.filter(index=OuterRef("index"), lease_until__gt=now).exclude(
        pk=OuterRef("pk")
    )
    claimed = (
        Operation.objects.filter(
            Q(lease_until=None) | Q(lease_until__lte=now),
            ~Exists(elsewhere),
            pk=operation_id,
            state=Operation.State.PENDING,
            run_after__lte=now,
        )
        # A lease that ran out is an attempt that failed: its worker died or hung.
        .update(
            lease_owner=owner,
            lease_until=now + LEASE,
            attempt=Case(
                When(lease_until=None, then=F("attempt")), default=F("attempt") + Value(1)
            ),
        )
    )
    if not claimed:
        return None
    operation = Operation.objects.select_related("index__project").get(pk=operation_id)
    return Work(operation, owner)


def _ours(work: Work) -> Q:
    return Q(pk=work.operation.pk, state=Operation.State.PENDING, lease_owner=work.owner)


def _hold(work: Work, *, step: str | None = None) -> None:
    """Renew the lease and, with `step`, note how far we are.

    Raises:
        Superseded: it is not ours any more.
    """
    fields: dict[str, object] = {"lease_until": timezone.now() + LEASE}
    if step is not None:
        fields["step"] = step
    if not Operation.objects.filter(_ours(work)).update(**fields):
        raise Superseded


def _finish(work: Work, state: Operation.State) -> None:
    """End the operation; to be called in the transaction that makes it true.

    Raises:
        Superseded: the lease is not ours any more.
    """
    ended = Operation.objects.filter(_ours(work)).update(
        state=state, finished_at=timezone.now(), lease_until=None, lease_owner=""
    )
    if not ended:
        raise Superseded


def _give_back(work: Work, seconds: float, **fields: object) -> Hint | None:
    """Let go until then. A newer wish must not wait for our lease to run out."""
    due = timezone.now() + timedelta(seconds=seconds)
    given = Operation.objects.filter(_ours(work)).update(
        lease_until=None, lease_owner="", run_after=due, hinted_at=due, **fields
    )
    return Hint(work.operation.pk, seconds) if given else _give_way(work)


def _give_way(work: Work) -> Hint | None:
    """Drop what is left of the lease and point to the wish that superseded this one."""
    Operation.objects.filter(pk=work.operation.pk, lease_owner=work.owner).update(
        lease_until=None, lease_owner=""
    )
    newer = (
        Operation.objects.filter(index=work.index.pk, state=Operation.State.PENDING)
        .exclude(pk=work.operation.pk)
        .first()
    )
    return Hint(newer.pk) if newer else None


def _failed(work: Work, cause: str, remedy: str, *, final: bool = False) -> Hint | None:
    """Note the failure; try again later, or give up a creation. A deletion is never given up."""
    attempt = work.operation.attempt + 1
    cause, remedy = cause[:MESSAGE_LENGTH], remedy[:MESSAGE_LENGTH]
    logger.warning("%s, attempt %d: %s", work.operation, attempt, cause)
    if work.operation.kind == Operation.Kind.DELETE or not (final or attempt >= MAX_ATTEMPTS):
        delay = min(FIRST_DELAY * 2 ** min(attempt - 1, 16), LONGEST_DELAY)
        return _give_back(work, delay, attempt=attempt, error=cause, remedy=remedy)
    try:
        with transaction.atomic():
            index = Index.objects.select_for_update().get(pk=work.index.pk)
            Operation.objects.filter(_ours(work)).update(
                attempt=attempt, error=cause, remedy=remedy
            )
            _finish(work, Operation.State.FAILED)
            index.state = Index.State.INITIALIZATION_FAILED
            index.cause, index.remedy = cause, remedy
            index.save(update_fields=["state", "cause", "remedy"])
            _deployments(index).update(
                desired_state=Deployment.Desired.STOPPED, observed_state=Deployment.Observed.FAILED
            )
            _record(EventType.INDEX_FAILED, index, outcome=AuditEvent.Outcome.FAILURE, cause=cause)
    except Superseded:
        return _give_way(work)
    return None


# ---- What the reconciler and the start of the platform need too ----------------------------------
def explain_failure(deployment: Deployment) -> tuple[str, str]:
    """Why the server's process ended, in its own words, and what to do."""
    reason = current_driver().reason(deployment.pk)
    return (
        f"The index server stopped: {reason or 'it gave no reason.'}"[:MESSAGE_LENGTH],
        f"Mend what it names (its log is {files.log_path(deployment.pk).name}). A Ready index comes"
        " back by itself then; one that never was has to be deleted and created again.",
    )


def move_from_taken_port(deployment: Deployment) -> bool:
    """Give the deployment another port if a stranger listens on its own; whether it was moved."""
    if files.is_port_free(deployment.address, deployment.port):
        return False
    for port in _free_upstream_ports():
        deployment.port = port
        deployment.config_generation += 1
        try:
            with transaction.atomic():
                deployment.save(update_fields=["port", "config_generation"])
        except IntegrityError:
            continue
        return True
    return False


def _free_upstream_ports() -> Iterator[int]:
    taken = taken_upstream_ports()
    for port in settings.TAMARACK_UPSTREAM_PORTS:
        if port not in taken and files.is_port_free(LOOPBACK, port):
            yield port


def write_all_programs() -> Path:
    """Write the files of every index server that has to run here; returns the folder to include.

    For the start of the platform, before supervisord: certificates that ran out meanwhile are
    issued again, programs of servers that are not wanted any more go, and with them what a process
    that was killed while it wrote one left beside it.

    Raises:
        CertificateError, KeyUnavailable, OSError: a server could not be started with what is there.
    """
    folder = include_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = set()
    for deployment in wanted_deployments():
        if files.record_path(deployment.pk).exists():
            files.write(deployment)
            wanted.add(write_program(deployment))
    for path in set(folder.iterdir()) - wanted:
        path.unlink()
    return folder


def _deployments(index: Index) -> QuerySet[Deployment]:
    return Deployment.objects.filter(index=index, removed_at=None)


def _deployment_ids(index: Index) -> list[UUID]:
    return list(_deployments(index).values_list("pk", flat=True))


def _deployment(index: Index) -> Deployment | None:
    return _deployments(index).select_related("index__project").first()


def _live_deployment(work: Work) -> Deployment:
    deployment = _deployment(work.index)
    if deployment is None:
        raise Superseded
    return deployment


def _record(
    event: EventType,
    index: Index,
    *,
    outcome: AuditEvent.Outcome = AuditEvent.Outcome.SUCCESS,
    **detail: object,
) -> None:
    record(
        event,
        actor=ACTOR,
        organization_id=index.project.organization_id,
        resource=("index", index.pk, index.name),
        detail={"project_id": str(index.project_id), **detail},
        outcome=outcome,
    )

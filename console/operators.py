"""What the installation's operators see: how it stands, who is on it, what waits.

Counts, states and ids; never a name, key, record or audit event of an organization's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from celery import current_app
from cryptography import x509
from django.conf import settings
from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit.models import Stream, UnsealedEvent
from console.text import in_words
from gateway.configuration import GatewaySettings
from indexes.models import Deployment, Index, Operation
from indexes.reconciliation import last_round
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import Membership, Organization, OutgoingMail
from orgs.permissions import require_operator
from projects.models import Project

QUEUE = "celery"
QUEUE_SECONDS = 2
LATE = timedelta(minutes=2)
"""After which silence of a task that runs every few seconds means that nobody runs tasks."""
SOON = timedelta(days=14)
MIN_FREE_SHARE = 0.1
MANY_UNSEALED = 1000

Level = Literal["good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the installation: how it stands, and the way out where something is wrong."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def health(actor: Actor) -> list[Check]:
    """How the installation stands. A part that can't be looked at is reported, never raised.

    Raises:
        NotFound, PermissionDenied: the actor is no operator.
    """
    require_operator(actor)
    return [
        check
        for part in (
            *(_database, _queue, _workers, _servers, _certificates),
            *(_room, _audit, _mail),
        )
        for check in part()
    ]


def _database() -> Iterator[Check]:
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("select sqlite_version()" if is_sqlite else "show server_version")
        version = cursor.fetchone()[0]
    name = "SQLite" if is_sqlite else "PostgreSQL"
    yield Check("Database", "good", f"{name} {version} answers.")


def _queue() -> Iterator[Check]:
    try:
        with current_app.connection_for_read(connect_timeout=QUEUE_SECONDS) as queue:
            queue.ensure_connection(max_retries=1, timeout=QUEUE_SECONDS)
            channel: Any = queue.default_channel
            waiting = channel.queue_declare(QUEUE).message_count
    except (OperationalError, OSError) as error:
        yield Check(
            "Queue",
            "bad",
            f"The queue does not answer: {type(error).__name__}.",
            "Look at the log of Valkey or Redis. Work goes on when it is back: rows are the truth.",
        )
        return
    yield Check("Queue", "good", f"{in_words(waiting, 'message')} waiting.")


def _workers() -> Iterator[Check]:
    found = last_round()
    if found is None or timezone.now() - found["at"] > LATE:
        since = f"since {found['at']:%d %b %Y %H:%M} UTC" if found else "yet"
        yield Check(
            "Workers",
            "bad",
            f"No worker has looked at the index servers {since}.",
            "Look at the logs of worker and beat, and restart them.",
        )
        return
    drift = len(found["drift"])
    if drift:
        text = f"{in_words(drift, 'thing')} could not be mended in the last round."
        yield Check("Workers", "warn", text, "See Drift for what and why.")
    else:
        yield Check("Workers", "good", "The last round mended everything it found.")


def _servers() -> Iterator[Check]:
    ready = Q(index__state=Index.State.READY)
    counts = Deployment.objects.filter(removed_at=None).aggregate(
        all=Count("pk"),
        good=Count("pk", filter=ready & Q(index__cause="")),
        bad=Count("pk", filter=ready & ~Q(index__cause="")),
    )
    text = f"{counts['good']} of {in_words(counts['all'], 'index server')} serve."
    if counts["bad"]:
        remedy = "See Work and Drift: each names the cause and what helps."
        yield Check("Index servers", "warn", f"{text} {counts['bad']} in trouble.", remedy)
    else:
        yield Check("Index servers", "good", text)


def _certificates() -> Iterator[Check]:
    folder = GatewaySettings.from_django().certs
    files = {
        "Gateway certificate": folder / "edge-ecdsa.crt",
        "Gateway identity": folder / "gateway.crt",
        "Root certificate": folder / "ca.pem",
    }
    for name, path in files.items():
        try:
            end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            text = f"{path.name} can't be read: {type(error).__name__}."
            yield Check(name, "bad", text, "Run manage.py doctor on the server.")
            continue
        left = end - timezone.now()
        text = f"Valid until {end:%d %b %Y %H:%M} UTC."
        if left < timedelta(0):
            yield Check(name, "bad", text, "Workers renew it: look at their logs.")
        elif name == "Root certificate" and left < SOON:
            yield Check(name, "warn", text, "Replace the authority before then.")
        else:
            yield Check(name, "good", text)


def _room() -> Iterator[Check]:
    for name, path in (
        ("Disk", settings.TAMARACK_HOME),
        ("Memory for indexes", settings.TAMARACK_RAM_DIR),
    ):
        try:
            usage = shutil.disk_usage(path)
        except OSError as error:
            yield Check(name, "bad", f"Can't be looked at: {type(error).__name__}.", "See doctor.")
            continue
        text = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free."
        low = usage.free < MIN_FREE_SHARE * usage.total
        remedy = "Make room: writes are refused when it is used up." if low else ""
        yield Check(name, "warn" if low else "good", text, remedy)


def _audit() -> Iterator[Check]:
    found = UnsealedEvent.objects.aggregate(count=Count("pk"))
    late = found["count"] > MANY_UNSEALED
    text = f"{in_words(found['count'], 'event')} to be sealed."
    remedy = "Sealing runs every two seconds: look at the workers." if late else ""
    yield Check("Audit log", "warn" if late else "good", text, remedy)


def _mail() -> Iterator[Check]:
    found = OutgoingMail.objects.aggregate(
        waiting=Count("pk", filter=Q(next_attempt_at__isnull=False)),
        failed=Count("pk", filter=~Q(error="") & Q(sent_at=None, next_attempt_at=None)),
    )
    text = f"{found['waiting']} waiting, {found['failed']} given up."
    remedy = "See Work for the reasons." if found["failed"] else ""
    yield Check("Mail", "warn" if found["failed"] else "good", text, remedy)


def tenants(actor: Actor, text: str = "") -> QuerySet[Organization]:
    """All organizations by name, with `member_count`, `project_count` and `index_count`.

    Args:
        text: part of a name, or an id.

    Raises:
        NotFound, PermissionDenied: the actor is no operator.
    """
    require_operator(actor)
    found = Organization.objects.annotate(
        member_count=_count(Membership.objects.filter(organization=OuterRef("pk")), "organization"),
        project_count=_count(Project.objects.filter(organization=OuterRef("pk")), "organization"),
        index_count=_count(
            Index.objects.filter(project__organization=OuterRef("pk"), deleted_at=None),
            "project__organization",
        ),
    ).order_by("name", "pk")
    text = text.replace("\0", "").strip()
    return found.filter(Q(name__icontains=text) | Q(pk__icontains=text)) if text else found


def _count(rows: QuerySet[Any], group: str) -> Coalesce:
    counted = rows.order_by().values(group).annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counted), 0)


def tenant(actor: Actor, organization_id: UUID) -> Organization:
    """One of them.

    Raises:
        NotFound: the actor is no operator, or there is no such organization.
        PermissionDenied: an operator without a second factor.
    """
    found = tenants(actor).filter(pk=organization_id).first()
    if found is None:
        raise no_such(f"organization {organization_id}")
    return found


def unfinished_work(actor: Actor) -> QuerySet[Operation]:
    """Operations on indexes that are pending or failed, newest first.

    Raises:
        NotFound, PermissionDenied: the actor is no operator.
    """
    require_operator(actor)
    states = (Operation.State.PENDING, Operation.State.FAILED)
    return Operation.objects.filter(state__in=states).order_by("-created_at", "-pk")


def unfinished_mail(actor: Actor) -> QuerySet[OutgoingMail]:
    """Mail that waits or was given up, newest first; its text stays out of it.

    Raises:
        NotFound, PermissionDenied: the actor is no operator.
    """
    require_operator(actor)
    return (
        OutgoingMail.objects.filter(Q(next_attempt_at__isnull=False) | ~Q(error=""), sent_at=None)
        .defer("text", "html")
        .order_by("-created_at", "-pk")
    )


def paused_streams(actor: Actor) -> QuerySet[Stream]:
    """Audit streams whose deliveries fail at the moment, those that fail longest first.

    Raises:
        NotFound, PermissionDenied: the actor is no operator.
    """
    require_operator(actor)
    return Stream.objects.filter(is_enabled=True, failures__gt=0).order_by("-failures", "pk")


def drift(actor: Actor) -> dict[str, Any] | None:
    """What the last comparison of rows and servers found, see `indexes.reconciliation.last_round`.

    Raises:
        NotFound, PermissionDenied: the actor is no operator.
    """
    require_operator(actor)
    return last_round()

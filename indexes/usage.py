"""How indexes are used: counting calls, measuring what is in them, and reading both.

The readers take indexes that the caller has found for an actor: they authorize nothing themselves.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Literal
from uuid import UUID

import grpc
from django.db.models import Max, QuerySet, Sum
from django.utils import timezone

from indexes.files import record_path
from indexes.models import Index, IndexStatistics, IndexTraffic, ProjectTraffic
from indexes.probe import describe
from indexes.selectors import wanted_deployments
from kms.certificates import CertificateError
from kms.envelope import KeyUnavailable
from projects.models import Project

logger = logging.getLogger(__name__)

BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in milliseconds; what took longer is counted behind the last one."""
KEPT_DAYS = 90
HOUR = timedelta(hours=1)
_BATCH = 400
Step = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an index, as the gateway's log tells of it.

    Attributes:
        milliseconds: how long it took; None: it was refused before it began.
    """

    at: datetime
    index_id: UUID
    kind: IndexTraffic.Kind
    is_refused: bool
    is_failed: bool
    bytes_in: int
    bytes_out: int
    milliseconds: float | None


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    refused: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))


@dataclass(frozen=True, slots=True)
class Holdings:
    """What several indexes hold together; `measured_at`: the newest of the measurements."""

    records: int
    bytes: int
    measured_at: datetime | None


@dataclass(frozen=True, slots=True)
class Point:
    """The calls within one hour or day that begins at `at`; latencies in milliseconds.

    A latency is None where no call was answered.
    """

    at: datetime
    reads: int = 0
    writes: int = 0
    refused: int = 0
    failed: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


# ---- Counting ----------------------------------------------------------------------------------
def record_traffic(calls: Sequence[Call]) -> None:
    """Add the calls to the hours that they belong to. Indexes that are unknown are left out.

    Called in the transaction that remembers how far the log has been read, so that every call is
    counted once.
    """
    projects = dict(
        Index.objects.filter(pk__in={call.index_id for call in calls}).values_list(
            "pk", "project_id"
        )
    )
    hours: dict[tuple[UUID, datetime, str], _Sum] = defaultdict(_Sum)
    days: dict[tuple[UUID, date, str], _Sum] = defaultdict(_Sum)
    for call in calls:
        if call.index_id in projects:
            hour = call.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            _add(hours[call.index_id, hour, call.kind.value], call)
            _add(days[projects[call.index_id], hour.date(), call.kind.value], call)
    # Always in the same order, so that two workers don't wait for each other.
    for start in range(0, len(hours), _BATCH):
        _save_hours({place: hours[place] for place in sorted(hours, key=str)[start:][:_BATCH]})
    for start in range(0, len(days), _BATCH):
        _save_days({place: days[place] for place in sorted(days, key=str)[start:][:_BATCH]})


def _add(total: _Sum, call: Call) -> None:
    total.calls += 1
    total.refused += call.is_refused
    total.failed += call.is_failed
    total.bytes_in += call.bytes_in
    total.bytes_out += call.bytes_out
    if call.milliseconds is not None and not call.is_refused:
        total.latency[bisect_left(BUCKETS, call.milliseconds)] += 1


def _save_hours(sums: Mapping[tuple[UUID, datetime, str], _Sum]) -> None:
    """Three statements: make the rows that are missing, find all, add to them."""
    IndexTraffic.objects.bulk_create(
        [IndexTraffic(index_id=index_id, hour=hour, kind=kind) for index_id, hour, kind in sums],
        ignore_conflicts=True,
    )
    rows = list(
        IndexTraffic.objects.select_for_update()
        .filter(
            index__in={place[0] for place in sums},
            hour__in={place[1] for place in sums},
        )
        .order_by("pk")
    )
    changed = []
    for row in rows:
        total = sums.get((row.index_id, row.hour, row.kind))
        if total is None:
            continue
        row.calls += total.calls
        row.refused += total.refused
        row.failed += total.failed
        row.bytes_in += total.bytes_in
        row.bytes_out += total.bytes_out
        before = row.latency or [0] * len(total.latency)
        row.latency = [a + b for a, b in zip(before, total.latency, strict=True)]
        changed.append(row)
    fields = ["calls", "refused", "failed", "bytes_in", "bytes_out", "latency"]
    IndexTraffic.objects.bulk_update(changed, fields)


def _save_days(sums: Mapping[tuple[UUID, date, str], _Sum]) -> None:
    """The same for projects."""
    ProjectTraffic.objects.bulk_create(
        [ProjectTraffic(project_id=project, day=day, kind=kind) for project, day, kind in sums],
        ignore_conflicts=True,
    )
    rows = ProjectTraffic.objects.select_for_update().filter(
        project__in={place[0] for place in sums}, day__in={place[1] for place in sums}
    )
    changed = []
    for row in rows.order_by("pk"):
        total = sums.get((row.project_id, row.day, row.kind))
        if total is not None:
            row.calls += total.calls
            row.refused += total.refused
            row.failed += total.failed
            changed.append(row)
    ProjectTraffic.objects.bulk_update(changed, ["calls", "refused", "failed"])


def forget_old_traffic() -> int:
    """Remove what is more than KEPT_DAYS old; how many hours. Safe to run twice."""
    oldest = timezone.now() - timedelta(days=KEPT_DAYS)
    ProjectTraffic.objects.filter(day__lt=oldest.date()).delete()
    return IndexTraffic.objects.filter(hour__lt=oldest).delete()[0]


# ---- Measuring ---------------------------------------------------------------------------------
def measure_all() -> int:
    """Ask every index server of this node what it holds; how many answered. Safe to run twice.

    One that does not answer keeps its last measurement.
    """
    measured = 0
    for deployment in wanted_deployments():
        if not deployment.index.is_ready:
            continue
        try:
            found = describe(deployment)
            size = sum(
                path.stat().st_size
                for path in (
                    record_path(deployment.pk),
                    record_path(deployment.pk).with_name(f"{record_path(deployment.pk).name}-wal"),
                )
                if path.exists()
            )
        except (grpc.RpcError, OSError, CertificateError, KeyUnavailable) as error:
            logger.warning("Index %s could not be measured: %s", deployment.index_id, error)
            continue
        IndexStatistics.objects.update_or_create(
            index_id=deployment.index_id,
            defaults={
                "records": found.total_vector_count,
                "namespaces": len(found.namespaces),
                "bytes": size,
                "measured_at": timezone.now(),
            },
        )
        measured += 1
    return measured


# ---- Reading -----------------------------------------------------------------------------------
def holdings(indexes: QuerySet[Index]) -> Holdings:
    """What the indexes hold together. One query."""
    found = IndexStatistics.objects.filter(index__in=indexes).aggregate(
        records=Sum("records"), bytes=Sum("bytes"), measured_at=Max("measured_at")
    )
    return Holdings(found["records"] or 0, found["bytes"] or 0, found["measured_at"])


def traffic_by_day(
    projects: QuerySet[Project], indexes: QuerySet[Index], since: datetime, until: datetime
) -> list[Point]:
    """The calls of whole projects and of single indexes outside of them together, one point for
    every day from `since` to `until`, in order; without latencies. Two queries.
    """
    sums: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(at: datetime, kind: str, counts: Sequence[int]) -> None:
        calls, refused, failed = counts
        sums[at]["reads" if kind == IndexTraffic.Kind.READ else "writes"] += calls
        sums[at]["refused"] += refused
        sums[at]["failed"] += failed

    totals = (Sum("calls"), Sum("refused"), Sum("failed"))
    days = ProjectTraffic.objects.filter(
        project__in=projects, day__gte=_begin(since, "day").date(), day__lte=until.date()
    )
    for day, kind, *counts in days.order_by().values_list("day", "kind").annotate(*totals):
        add(datetime.combine(day, datetime.min.time(), UTC), kind, counts)
    hours = IndexTraffic.objects.filter(
        index__in=indexes, hour__gte=_begin(since, "day"), hour__lt=until
    )
    for hour, kind, *counts in hours.order_by().values_list("hour", "kind").annotate(*totals):
        add(_begin(hour, "day"), kind, counts)
    return [Point(at, **sums.get(at, {})) for at in _steps(since, until, "day")]


def traffic_of(index: Index, since: datetime, until: datetime, step: Step) -> list[Point]:
    """The same of one index, with latencies. One query."""
    sums: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    latency: dict[datetime, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
    for row in IndexTraffic.objects.filter(
        index=index, hour__gte=_begin(since, step), hour__lt=until
    ):
        at = _begin(row.hour, step)
        sums[at]["reads" if row.kind == IndexTraffic.Kind.READ else "writes"] += row.calls
        sums[at]["refused"] += row.refused
        sums[at]["failed"] += row.failed
        latency[at] = [a + b for a, b in zip(latency[at], row.latency or latency[at], strict=True)]
    points = []
    for at in _steps(since, until, step):
        p50, p95, p99 = (quantile(latency.get(at, []), share) for share in (0.5, 0.95, 0.99))
        points.append(Point(at, p50=p50, p95=p95, p99=p99, **sums.get(at, {})))
    return points


def calls_by_index(indexes: QuerySet[Index], since: datetime) -> dict[UUID, dict[str, int]]:
    """How many reads and writes each of the indexes got since then. One query."""
    found: dict[UUID, dict[str, int]] = defaultdict(lambda: {"reads": 0, "writes": 0})
    rows = IndexTraffic.objects.filter(index__in=indexes, hour__gte=since)
    for pk, kind, calls in rows.values_list("index_id", "kind").annotate(Sum("calls")):
        found[pk]["reads" if kind == IndexTraffic.Kind.READ else "writes"] = calls
    return dict(found)


def quantile(latency: Sequence[int], share: float) -> float | None:
    """What `share` of the counted calls took at most, in milliseconds, between the bounds of its
    bucket by the count in it; None: nothing is counted.
    """
    total = sum(latency)
    if total == 0:
        return None
    wanted = share * total
    for place, upto in enumerate(accumulate(latency)):
        if upto >= wanted and latency[place]:
            low = BUCKETS[place - 1] if place else 0
            high = BUCKETS[place] if place < len(BUCKETS) else BUCKETS[-1]
            within = (wanted - (upto - latency[place])) / latency[place]
            return low + (high - low) * within
    return float(BUCKETS[-1])


def _begin(at: datetime, step: Step) -> datetime:
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if step == "hour" else hour.replace(hour=0)


def _steps(since: datetime, until: datetime, step: Step) -> Iterator[datetime]:
    at, size = _begin(since, step), HOUR if step == "hour" else timedelta(days=1)
    while at < until:
        yield at
        at += size


def total_calls(points: Iterable[Point]) -> tuple[int, int]:
    """Reads and writes of all the points."""
    found = list(points)
    return sum(point.reads for point in found), sum(point.writes for point in found)

"""The page of an index's calls: how many, how fast, how many failed."""

from __future__ import annotations

import csv
from datetime import timedelta
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from indexes.models import IndexStatistics
from indexes.navigation import index_context
from indexes.selectors import get_index_by_id
from indexes.usage import Point, Step, total_calls, traffic_of
from orgs.decorators import PageRequest, page

RANGES: dict[str, tuple[str, timedelta, Step]] = {
    "24h": ("24 hours", timedelta(hours=24), "hour"),
    "7d": ("7 days", timedelta(days=7), "hour"),
    "30d": ("30 days", timedelta(days=30), "day"),
    "90d": ("90 days", timedelta(days=90), "day"),
}
COLUMNS = ("at", "reads", "writes", "refused", "failed", "p50", "p95", "p99")


@require_safe
@page
def requests(request: PageRequest, project_id: UUID, index_id: UUID) -> HttpResponse:
    """Reads and writes, refusals and failures, latency; `format=csv`: the same as a file."""
    index = get_index_by_id(request.actor, project_id, index_id)
    chosen = request.GET.get("range", "24h")
    if chosen not in RANGES:
        chosen = "24h"
    _, size, step = RANGES[chosen]
    now = timezone.now()
    points = traffic_of(index, now - size, now, step)
    if request.GET.get("format") == "csv":
        return as_csv(points, f"{index.name}-{chosen}")
    reads, writes = total_calls(points)
    context = index_context(index) | {
        "points": points,
        "reads": reads,
        "writes": writes,
        "failed": sum(point.failed for point in points),
        "refused": sum(point.refused for point in points),
        "ranges": [(name, label, name == chosen) for name, (label, _, _) in RANGES.items()],
        "chosen": chosen,
        "statistics": IndexStatistics.objects.filter(index=index).first(),
    }
    return render(request, "indexes/requests.html", context)


def as_csv(points: list[Point], name: str) -> HttpResponse:
    """The points as a file, times in UTC by ISO 8601, latencies in milliseconds."""
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    writer = csv.writer(answer)
    writer.writerow(COLUMNS)
    for point in points:
        values = [getattr(point, column) for column in COLUMNS[1:]]
        writer.writerow([point.at.isoformat(), *("" if each is None else each for each in values)])
    return answer

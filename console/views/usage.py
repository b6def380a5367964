"""The page of what an organization uses: records, storage, reads and writes, by index."""

from __future__ import annotations

import csv
from datetime import timedelta
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from console.overview import numbers_of_organization
from indexes.models import Index
from indexes.selectors import indexes_visible_to
from indexes.usage import calls_by_index
from orgs.decorators import PageRequest, page
from orgs.selectors.organizations import get_organization

PER_PAGE = 50
DAYS = {"7": "7 days", "30": "30 days", "90": "90 days"}
COLUMNS = ("project", "index", "index_id", "records", "bytes", "reads", "writes")


@require_safe
@page
def usage(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Every index that the person may see, the largest first; `format=csv`: as a file."""
    found = get_organization(request.actor, organization_id)
    chosen = request.GET.get("days", "30")
    if chosen not in DAYS:
        chosen = "30"
    since = timezone.now() - timedelta(days=int(chosen))
    indexes = (
        indexes_visible_to(request.actor)
        .filter(project__organization=found)
        .select_related("project", "statistics")
        .order_by(F("statistics__records").desc(nulls_last=True), "name", "pk")
    )
    if request.GET.get("format") == "csv":
        return _as_csv(list(indexes), calls_by_index(indexes.order_by(), since), chosen)
    shown = Paginator(indexes, PER_PAGE).get_page(request.GET.get("page"))
    calls = calls_by_index(Index.objects.filter(pk__in=[index.pk for index in shown]), since)
    context = {
        "organization": found,
        "numbers": numbers_of_organization(request.actor, found.pk),
        "page": shown,
        "rows": [(index, calls.get(index.pk, {"reads": 0, "writes": 0})) for index in shown],
        "ranges": [(days, label, days == chosen) for days, label in DAYS.items()],
        "chosen": chosen,
    }
    return render(request, "console/usage.html", context)


def _as_csv(indexes: list[Index], calls: dict[UUID, dict[str, int]], days: str) -> HttpResponse:
    """One line for each index; records and bytes are empty where nothing was measured yet."""
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="usage-{days}d.csv"'
    writer = csv.writer(answer)
    writer.writerow(COLUMNS)
    for index in indexes:
        held = getattr(index, "statistics", None)
        counted = calls.get(index.pk, {"reads": 0, "writes": 0})
        writer.writerow(
            [
                _plain(index.project.name),
                index.name,
                index.pk,
                held.records if held else "",
                held.bytes if held else "",
                counted["reads"],
                counted["writes"],
            ]
        )
    return answer


def _plain(text: str) -> str:
    """The text, so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

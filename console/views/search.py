"""The search over the whole dashboard: a page, and the part of it that the palette shows."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.search import MAX_LENGTH, search
from orgs.decorators import PageRequest, page


@require_safe
@page
def results(request: PageRequest) -> HttpResponse:
    """What was found; `part=1`: the list alone, for the palette."""
    text = request.GET.get("q", "")[:MAX_LENGTH]
    context = {"text": text, "hits": search(request.actor, text)}
    template = "console/hits.html" if request.GET.get("part") else "console/search.html"
    return render(request, template, context)

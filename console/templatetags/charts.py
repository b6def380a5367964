"""Charts drawn on the server: SVG without style attributes, readable without it as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils.text import slugify

register = template.Library()
WIDTH, HEIGHT = 720, 160
LEFT, TOP, BOTTOM = 44, 8, 22
MAX_LABELS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """A series as it is drawn.

    Attributes:
        paths: one for every run of points that have a value.
    """

    label: str
    paths: list[str]
    values: list[str]


@register.inclusion_tag("components/chart.html")
def chart(title: str, points: Sequence[Any], fields: str, unit: str = "") -> dict[str, Any]:
    """A line chart over time.

    Args:
        points: objects with `at` and the fields, in order and evenly spaced.
        fields: `name:Label` for every line, comma-separated.
        unit: behind every value, such as `ms`.
    """
    chosen = [part.strip().partition(":")[::2] for part in fields.split(",")]
    top = nice(max((getattr(p, name) or 0 for p in points for name, _ in chosen), default=0))
    right, low = WIDTH - 4, HEIGHT - BOTTOM
    across = (right - LEFT) / max(1, len(points) - 1)

    def x(place: int) -> float:
        return round(LEFT + across * place, 1)

    def y(value: float) -> float:
        return round(low - (low - TOP) * value / top, 1)

    lines = []
    for name, label in chosen:
        values = [getattr(point, name) for point in points]
        lines.append(
            Line(label, _paths(values, x, y), ["" if v is None else shown(v) for v in values])
        )
    stamp = _stamp(points)
    every = max(1, -(-len(points) // MAX_LABELS))
    return {
        "id": f"chart-{slugify(title)}",
        "title": title,
        "unit": unit,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": right,
        "lines": lines,
        "is_empty": not any(getattr(p, name) for p in points for name, _ in chosen),
        "grid": [(y(top * part), shown(top * part)) for part in (0, 0.5, 1)],
        "marks": [
            (x(place), point.at.strftime(stamp))
            for place, point in enumerate(points)
            if place % every == 0 and x(place) < right - 30
        ],
        "base": HEIGHT - 6,
        "rows": [
            (point.at, [line.values[place] for line in lines]) for place, point in enumerate(points)
        ],
    }


def _paths(values: Sequence[float | None], x: Any, y: Any) -> list[str]:
    """`M x y L x y …` for every run of values; a single one becomes a short stroke."""
    paths: list[str] = []
    run: list[str] = []
    for place, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{x(place)} {y(value)}")
        elif run:
            if len(run) == 1:
                run.append(run[0])
            paths.append("M " + " L ".join(run))
            run = []
    return paths


def _stamp(points: Sequence[Any]) -> str:
    times: list[datetime] = [point.at for point in points[:2]]
    whole_days = len(times) > 1 and times[1] - times[0] >= timedelta(days=1)
    return "%d %b" if whole_days else "%H:%M"


def nice(value: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below the value; 1 for 0."""
    size = 1.0
    while size * 10 <= value:
        size *= 10
    return next((step * size for step in (1, 2, 5, 10) if step * size >= value), size * 10)


def shown(value: float) -> str:
    """The value with few digits, such as `12`, `0.35` or `1.2 k`."""
    for size, name in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            unit = 1000 if name == "k" else size
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


@register.filter
def short(value: float | None) -> str:
    """The number with few digits; nothing for None."""
    return "" if value is None else shown(value)

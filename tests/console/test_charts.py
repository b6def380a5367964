"""Charts drawn on the server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from console.templatetags.charts import nice, shown


@dataclass
class Point:
    at: datetime
    a: float | None
    b: float | None = None


def points(*values: float | None) -> list[Point]:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    return [Point(start + timedelta(hours=n), value) for n, value in enumerate(values)]


def drawn(*values: float | None) -> str:
    template = Template('{% load charts %}{% chart "Calls" points "a:Reads, b:<b>" %}')
    return template.render(Context({"points": points(*values)}))


class ChartTests:
    def test_the_highest_value_is_at_the_top_and_zero_at_the_bottom(self) -> None:
        path = re.search(r'line-1" d="M ([^"]+)"', drawn(0, 10, 0))
        assert path is not None
        heights = [float(each.split()[1]) for each in path[1].split(" L ")]
        assert heights == [138.0, 8.0, 138.0]

    def test_a_gap_parts_the_line(self) -> None:
        assert drawn(1, 2, None, 3).count('chart-line line-1"') == 2

    @pytest.mark.parametrize("values", [(), (None,), (5,), (0, 0)])
    def test_few_values_do_no_harm(self, values: tuple[float | None, ...]) -> None:
        assert "<svg" in drawn(*values)

    def test_labels_are_escaped_and_nothing_is_styled_inline(self) -> None:
        text = drawn(1, 2)
        assert "&lt;b&gt;" in text
        assert "style=" not in text

    @pytest.mark.parametrize(
        ("value", "top"), [(0, 1), (1, 1), (1.2, 2), (7, 10), (10, 10), (11, 20), (480, 500)]
    )
    def test_the_scale_ends_at_a_round_number(self, value: float, top: float) -> None:
        assert nice(value) == top

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0, "0"), (12, "12"), (0.346, "0.346"), (12_345, "12.3 k"), (4_200_000, "4.2 M")],
    )
    def test_few_digits(self, value: float, text: str) -> None:
        assert shown(value) == text

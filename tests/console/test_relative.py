"""Times as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from console.templatetags.console import relative

PAST = [
    (timedelta(seconds=5), "just now"),
    (timedelta(seconds=61), "1 min ago"),
    (timedelta(minutes=119), "1 h ago"),
    (timedelta(days=2, hours=1), "2 d ago"),
    (timedelta(seconds=-30), "in a moment"),
    (timedelta(hours=-5, seconds=-5), "in 5 h"),
    (timedelta(days=-29, hours=-1), "in 29 d"),
]


@pytest.mark.parametrize(("age", "said"), PAST, ids=[said for _, said in PAST])
def test_how_long_ago(age: timedelta, said: str) -> None:
    assert relative(timezone.now() - age) == said


def test_over_a_month_it_is_the_date() -> None:
    assert relative(datetime.fromisoformat("2020-02-03T12:00:00+00:00")) == "3 Feb 2020"
    assert relative(None) == ""

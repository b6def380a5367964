"""What an organization uses, by index."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from indexes.models import Index, IndexStatistics, IndexTraffic
from indexes.usage import Call, record_traffic
from projects.models import Project
from tests.cast import Cast
from tests.indexes.conftest import make_index
from tests.pages import Browser


def used(cast: Cast, name: str, records: int, project: Project | None = None) -> Index:
    index = make_index(project or cast.project, name)
    now = timezone.now()
    IndexStatistics.objects.create(
        index=index, records=records, namespaces=1, bytes=2048, measured_at=now
    )
    record_traffic([Call(now, index.pk, IndexTraffic.Kind.READ, False, False, 1, 1, 2.0)] * 3)
    return index


class UsageTests:
    def page(
        self, cast: Cast, browser: Browser | None = None, query: Any = None, **more: str
    ) -> Any:
        path = f"/organizations/{cast.organization.pk}/usage/"
        return (browser or Browser(cast.alice)).get(path, {**(query or {}), **more})

    def test_the_largest_first_and_none_of_others(self, cast: Cast) -> None:
        used(cast, "small", 5)
        used(cast, "large", 70)
        make_index(cast.project, "unmeasured")
        used(cast, "theirs", 900, cast.other_project)
        text = self.page(cast).content.decode()
        assert text.index("large") < text.index("small") < text.index("unmeasured")
        assert "theirs" not in text
        member = self.page(cast, Browser(cast.bob)).content.decode()
        assert "large" not in member
        assert "Nothing to count yet" in member

    def test_as_a_file_that_no_spreadsheet_executes(self, cast: Cast) -> None:
        Project.objects.filter(pk=cast.project.pk).update(name="=cmd()")
        used(cast, "books", 5)
        answer = self.page(cast, days="7", format="csv")
        assert answer["Content-Disposition"] == 'attachment; filename="usage-7d.csv"'
        (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
        assert (row["project"], row["index"], row["reads"]) == ("'=cmd()", "books", "3")

    def test_odd_values_do_no_harm(self, cast: Cast) -> None:
        for name, value in (("days", "x"), ("page", "\0"), ("page", "999"), ("format", "exe")):
            assert self.page(cast, query={name: value}).status_code == 200

    def test_a_constant_number_of_queries(self, cast: Cast) -> None:
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                self.page(cast)
            return len(queries)

        used(cast, "first", 1)
        count()
        before = count()
        for number in range(10):
            used(cast, f"more-{number}", number)
        assert count() == before

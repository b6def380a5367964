"""Counting calls of indexes by the hour, measuring what they hold, and reading both."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from django.conf import settings
from django.utils import timezone

from indexes import usage
from indexes.models import Deployment, Index, IndexStatistics, IndexTraffic, ProjectTraffic
from indexes.usage import BUCKETS, Call, quantile, record_traffic, traffic_by_day, traffic_of
from projects.models import Project
from protos.generated import vector_service_pb2 as pb
from tests.cast import Cast
from tests.indexes.conftest import make_index
from tests.pages import Browser

NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
READ, WRITE = IndexTraffic.Kind.READ, IndexTraffic.Kind.WRITE


def call(index: Index, kind: IndexTraffic.Kind = READ, at: datetime = NOON, **fields: Any) -> Call:
    """A call that was answered within 7 ms."""
    usual = {"is_refused": False, "is_failed": False, "bytes_in": 10, "bytes_out": 20}
    return Call(at=at, index_id=index.pk, kind=kind, **{**usual, "milliseconds": 7.0, **fields})


@pytest.fixture
def index(cast: Cast) -> Index:
    return make_index(cast.project)


class RecordTests:
    def test_calls_are_summed_by_index_hour_and_kind(self, index: Index) -> None:
        other = make_index(index.project, "other")
        record_traffic(
            [
                call(index),
                call(index, milliseconds=7000.0),
                call(index, is_failed=True),
                call(index, is_refused=True, milliseconds=None),
                call(index, WRITE),
                call(index, at=NOON + timedelta(hours=1)),
                call(other),
            ]
        )
        record_traffic([call(index)])
        row = IndexTraffic.objects.get(index=index, kind=READ, hour__hour=12)
        assert (row.calls, row.refused, row.failed) == (5, 1, 1)
        assert (row.bytes_in, row.bytes_out) == (50, 100)
        assert row.hour == NOON.replace(minute=0)
        assert row.latency[BUCKETS.index(10)] == 3
        assert row.latency[-1] == 1
        assert sum(row.latency) == 4
        assert IndexTraffic.objects.count() == 4
        day = ProjectTraffic.objects.get(kind=READ)
        assert (day.calls, day.refused, day.failed) == (7, 1, 1)

    def test_indexes_that_are_unknown_are_left_out(self, index: Index) -> None:
        gone = Index(pk="00000000-0000-4000-8000-000000000000")
        record_traffic([call(gone), call(index)])
        assert IndexTraffic.objects.get().index_id == index.pk

    def test_old_hours_are_forgotten(self, index: Index) -> None:
        now = timezone.now()
        for days in (0, 89, 91):
            record_traffic([call(index, at=now - timedelta(days=days))])
        assert usage.forget_old_traffic() == 1
        assert usage.forget_old_traffic() == 0
        assert IndexTraffic.objects.count() == 2
        assert ProjectTraffic.objects.count() == 2


class QuantileTests:
    def test_nothing_counted(self) -> None:
        assert quantile([0] * (len(BUCKETS) + 1), 0.5) is None
        assert quantile([], 0.5) is None

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 1.0])
    def test_lies_within_the_bucket_of_the_true_value(self, share: float) -> None:
        times = [0.4, 1.5, 3, 3.1, 4, 8, 9, 15, 30, 80, 140, 900]
        latency = [0] * (len(BUCKETS) + 1)
        for time in times:
            latency[next(n for n, bound in enumerate(BUCKETS) if time <= bound)] += 1
        true = sorted(times)[math.ceil(share * len(times)) - 1]
        place = next(n for n, bound in enumerate(BUCKETS) if true <= bound)
        found = quantile(latency, share)
        assert found is not None
        assert (BUCKETS[place - 1] if place else 0) <= found <= BUCKETS[place]

    def test_what_took_longer_than_all_bounds_counts_as_the_last(self) -> None:
        assert quantile([0] * len(BUCKETS) + [3], 0.5) == BUCKETS[-1]


class ReadTests:
    def test_a_point_for_every_hour_and_day(self, index: Index) -> None:
        record_traffic([call(index), call(index, WRITE), call(index, is_failed=True)])
        since, until = NOON - timedelta(hours=2), NOON + timedelta(hours=1)
        hours = traffic_of(index, since, until, "hour")
        assert [point.at.hour for point in hours] == [10, 11, 12, 13]
        assert [(p.reads, p.writes, p.failed) for p in hours][2] == (2, 1, 1)
        assert hours[2].p50 is not None
        assert 5 <= hours[2].p50 <= 10
        assert hours[0].p50 is None
        nothing = Index.objects.none()
        for projects, indexes in (
            (Project.objects.all(), nothing),
            (Project.objects.none(), Index.objects.all()),
        ):
            days = traffic_by_day(projects, indexes, NOON - timedelta(days=2), until)
            assert [(p.at.day, p.reads, p.failed) for p in days] == [
                (18, 0, 0),
                (19, 0, 0),
                (20, 2, 1),
            ]

    def test_only_the_indexes_asked_for_count(self, index: Index, cast: Cast) -> None:
        theirs = make_index(cast.other_project)
        record_traffic([call(index), call(theirs), call(theirs)])
        mine = Index.objects.filter(project=cast.project)
        ours = Project.objects.filter(pk=cast.project.pk)
        for projects, indexes in ((ours, mine.none()), (ours.none(), mine)):
            points = traffic_by_day(projects, indexes, NOON - timedelta(days=1), NOON)
            assert usage.total_calls(points) == (1, 0)
        assert usage.calls_by_index(mine, NOON - timedelta(days=1)) == {
            index.pk: {"reads": 1, "writes": 0}
        }


class MeasureTests:
    @pytest.fixture
    def served(self, index: Index) -> Deployment:
        Index.objects.update(state="Ready")
        index.operations.update(state="succeeded", finished_at=timezone.now())
        return Deployment.objects.create(index=index, node=settings.TAMARACK_NODE, port=20_001)

    def test_what_the_server_says_is_kept_and_replaced(
        self, served: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in (5, 7):
            answer = pb.DescribeIndexStatsResponse(total_vector_count=number)
            answer.namespaces["a"].vector_count = number
            monkeypatch.setattr(usage, "describe", lambda _, answer=answer: answer)
            assert usage.measure_all() == 1
        found = IndexStatistics.objects.get()
        assert (found.records, found.namespaces) == (7, 1)
        assert usage.holdings(Index.objects.all()).records == 7

    def test_a_server_that_does_not_answer_keeps_its_last_measurement(
        self, served: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Silent(grpc.RpcError):
            pass

        def fail(_: Deployment) -> None:
            raise Silent

        IndexStatistics.objects.create(
            index=served.index, records=3, namespaces=1, bytes=9, measured_at=timezone.now()
        )
        monkeypatch.setattr(usage, "describe", fail)
        assert usage.measure_all() == 0
        assert IndexStatistics.objects.get().records == 3


class PageTests:
    def page(self, index: Index, cast: Cast, **query: str) -> Any:
        path = f"/projects/{index.project_id}/indexes/{index.pk}/requests/"
        return Browser(cast.alice).get(path, query)

    def test_nothing_yet(self, index: Index, cast: Cast) -> None:
        assert b"No requests in this time" in self.page(index, cast).content

    def test_charts_with_their_numbers_as_a_table(self, index: Index, cast: Cast) -> None:
        now = timezone.now()
        record_traffic([call(index, at=now)] * 3 + [call(index, WRITE, at=now)])
        IndexStatistics.objects.create(
            index=index, records=12_345, namespaces=2, bytes=2**20, measured_at=now
        )
        text = self.page(index, cast).content.decode()
        assert text.count("<svg viewBox") == 3
        assert '<td class="num">3</td>' in text
        assert "12.3 k" in text
        assert "1.0\xa0MB" in text

    def test_a_range_that_is_none_is_the_first(self, index: Index, cast: Cast) -> None:
        for chosen in ("30d", "<script>", "", "1000y"):
            assert self.page(index, cast, range=chosen).status_code == 200

    def test_as_a_file(self, index: Index, cast: Cast) -> None:
        record_traffic([call(index, at=timezone.now())])
        answer = self.page(index, cast, range="24h", format="csv")
        assert answer["Content-Disposition"] == 'attachment; filename="products-24h.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
        assert len(rows) == 25
        assert sum(int(row["reads"]) for row in rows) == 1

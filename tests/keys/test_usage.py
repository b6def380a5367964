from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys import usage
from keys.models import ApiKey, KeyUsage, UsagePosition
from keys.usage import Position, Use, forget_old_usage, record_usage, usage_position
from tests.factories import make_key

LOG = "/var/log/access.json"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def use_of(key: ApiKey, **changes: object) -> Use:
    """A query that was let through."""
    made = Use(
        at=NOON,
        key_id=key.pk,
        secret=key.current_secret.lookup_id,
        plane="data",
        operation="Query",
        index_id=None,
        address="192.0.2.7",
        client="python-client-10.2.0",
        allowed=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of the test's choice


def count(*uses: Use, to: int = 0) -> None:
    """Count them as the next ones in the log."""
    before = usage_position(LOG)
    assert record_usage(
        uses,
        source=LOG,
        before=before,
        after=Position(1, to or (before.offset if before else 0) + 9),
    )


@pytest.mark.django_db
class RecordUsageTests:
    def test_equal_calls_of_a_day_are_one_row(self) -> None:
        key, _ = make_key()
        later = NOON + timedelta(hours=2)
        count(use_of(key), use_of(key, at=later))
        count(use_of(key, at=NOON - timedelta(hours=1)))
        row = KeyUsage.objects.get()
        assert (row.count, row.first_at, row.last_at) == (3, NOON - timedelta(hours=1), later)
        assert (row.day, row.outcome) == (NOON.date(), "allowed")

    @pytest.mark.parametrize(
        "other",
        [
            {"at": NOON + timedelta(days=1)},
            {"secret": "0123456789"},
            {"plane": "control"},
            {"operation": "Upsert"},
            {"index_id": uuid.uuid4()},
            {"address": "2001:db8::1"},
            {"client": "curl/8"},
            {"allowed": False},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_whatever_differs_is_counted_apart(self, other: dict[str, object]) -> None:
        key, _ = make_key()
        count(use_of(key), use_of(key, **other))
        assert sorted(row.count for row in KeyUsage.objects.all()) == [1, 1]

    def test_a_part_of_the_log_is_counted_once(self) -> None:
        key, _ = make_key()
        begin, end = Position(1, 100), Position(1, 200)
        assert record_usage([use_of(key)], source=LOG, before=None, after=begin)
        for _ in range(3):  # the first one counts, the others come too late
            record_usage([use_of(key)], source=LOG, before=begin, after=end)
        assert not record_usage([use_of(key)], source=LOG, before=None, after=begin)
        assert KeyUsage.objects.get().count == 2
        assert usage_position(LOG) == end

    def test_logs_are_counted_apart(self) -> None:
        key, _ = make_key()
        for source in ("one", "two"):
            assert record_usage([use_of(key)], source=source, before=None, after=Position(1, 1))
        assert KeyUsage.objects.get().count == 2

    def test_an_inode_may_use_all_64_bits(self, db: None) -> None:
        position = Position(2**64 - 1, 2**62)
        assert record_usage([], source=LOG, before=None, after=position)
        assert usage_position(LOG) == position

    def test_what_fails_counts_nothing_and_does_not_move(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, _ = make_key()
        monkeypatch.setattr(usage, "_note_last_use", broken)
        with pytest.raises(OSError, match="no room"):
            count(use_of(key))
        assert usage_position(LOG) is None
        assert not KeyUsage.objects.exists()

    def test_a_key_that_is_gone_is_left_out(self) -> None:
        key, _ = make_key()
        count(use_of(key, key_id=uuid.uuid4()), use_of(key))
        assert KeyUsage.objects.get().key_id == key.pk

    def test_the_last_use_is_the_latest_that_was_let_in(self) -> None:
        key, _ = make_key()
        index_id = uuid.uuid4()
        count(use_of(key, at=NOON + timedelta(minutes=1), operation="Upsert", index_id=index_id))
        count(use_of(key), use_of(key, at=NOON + timedelta(hours=1), allowed=False))
        key.refresh_from_db()
        assert key.last_used_at == NOON + timedelta(minutes=1)
        assert (key.last_used_operation, key.last_used_ip) == ("Upsert", "192.0.2.7")
        assert key.last_used_index_id == index_id
        assert key.version == 1

    def test_a_secret_was_used_also_where_it_was_refused(self) -> None:
        key, _ = make_key()
        count(use_of(key, allowed=False))
        assert key.secrets.get().last_used_at == NOON

    def test_what_a_client_says_of_itself_can_break_nothing(self) -> None:
        key, _ = make_key()
        count(
            use_of(
                key,
                client="a\0b\ud800c\n" + "x" * 5000,
                operation="\x00",
                address="not an address",
                secret="s" * 99,
            )
        )
        row = KeyUsage.objects.get()
        assert row.client == "abc" + "x" * 77
        assert (row.operation, row.address, row.secret) == ("", "", "s" * 10)

    def test_invented_clients_do_not_fill_the_database(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(usage, "MAX_ROWS_A_DAY", 5)
        key, _ = make_key()
        for _ in range(2):
            count(*(use_of(key, client=str(number)) for number in range(20)))
        assert sum(row.count for row in KeyUsage.objects.all()) == 40
        assert KeyUsage.objects.get(client="").count == 30
        assert KeyUsage.objects.exclude(client="").count() == 5

    def test_takes_as_many_queries_for_many_calls_as_for_one(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        key, _ = make_key()
        count(use_of(key))
        for number in (1, 60):
            uses = [use_of(key, operation=f"{number} {each}") for each in range(number)]
            with django_assert_num_queries(13):
                count(*uses)

    def test_only_a_log_read_to_its_end_tells_that_there_was_nothing(self) -> None:
        key, _ = make_key()
        count(use_of(key))
        assert UsagePosition.objects.get().complete_until == NOON
        here = usage_position(LOG)
        assert here is not None
        assert record_usage([], source=LOG, before=here, after=here)
        lag = timezone.now() - UsagePosition.objects.get().complete_until
        assert usage.LOG_DELAY <= lag < usage.LOG_DELAY + timedelta(minutes=1)

    def test_a_call_from_the_future_does_not_say_so(self) -> None:
        key, _ = make_key()
        count(use_of(key))
        count(use_of(key, at=timezone.now() + timedelta(days=9)))
        assert UsagePosition.objects.get().complete_until == NOON


def broken(*_: object) -> None:
    raise OSError("no room")


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def run(self, *work: Callable[[], object]) -> None:
        start = threading.Barrier(len(work))

        def one(do: Callable[[], object]) -> None:
            try:
                start.wait()
                do()
            finally:
                connections.close_all()

        threads = [threading.Thread(target=one, args=(each,)) for each in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_of_two_workers_one_counts(self) -> None:
        key, _ = make_key()
        use, results = use_of(key), []

        def work() -> None:
            results.append(record_usage([use], source=LOG, before=None, after=Position(1, 10)))

        self.run(work, work, work)
        assert sorted(results) == [False, False, True]
        assert KeyUsage.objects.get().count == 1

    def test_two_logs_count_into_the_same_rows(self) -> None:
        key, _ = make_key()
        uses = [use_of(key, operation=f"op {number}") for number in range(20)]

        def work(source: str) -> Callable[[], object]:
            return lambda: record_usage(
                uses if source == "a" else uses[::-1],
                source=source,
                before=None,
                after=Position(1, 10),
            )

        self.run(work("a"), work("b"))
        assert [row.count for row in KeyUsage.objects.all()] == [2] * 20


@pytest.mark.django_db
class ForgetTests:
    def test_counts_are_kept_for_ninety_days(self) -> None:
        key, _ = make_key()
        now = timezone.now()
        count(use_of(key, at=now - timedelta(days=89)), use_of(key, at=now - timedelta(days=92)))
        assert forget_old_usage() == 1
        assert forget_old_usage() == 0
        assert KeyUsage.objects.get().day == (now - timedelta(days=89)).date()

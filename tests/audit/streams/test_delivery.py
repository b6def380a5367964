from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from audit.models import SealedEvent, Stream
from audit.streams import batches, delivery, webhook
from audit.streams.delivery import LEASE, LONGEST_PAUSE, deliver, due_streams, next_stream
from audit.tasks import deliver_stream, deliver_streams
from tests.audit.receivers import HttpReceiver, Received
from tests.audit.streams.support import make_due, make_stream
from tests.audit.support import grow


def numbers(hook: HttpReceiver) -> list[list[int]]:
    """The event numbers of each request."""
    return [
        [item["seq"] for item in json.loads(request.body)["data"]["events"]]
        for request in hook.received
    ]


@pytest.fixture
def stream(hook: HttpReceiver, log_id: uuid.UUID) -> Stream:
    """A webhook that has everything to send."""
    return make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})


class InOrderTests:
    def test_all_events_arrive_once_and_in_order(
        self,
        stream: Stream,
        hook: HttpReceiver,
        log_id: uuid.UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(batches, "MAX_EVENTS", 2)
        assert deliver(stream.pk) == 5
        grow(log_id, 2)
        assert deliver(stream.pk) == 2
        assert numbers(hook) == [[0, 1], [2, 3], [4], [5, 6]]
        stream.refresh_from_db()
        assert (stream.next_seq, stream.failures, stream.last_error) == (7, 0, "")
        assert stream.last_delivered_at is not None
        assert (stream.lease, stream.lease_until) == (None, None)

    def test_with_nothing_new_nothing_is_sent(self, stream: Stream, hook: HttpReceiver) -> None:
        deliver(stream.pk)
        assert deliver(stream.pk) == 0
        assert len(hook.received) == 1

    def test_a_failed_batch_holds_back_what_comes_after_it(
        self, stream: Stream, hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "MAX_EVENTS", 2)

        def second_fails(_: Received) -> tuple[int, dict[str, str], bytes]:
            return (503 if len(hook.received) == 2 else 200), {}, b""

        hook.answer = second_fails
        assert deliver(stream.pk) == 2
        make_due(stream)
        assert deliver(stream.pk) == 3
        assert numbers(hook) == [[0, 1], [2, 3], [2, 3], [4]]

    def test_a_stream_sends_its_own_organizations_events_alone(
        self, stream: Stream, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        grow(uuid.uuid4(), 9)
        deliver(stream.pk)
        assert numbers(hook) == [[0, 1, 2, 3, 4]]


class NoLossTests:
    def test_who_dies_before_noting_the_acknowledgement_sends_again(
        self, stream: Stream, hook: HttpReceiver
    ) -> None:
        class Died(BaseException):
            pass

        def dies(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if hook.received:
                raise Died
            return execute(sql, params, many, context)

        with pytest.raises(Died), connection.execute_wrapper(dies):
            deliver(stream.pk)
        stream.refresh_from_db()
        assert stream.next_seq == 0
        assert stream.lease is not None
        assert deliver(stream.pk) == 0, "the lease of the dead has to run out first"
        Stream.objects.filter(pk=stream.pk).update(lease_until=timezone.now())
        assert deliver(stream.pk) == 5
        assert numbers(hook) == [[0, 1, 2, 3, 4]] * 2

    def test_who_lost_the_lease_moves_nothing(
        self, stream: Stream, hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = uuid.uuid4()

        def taken_over(*args: Any) -> None:
            webhook.deliver(*args)
            Stream.objects.filter(pk=stream.pk).update(lease=other)

        monkeypatch.setitem(delivery.DELIVERERS, Stream.Kind.WEBHOOK, taken_over)
        assert deliver(stream.pk) == 0
        assert len(hook.received) == 1
        stream.refresh_from_db()
        assert (stream.next_seq, stream.lease) == (0, other)

    def test_an_unforeseen_error_pauses_the_stream_and_loses_nothing(
        self, stream: Stream, hook: HttpReceiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        Stream.objects.filter(pk=stream.pk).update(config={})
        assert deliver(stream.pk) == 0
        assert "can't be served" in caplog.text
        Stream.objects.filter(pk=stream.pk).update(config=stream.config)
        stream.refresh_from_db()
        assert (stream.next_seq, stream.failures, stream.lease) == (0, 1, None)
        make_due(stream)
        assert deliver(stream.pk) == 5


class PauseTests:
    def test_pauses_double_up_to_the_longest(self, stream: Stream, hook: HttpReceiver) -> None:
        hook.answer = lambda _: (500, {}, b"")
        pauses = []
        for number in range(1, 13):
            make_due(stream)
            before = timezone.now()
            assert deliver(stream.pk) == 0
            stream.refresh_from_db()
            assert stream.failures == number
            pauses.append((stream.next_attempt_at - before).total_seconds())
        for number, pause in enumerate(pauses):
            expected = min(LONGEST_PAUSE, 2.0 * 2**number)
            assert 0.74 * expected <= pause <= 1.27 * expected + 1

    def test_before_the_pause_is_over_nothing_is_sent(
        self, stream: Stream, hook: HttpReceiver
    ) -> None:
        hook.answer = lambda _: (500, {}, b"")
        deliver(stream.pk)
        assert deliver(stream.pk) == 0
        assert len(hook.received) == 1
        assert due_streams() == []

    def test_a_success_forgets_the_failures(self, stream: Stream, hook: HttpReceiver) -> None:
        hook.answer = lambda _: (500, {}, b"")
        deliver(stream.pk)
        hook.answer = lambda _: (200, {}, b"")
        make_due(stream)
        deliver(stream.pk)
        stream.refresh_from_db()
        assert (stream.failures, stream.last_error) == (0, "")


class DueTests:
    def test_streams_with_something_to_send_are_due(
        self, stream: Stream, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        assert due_streams() == [stream.pk]
        deliver(stream.pk)
        assert due_streams() == []
        grow(log_id, 1)
        assert due_streams() == [stream.pk]

    def test_disabled_and_leased_ones_are_not(self, stream: Stream) -> None:
        rows = Stream.objects.filter(pk=stream.pk)
        rows.update(is_enabled=False)
        assert (due_streams(), deliver(stream.pk)) == ([], 0)
        rows.update(is_enabled=True, lease_until=timezone.now() + LEASE)
        assert (due_streams(), deliver(stream.pk)) == ([], 0)
        rows.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert due_streams() == [stream.pk]

    def test_one_sends_at_a_time_and_each_has_its_turn(
        self,
        stream: Stream,
        hook: HttpReceiver,
        log_id: uuid.UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        other = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        assert next_stream() == stream.pk
        during: list[uuid.UUID | None] = []
        original = delivery.DELIVERERS[Stream.Kind.WEBHOOK]

        def look(*args: Any) -> None:
            during.append(next_stream())
            original(*args)

        monkeypatch.setitem(delivery.DELIVERERS, Stream.Kind.WEBHOOK, look)
        deliver(stream.pk)
        assert during == [None]
        assert next_stream() == other.pk
        grow(log_id, 1)
        assert due_streams() == [other.pk, stream.pk]

    def test_one_disabled_while_it_sends_stops_after_the_batch(
        self, stream: Stream, hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "MAX_EVENTS", 2)
        rows = Stream.objects.filter(pk=stream.pk)
        original = delivery._send

        def send_and_disable(*args: Any) -> int:
            sent = original(*args)
            rows.update(is_enabled=False)
            return sent

        monkeypatch.setattr(delivery, "_send", send_and_disable)
        assert deliver(stream.pk) == 2

    def test_a_stream_that_is_gone_is_no_error(self, db: None) -> None:
        assert deliver(uuid.uuid4()) == 0

    def test_a_queue_that_does_not_answer_is_no_error(
        self,
        stream: Stream,
        caplog: pytest.LogCaptureFixture,
        without_queue: Callable[[Any], None],
    ) -> None:
        without_queue(deliver_stream)
        deliver_streams()
        assert "the next round asks again" in caplog.text


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_several_at_once_send_everything_once(self, hook: HttpReceiver) -> None:
        log_id = uuid.uuid4()
        grow(log_id, 30)
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        start, sent = threading.Barrier(4), []

        def run() -> None:
            try:
                start.wait(30)
                sent.append(deliver(stream.pk))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(sent) == [0, 0, 0, 30]
        assert numbers(hook) == [list(range(30))]
        assert SealedEvent.objects.filter(log_id=log_id).count() == 30

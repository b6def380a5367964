"""The authorizer's decisions, its short memory, and how it says no when it can't know."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections

from gateway import authorizer
from gateway.authorizer import (
    CACHE_SECONDS,
    LOOKUP_SECONDS,
    THREADS,
    Authorizer,
    Decision,
    build_app,
)
from gateway.resolver import DatabaseResolver
from keys.services.api_keys import revoke_api_key
from orgs.permissions import Role
from tests import factories
from tests.cast import Cast
from tests.gateway.resolver import Key, Route
from tests.indexes.conftest import make_index

KEY = Key("key-1", "ci", "org-a", "project-a", frozenset("rw"))
ROUTE = Route("deployment-1", "index-1", "project-a", "org-a", "127.0.0.1:21400", True, "Ready")


class Memory:
    """A resolver that counts, and may be slow or broken."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {"good": KEY}
        self.routes: dict[int | None, Route] = {8444: ROUTE}
        self.asked: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def verify_key(self, secret: str) -> Key | None:
        self.asked.append(secret)
        self.before()
        return self.keys.get(secret)

    def route_for(self, host: str, port: int | None) -> Route | None:
        return self.routes.get(port)


def decide(
    resolver: authorizer.Resolver,
    secret: str = "good",  # noqa: S107  not one
    port: int | None = 8444,
    operation: str = "r",
    ip: str = "127.0.0.1",
) -> Decision:
    async def ask() -> Decision:
        asked = Authorizer(resolver)
        try:
            return await asked.decide(secret, "localhost:8444", port, operation, ip)
        finally:
            asked.close()

    return asyncio.run(ask())


class DecisionTests:
    def test_a_good_question_is_answered_with_who_and_where(self) -> None:
        decision = decide(Memory())
        assert decision.status == 200
        assert dict(decision.headers) == {
            b"x-tamarack-key-id": b"key-1",
            b"x-tamarack-secret": b"lookup",
            b"x-tamarack-project": b"project-a",
            b"x-tamarack-org": b"org-a",
            b"x-tamarack-deployment": b"deployment-1",
            b"x-tamarack-index": b"index-1",
            b"x-tamarack-address": b"127.0.0.1:21400",
            b"x-tamarack-grants": b"rw",
        }

    @pytest.mark.parametrize(
        ("key", "route", "operation", "status", "words"),
        [
            (None, ROUTE, "r", 401, "unknown, expired or revoked"),
            (None, None, "r", 401, "unknown, expired or revoked"),
            (KEY, None, "r", 404, "No index answers at localhost:8444"),
            (replace(KEY, organization_id="org-b"), ROUTE, "r", 404, "No index answers at"),
            (replace(KEY, project_id="project-b"), ROUTE, "r", 403, "belongs to project project-b"),
            (
                replace(KEY, grants=frozenset("r")),
                ROUTE,
                "w",
                403,
                "lacks the permission data:write",
            ),
            (replace(KEY, grants=frozenset()), ROUTE, "r", 403, "lacks the permission data:read"),
            (
                KEY,
                replace(ROUTE, ready=False, state="Initializing"),
                "r",
                503,
                "state is Initializing",
            ),
            (
                KEY,
                replace(ROUTE, ready=False, state="Terminating"),
                "w",
                503,
                "state is Terminating",
            ),
            (KEY, replace(ROUTE, address=""), "r", 503, "not ready"),
        ],
    )
    def test_every_refusal_says_why(
        self, key: Key | None, route: Route | None, operation: str, status: int, words: str
    ) -> None:
        memory = Memory()
        memory.keys = {"good": key} if key else {}
        memory.routes = {8444: route} if route else {}
        decision = decide(memory, operation=operation)
        assert decision.status == status
        assert words in decision.message
        assert not decision.allowed
        names = {b"x-tamarack-key-id": b"key-1", b"x-tamarack-secret": b"lookup"}
        assert dict(decision.headers) == (names if key else {})

    def test_a_key_limited_to_namespaces_carries_them(self) -> None:
        memory = Memory()
        memory.keys = {"good": replace(KEY, namespaces=frozenset({"", "a,b", "ü"}))}
        headers = dict(decide(memory).headers)
        assert headers[b"x-tamarack-namespaces"] == b",a%2Cb,%C3%BC"

    @pytest.mark.parametrize(
        ("limits", "ip", "words"),
        [
            ({"ips": ("192.0.2.1",)}, "192.0.2.2", "not from 192.0.2.2"),
            ({"index_ids": ("index-2",)}, "192.0.2.1", "not for index-1"),
        ],
    )
    def test_a_key_outside_its_limits_hears_which(
        self, limits: dict[str, Any], ip: str, words: str
    ) -> None:
        memory = Memory()
        memory.keys = {"good": replace(KEY, **limits)}
        decision = decide(memory, ip=ip)
        assert (decision.status, decision.message, decision.allowed) == (403, words, False)

    def test_what_one_address_may_is_not_remembered_for_another(self) -> None:
        memory = Memory()
        memory.keys = {"good": replace(KEY, ips=("192.0.2.1",))}

        async def ask() -> list[int]:
            asked = Authorizer(memory)
            addresses = ("192.0.2.1", "192.0.2.2", "192.0.2.1")
            return [(await asked.decide("good", "h", 8444, "r", ip)).status for ip in addresses]

        assert asyncio.run(ask()) == [200, 403, 200]

    def test_a_key_without_grants_learns_what_it_lacks_only_for_known_methods(self) -> None:
        memory = Memory()
        memory.keys = {"good": replace(KEY, grants=frozenset())}
        decision = decide(memory, operation="none")
        assert (decision.status, dict(decision.headers)[b"x-tamarack-grants"]) == (200, b"none")


class MemoryTests:
    def test_equal_questions_at_one_time_are_one(self) -> None:
        memory = Memory()
        memory.before = lambda: time.sleep(0.05)

        async def ask() -> list[Decision]:
            asked = Authorizer(memory)
            question = asked.decide("good", "h", 8444, "r")
            more = [asked.decide("good", "h", 8444, op) for op in ("r", "w") * 20]
            return await asyncio.gather(question, *more)

        assert {d.status for d in asyncio.run(ask())} == {200}
        assert memory.asked == ["good"]

    def test_an_answer_is_kept_for_a_fifth_of_a_second_from_the_question_on(self) -> None:
        memory = Memory()
        memory.before = lambda: time.sleep(0.1)

        async def ask() -> tuple[int, int, float]:
            asked = Authorizer(memory)
            started = time.monotonic()
            await asked.decide("good", "h", 8444, "r")
            memory.keys.clear()
            kept = (await asked.decide("good", "h", 8444, "r")).status
            memory.before = lambda: None
            while (status := (await asked.decide("good", "h", 8444, "r")).status) == 200:
                await asyncio.sleep(0.005)
            return kept, status, time.monotonic() - started

        kept, status, seconds = asyncio.run(ask())
        assert (kept, status) == (200, 401)
        assert CACHE_SECONDS <= seconds < 0.5

    def test_a_failure_is_not_kept(self) -> None:
        memory = Memory()

        def fail() -> None:
            memory.before = lambda: None
            raise OSError("database is gone: secret=good")

        memory.before = fail

        async def ask() -> list[int]:
            asked = Authorizer(memory)
            return [(await asked.decide("good", "h", 8444, "r")).status for _ in range(2)]

        assert asyncio.run(ask()) == [503, 200]

    def test_a_failure_is_logged_without_what_was_asked(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        memory = Memory()

        def fail() -> None:
            raise OSError("database is gone: secret=good")

        memory.before = fail
        assert decide(memory).status == 503
        assert caplog.messages == ["authorization unavailable: OSError"]

    def test_secrets_are_not_kept(self) -> None:
        async def ask() -> Authorizer:
            asked = Authorizer(Memory())
            await asked.decide("good", "h", 8444, "r")
            return asked

        kept = asyncio.run(ask())
        assert "good" not in repr(vars(kept._keys))
        assert len(kept._keys._answers) == 1

    def test_old_answers_go_when_there_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(authorizer, "MAX_KEPT", 10)

        async def ask() -> int:
            asked = Authorizer(Memory())
            for number in range(10):
                await asked.decide(f"bad-{number}", "h", 8444, "r")
            await asyncio.sleep(CACHE_SECONDS)
            await asked.decide("good", "h", 8444, "r")
            return len(asked._keys._answers)

        assert asyncio.run(ask()) == 1


class SlowDatabaseTests:
    def test_one_that_hangs_is_503_in_time_and_callers_do_not_queue_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authorizer, "MAX_WAITING", 8)
        memory, release = Memory(), threading.Event()
        memory.before = release.wait

        async def ask() -> tuple[list[Decision], float, Decision]:
            asked = Authorizer(memory)
            started = time.monotonic()
            questions = [asked.decide(f"key-{n}", "h", 8444, "r") for n in range(30)]
            answers = await asyncio.gather(*questions)
            seconds = time.monotonic() - started
            await asyncio.sleep(started + LOOKUP_SECONDS + 0.1 - time.monotonic())
            release.set()
            while asked._keys._waiting:
                await asyncio.sleep(0.005)
            return answers, seconds, await asked.decide("good", "h", 8444, "r")

        answers, seconds, after = asyncio.run(ask())
        assert {a.status for a in answers} == {503}
        assert all("database does not answer" in a.message for a in answers)
        assert seconds < 1
        # Those that no thread had taken up in time were not looked up at all.
        assert len(memory.asked) == THREADS + 1
        assert after.status == 200


class AsgiTests:
    def ask(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Any] = []

        async def run() -> None:
            async def send(message: Any) -> None:
                sent.append(message)

            async def receive() -> dict[str, Any]:
                return {"type": "http.request"}

            scope = {"type": "http", "path": path, "headers": list(headers.items())}
            await build_app(Memory())(scope, receive, send)

        asyncio.run(run())
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    @pytest.mark.parametrize("port", [b"", b"x", b"-1", b"\xb2", b"99999999999999999999"])
    def test_a_port_that_is_none_finds_no_index(self, port: bytes) -> None:
        status, headers, _ = self.ask("/check", {b"api-key": b"good", b"x-port": port})
        assert (status, headers[b"x-tamarack-decision"]) == (404, b"deny")

    def test_only_an_allowed_call_is_marked_as_allowed(self) -> None:
        good = {b"api-key": b"good", b"x-port": b"8444", b"x-operation": b"r"}
        assert self.ask("/check", good)[1][b"x-tamarack-decision"] == b"allow"
        for path, headers in (("/check", {}), ("/health", good), ("/other", good)):
            assert self.ask(path, headers)[1][b"x-tamarack-decision"] == b"deny"

    def test_words_survive_in_any_language(self) -> None:
        headers = {b"api-key": b"\xc3\xa9", b"x-port": b"8444"}
        status, _, body = self.ask("/check", headers)
        assert (status, body.decode()[:15]) == (401, "Invalid API key")


@pytest.mark.django_db(transaction=True)
class DatabaseResolverTests:
    """The database's answers, asked for in another thread as the authorizer does it."""

    def ask(self, secret: str, port: int, operation: str = "r") -> Decision:
        found: list[Decision] = []

        class Closing(DatabaseResolver):
            """Leaves no connection behind in the authorizer's threads."""

            def verify_key(self, secret: str) -> authorizer.VerifiedKey | None:
                try:
                    return super().verify_key(secret)
                finally:
                    connections.close_all()

            def route_for(self, host: str, port: int | None) -> authorizer.Route | None:
                try:
                    return super().route_for(host, port)
                finally:
                    connections.close_all()

        thread = threading.Thread(
            target=lambda: found.append(decide(Closing(), secret, port, operation))
        )
        thread.start()
        thread.join()
        return found[0]

    def test_a_key_and_an_index_of_its_project(self, cast: Cast) -> None:
        index = make_index(cast.project)
        port = index.gateway_port
        assert port is not None
        decision = self.ask(cast.key, port)
        assert decision.status == 503
        assert "state is Initializing" in decision.message
        deployment = index.deployments.create(node="node-1", port=21400)
        index.state = index.State.READY
        index.save()
        decision = self.ask(cast.key, port, "w")
        headers = {k.decode(): v.decode() for k, v in decision.headers}
        assert headers.pop("x-tamarack-key-id")
        assert headers.pop("x-tamarack-secret")
        assert headers == {
            "x-tamarack-project": str(cast.project.pk),
            "x-tamarack-org": str(cast.organization.pk),
            "x-tamarack-deployment": str(deployment.pk),
            "x-tamarack-index": str(index.pk),
            "x-tamarack-address": "127.0.0.1:21400",
            "x-tamarack-grants": "rw",
        }
        assert self.ask(cast.other_key, port).status == 404
        assert self.ask(cast.key, port + 1).status == 404
        assert self.ask(cast.key[:-1] + "0", port).status == 401
        row, reader = factories.make_key(cast.project, [Role.DATA_PLANE_VIEWER], "reader")
        assert self.ask(reader, port).status == 200
        assert "data:write" in self.ask(reader, port, "w").message
        neighbour = factories.make_project(cast.organization)
        assert self.ask(factories.make_key(neighbour)[1], port).status == 403
        revoke_api_key(actor=factories.SYSTEM, key_id=row.pk)
        assert self.ask(reader, port).status == 401

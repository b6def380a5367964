"""Who is calling, and where does the call go? The ASGI application that the Lua filter asks.

    GET /check     api-key, x-host (host[:port] that the client asked for), x-port (the gateway's
                   port that the call came in by), x-client-ip, x-operation (r reads, w writes,
                   none: no known method)
    200            x-tamarack-decision: allow, and
                   x-tamarack-{key-id,secret,project,org,deployment,index,address,grants}, and
                   x-tamarack-namespaces where the key is limited to some
    401|403|404|503   x-tamarack-decision: deny, a text for the caller, and, of a key that is known,
                   x-tamarack-{key-id,secret}, which name it in the access log
    GET /health    200

It reads, and never writes. Answers are kept for CACHE_SECONDS, counted from before the question to
the database, so that with the 0.5 s of the Lua filter a revoked key stops working within 1 s.
Equal questions asked at one time are one question. The database is asked in a few threads; more
questions than MAX_WAITING, or one that takes more than LOOKUP_SECONDS, are answered 503: no.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

logger = logging.getLogger(__name__)

CACHE_SECONDS = 0.2
# Less than the 0.4 s that the Lua filter waits, so that callers hear the reason.
LOOKUP_SECONDS = 0.35
THREADS = 4
MAX_WAITING = 256
MAX_KEPT = 20_000

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = TypeVar("Answer")


class VerifiedKey(Protocol):
    """What the authorizer needs of the `VerifiedKey` of the keys; ids print as their text."""

    @property
    def id(self) -> object: ...
    @property
    def label(self) -> str: ...
    @property
    def organization_id(self) -> object: ...
    @property
    def project_id(self) -> object: ...
    @property
    def grants(self) -> frozenset[str]: ...
    @property
    def secret(self) -> str: ...
    @property
    def namespaces(self) -> frozenset[str] | None: ...
    def refusal(self, *, ip: str, index_id: Any) -> str:
        """Why the key may not be used from this address or for this index; empty: it may."""


class Route(Protocol):
    """What the authorizer needs of `indexes.selectors.Route`."""

    @property
    def deployment_id(self) -> object | None: ...
    @property
    def index_id(self) -> object: ...
    @property
    def project_id(self) -> object: ...
    @property
    def organization_id(self) -> object: ...
    @property
    def address(self) -> str: ...
    @property
    def ready(self) -> bool: ...
    @property
    def state(self) -> str: ...


class Resolver(Protocol):
    """The two questions to the database; both block and run in a thread."""

    def verify_key(self, secret: str) -> VerifiedKey | None:
        """The key, or None where it may not be used."""

    def route_for(self, host: str, port: int | None) -> Route | None:
        """The index at this address, or None."""


@dataclass(frozen=True)
class Decision:
    """An answer to the gateway: allowed, with identity headers, or a refusal with its reason."""

    status: int
    message: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    allowed: bool = False


class Overloaded(Exception):
    """More questions wait for the database than it will answer in time."""


def _while_wanted(look_up: Callable[[], Answer], deadline: float) -> Answer:
    """Do no work that nobody waits for any more: it would keep the next ones waiting too."""
    if time.monotonic() > deadline:
        raise Overloaded("the question waited too long for a thread")
    return look_up()


class Recent(Generic[Answer]):
    """Answers of the last CACHE_SECONDS, and one lookup at a time for equal questions."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._answers: dict[Hashable, tuple[float, asyncio.Future[Answer]]] = {}
        self._waiting = 0

    async def get(self, question: Hashable, look_up: Callable[[], Answer]) -> tuple[float, Answer]:
        """The answer to `question`, looked up in a thread unless a fresh one is known, and when it
        was asked for.

        Raises:
            Overloaded: too many lookups wait.
            Exception: whatever `look_up` raises; failures are not kept.
        """
        now = time.monotonic()
        found = self._answers.get(question)
        if found is None or now - found[0] >= CACHE_SECONDS:
            if self._waiting >= MAX_WAITING:
                raise Overloaded(f"{self._waiting} lookups wait for the database")
            if len(self._answers) >= MAX_KEPT:
                self._forget_old(now)
            future = asyncio.get_running_loop().run_in_executor(
                self._pool, partial(_while_wanted, look_up, now + LOOKUP_SECONDS)
            )
            self._waiting += 1
            future.add_done_callback(partial(self._done, question))
            found = (now, future)
            self._answers[question] = found
        # One caller that gives up must not cancel the lookup of the others.
        return found[0], await asyncio.shield(found[1])

    def _done(self, question: Hashable, future: asyncio.Future[Answer]) -> None:
        self._waiting -= 1
        failed = future.cancelled() or future.exception() is not None
        known = self._answers.get(question)
        if failed and known is not None and known[1] is future:
            del self._answers[question]

    def _forget_old(self, now: float) -> None:
        self._answers = {
            question: found
            for question, found in self._answers.items()
            if now - found[0] < CACHE_SECONDS
        }


class Authorizer:
    """Decides about calls; one per process, used from one event loop."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="authorizer")
        self._keys: Recent[VerifiedKey | None] = Recent(self._pool)
        self._routes: Recent[Route | None] = Recent(self._pool)
        self._decisions: dict[Hashable, tuple[float, Decision]] = {}

    async def decide(
        self, secret: str, host: str, port: int | None, operation: str, ip: str = ""
    ) -> Decision:
        """Who calls and where to; every failure to find out is a 503.

        Args:
            ip: the client's address.
            operation: `r`, `w`, or `none` for an unknown method, which the gateway refuses.
        """
        digest = _digest(secret)
        question = (digest, host, port, operation, ip)
        known = self._decisions.get(question)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                (key_asked, key), (route_asked, route) = await asyncio.gather(
                    self._keys.get(digest, partial(self._resolver.verify_key, secret)),
                    self._routes.get((host, port), partial(self._resolver.route_for, host, port)),
                )
        except Exception as error:  # noqa: BLE001  whatever went wrong, the answer is no
            # The text of a database error may hold what was asked for, so only its kind is logged.
            logger.warning("authorization unavailable: %s", type(error).__name__)
            return Decision(503, _UNAVAILABLE)
        decision = _decision(key, route, host, operation, ip)
        self._remember(question, min(key_asked, route_asked) + CACHE_SECONDS, decision)
        return decision

    def _remember(self, question: Hashable, until: float, decision: Decision) -> None:
        """Keep it as long as the older of the answers that it follows from."""
        if len(self._decisions) >= MAX_KEPT:
            now = time.monotonic()
            self._decisions = {
                each: known for each, known in self._decisions.items() if now < known[0]
            }
        self._decisions[question] = until, decision

    def close(self) -> None:
        """End the threads; lookups that still wait are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


_UNAVAILABLE = (
    "API keys can't be checked at the moment, because the control plane's database does not"
    " answer; nothing was let through. Try again shortly."
)
_INVALID_KEY = (
    "Invalid API key: it is unknown, expired or revoked. Create one under the project's API keys"
    " and send it as the Api-Key header."
)
_LACKING = {
    "r": ("data:read", "DataPlaneViewer, DataPlaneEditor, ProjectViewer or ProjectEditor"),
    "w": ("data:write", "DataPlaneEditor or ProjectEditor"),
}


def _decision(
    key: VerifiedKey | None, route: Route | None, host: str, operation: str, ip: str
) -> Decision:
    if key is None:
        return Decision(401, _INVALID_KEY)
    # An index of another organization does not exist for the caller.
    if route is None or route.organization_id != key.organization_id:
        return _refusal(
            key,
            404,
            f"No index answers at {host[:255]}. Take the host from describe_index; after an index"
            " was deleted and created again it may have another one.",
        )
    if beyond := _beyond(key, route, operation, ip):
        return _refusal(key, 403, beyond)
    if not route.ready or not route.address or route.deployment_id is None:
        return _refusal(
            key,
            503,
            f"The index is not ready: its state is {route.state}. describe_index says more;"
            " try again once its status is ready.",
        )
    values = {
        "project": route.project_id,
        "org": route.organization_id,
        "deployment": route.deployment_id,
        "index": route.index_id,
        "address": route.address,
        # "none" is no grant: a key that may neither read nor write has got here by no known method.
        "grants": "".join(sorted(key.grants)) or "none",
    }
    if key.namespaces is not None:
        values["namespaces"] = ",".join(quote(name, safe="") for name in sorted(key.namespaces))
    return Decision(200, headers=(*_names(key), *_headers(values)), allowed=True)


def _beyond(key: VerifiedKey, route: Route, operation: str, ip: str) -> str:
    """Which limit of the key the call exceeds; empty: none."""
    if route.project_id != key.project_id:
        return (
            f"API key {key.label!r} belongs to project {key.project_id}, but this index to another"
            " one. Use a key of the index's own project."
        )
    if refused := key.refusal(ip=ip, index_id=route.index_id):
        return refused
    if operation in _LACKING and operation not in key.grants:
        permission, roles = _LACKING[operation]
        return (
            f"API key {key.label!r} lacks the permission {permission}. Use a key with the role"
            f" {roles}."
        )
    return ""


def _refusal(key: VerifiedKey, status: int, message: str) -> Decision:
    return Decision(status, message, headers=_names(key))


def _names(key: VerifiedKey) -> tuple[tuple[bytes, bytes], ...]:
    """What the access log knows the key by, and which of its secrets was shown."""
    return _headers({"key-id": key.id, "secret": key.secret})


def _headers(values: Mapping[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((f"x-tamarack-{n}".encode(), str(v).encode()) for n, v in values.items())


def _digest(secret: str) -> bytes:
    """What the cache knows a key by, so that it holds no secret."""
    return hashlib.sha256(secret.encode()).digest()


def build_app(resolver: Resolver) -> Asgi:
    """The ASGI application on top of `resolver`."""
    authorizer = Authorizer(resolver)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(authorizer, receive, send)
        elif scope["type"] == "http":
            await _answer(await _handle(authorizer, scope), send)

    return app


async def _live(authorizer: Authorizer, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            authorizer.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _handle(authorizer: Authorizer, scope: Scope) -> Decision:
    if scope["path"] == "/health":
        return Decision(200)
    if scope["path"] != "/check":
        return Decision(404, "Ask /check or /health.")
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    port = headers.get(b"x-port", "")
    return await authorizer.decide(
        headers.get(b"api-key", ""),
        headers.get(b"x-host", ""),
        int(port) if port.isascii() and port.isdigit() else None,
        headers.get(b"x-operation", "none"),
        headers.get(b"x-client-ip", ""),
    )


async def _answer(decision: Decision, send: Send) -> None:
    body = decision.message.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-tamarack-decision", b"allow" if decision.allowed else b"deny"),
        *decision.headers,
    ]
    await send({"type": "http.response.start", "status": decision.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

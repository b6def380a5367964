"""As much of HTTP/2 (RFC 9113) as it takes to make gRPC calls faster than what is measured can
answer them: unary calls over TLS, messages and header blocks encoded once, every answer checked.

gRPC's own Python client takes longer for a call than the gateway does, so it would hide what the
gateway takes. Denials also travel as HTTP 200: here an answer counts only where its message is the
expected one, byte by byte, and its trailers say grpc-status 0.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0x0,
    *(0x1, 0x3, 0x4, 0x6, 0x7, 0x8, 0x9),
)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 0x1, 0x4
MAX_WINDOW, DEFAULT_WINDOW = 2**31 - 1, 2**16 - 1
RECEIVE = 1 << 18
TIMEOUT = 30.0

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""


class Unexpected(Exception):
    """An answer that is not the one expected; the message shows what came."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field that enters no table (RFC 7541, 6.2.2), shorter than 127 bytes each side."""
    raw = (name.encode(), value.encode())
    assert all(len(part) < 127 for part in raw), name
    return b"\0" + b"".join(bytes([len(part)]) + part for part in raw)


def message(body: bytes) -> bytes:
    """A gRPC message, not compressed."""
    return struct.pack(">BI", 0, len(body)) + body


def greeting() -> bytes:
    """SETTINGS and a window that one run can't exhaust. Without a dynamic table, equal header
    blocks are equal bytes.
    """
    settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, MAX_WINDOW)
    window = struct.pack(">I", MAX_WINDOW - DEFAULT_WINDOW)
    return frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window)


@lru_cache(maxsize=64)
def decoded(block: bytes) -> dict[str, str]:
    """The fields of a header block that uses no dynamic table."""
    return {str(name): str(value) for name, value in Decoder().decode(block)}


@dataclass
class Wire:
    """One connection, either side: splits what arrives into frames and answers the housekeeping."""

    socket: ssl.SSLSocket
    window: int = DEFAULT_WINDOW
    _buffer: bytearray = field(default_factory=bytearray)

    def receive(self) -> Iterator[Frame]:
        """Wait for bytes; the frames that are complete and not about the connection itself.

        Raises:
            ConnectionError: the other side has ended the connection.
        """
        chunk = self.socket.recv(RECEIVE)
        if not chunk:
            raise ConnectionError("the connection was closed")
        buffer = self._buffer
        buffer += chunk
        while self.socket.pending():
            buffer += self.socket.recv(RECEIVE)
        start, end = 0, len(buffer)
        while end - start >= 9:
            length = int.from_bytes(buffer[start : start + 3], "big")
            if end - start < 9 + length:
                break
            kind, flags = buffer[start + 3], buffer[start + 4]
            stream = int.from_bytes(buffer[start + 5 : start + 9], "big") & MAX_WINDOW
            payload = bytes(buffer[start + 9 : start + 9 + length])
            start += 9 + length
            if kind in {DATA, HEADERS}:
                assert not flags & PADDED, "padded frames are not expected"
                yield kind, flags, stream, payload
            elif kind == WINDOW_UPDATE:
                if stream == 0:
                    self.window += int.from_bytes(payload, "big")
            elif kind in {SETTINGS, PING}:
                if not flags & ACK:
                    answer = payload if kind == PING else b""
                    self.socket.sendall(frame(kind, ACK, 0, answer))
            elif kind in {RST_STREAM, GOAWAY, CONTINUATION}:
                raise Unexpected(f"frame {kind} on stream {stream}: {payload!r}")
        del buffer[:start]


@dataclass
class Calls:
    """The calls to make: `bodies` in turns, each answered by the message of the same number."""

    host: str
    port: int
    authority: str
    path: str
    tls: ssl.SSLContext
    metadata: Sequence[tuple[str, str]]
    bodies: Sequence[bytes]
    answers: Sequence[bytes]

    def block(self) -> bytes:
        """The header block of every call."""
        fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", self.path),
            (":authority", self.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *self.metadata,
        ]
        return b"".join(literal(name, value) for name, value in fields)


class _Connection:
    """One client connection with a fixed number of calls under way."""

    def __init__(self, calls: Calls, next_call: Callable[[], int | None]) -> None:
        raw = socket.create_connection((calls.host, calls.port), timeout=TIMEOUT)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = calls.authority.rpartition(":")[0] or calls.authority
        self.wire = Wire(calls.tls.wrap_socket(raw, server_hostname=name))
        self.wire.socket.sendall(PREFACE + greeting())
        self._headers = calls.block()
        self._bodies = [message(body) for body in calls.bodies]
        self._answers = [message(answer) for answer in calls.answers]
        self._next_call = next_call
        self._stream = 1
        self._open: dict[int, tuple[int, float, list[bytes]]] = {}
        self.seconds: list[float] = []

    def send(self, count: int) -> None:
        """Begin up to `count` calls, as far as there are calls left."""
        out = bytearray()
        while count and (number := self._next_call()) is not None:
            body = self._bodies[number % len(self._bodies)]
            if self.wire.window < len(body):
                raise Unexpected("the server's flow control window is used up")
            self.wire.window -= len(body)
            out += frame(HEADERS, END_HEADERS, self._stream, self._headers)
            out += frame(DATA, END_STREAM, self._stream, body)
            self._open[self._stream] = (number, time.perf_counter(), [])
            self._stream += 2
            count -= 1
        if out:
            self.wire.socket.sendall(out)

    def take(self) -> int:
        """Read what has arrived; how many calls it completed."""
        done = 0
        for kind, flags, stream, payload in self.wire.receive():
            number, began, parts = self._open[stream]
            if kind == DATA:
                parts.append(payload)
            if not flags & END_STREAM:
                continue
            body = b"".join(parts)
            fields = decoded(payload) if kind == HEADERS else {}
            if (
                fields.get("grpc-status") != "0"
                or body != self._answers[number % len(self._answers)]
            ):
                raise Unexpected(f"call {number}: {fields}, {len(body)} bytes: {body[:200]!r}")
            self.seconds.append(time.perf_counter() - began)
            del self._open[stream]
            done += 1
        return done


@dataclass(frozen=True)
class Load:
    """What a run measured: `seconds` of each call, and of them all."""

    seconds: list[float]
    elapsed: float

    @property
    def rate(self) -> float:
        """Calls per second."""
        return len(self.seconds) / self.elapsed


def load(calls: Calls, count: int, connections: int = 1, streams: int = 1) -> Load:
    """Make `count` calls over `connections`, `streams` at a time on each.

    Raises:
        Unexpected, ConnectionError: an answer was not the one expected.
    """
    numbers = iter(range(count))
    with ExitStack() as stack:
        clients = [_Connection(calls, lambda: next(numbers, None)) for _ in range(connections)]
        waiting = stack.enter_context(selectors.DefaultSelector())
        for client in clients:
            stack.enter_context(client.wire.socket)
            waiting.register(client.wire.socket, selectors.EVENT_READ, client)
        began = time.perf_counter()
        for client in clients:
            client.send(streams)
        left = count
        while left:
            ready = waiting.select(TIMEOUT)
            if not ready:
                raise Unexpected(f"no answer within {TIMEOUT:.0f} s, {left} calls outstanding")
            for key, _ in ready:
                done = key.data.take()
                left -= done
                key.data.send(done)
        elapsed = time.perf_counter() - began
    return Load([taken for client in clients for taken in client.seconds], elapsed)


def client_tls(roots: str) -> ssl.SSLContext:
    """A client's TLS for HTTP/2; `roots`: path of the trusted PEM."""
    context = ssl.create_default_context(cafile=roots)
    context.set_alpn_protocols(["h2"])
    return context

"""An index server of the least possible cost: mutual TLS, one fixed answer to one fixed request.

    python -m benchmarks.h2_upstream CERTIFICATE KEY ROOTS REQUEST ANSWER        (files)

Prints the port it listens on. The Python gRPC server takes several times longer for a call than
the gateway; behind it, no difference between two gateways would show.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path

from benchmarks.h2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    WINDOW_UPDATE,
    Unexpected,
    Wire,
    frame,
    greeting,
    literal,
    message,
)

STATUS_200 = b"\x88"
REPLENISH = 1 << 24


def serve(connection: ssl.SSLSocket, expected: bytes, answer: bytes) -> None:
    """Answer every call on one connection that sends `expected`; end it at any other."""
    head = STATUS_200 + literal("content-type", "application/grpc")
    trailers = literal("grpc-status", "0")
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = b""
        while len(start) < len(PREFACE):
            start += connection.recv(len(PREFACE) - len(start))
        assert start == PREFACE
        connection.sendall(greeting())
        wire = Wire(connection)
        bodies: dict[int, bytes] = {}
        taken = 0
        while True:
            out = bytearray()
            for kind, flags, stream, payload in wire.receive():
                if kind != DATA:
                    continue
                body = bodies.pop(stream, b"") + payload
                taken += len(payload)
                if not flags & END_STREAM:
                    bodies[stream] = body
                    continue
                if body != expected:
                    raise Unexpected(f"{len(body)} bytes came, {len(expected)} were expected")
                out += frame(HEADERS, END_HEADERS, stream, head)
                out += frame(DATA, 0, stream, answer)
                out += frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
                wire.window -= len(answer)
            if taken > REPLENISH:
                out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", taken))
                taken = 0
            if wire.window < 0:
                raise Unexpected("the client's flow control window is used up")
            if out:
                connection.sendall(out)


def main() -> None:
    """Serve until the process is ended."""
    certificate, key, roots, request, answer = map(Path, sys.argv[1:])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(roots)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    expected, fixed = message(request.read_bytes()), message(answer.read_bytes())
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            raw, _ = listener.accept()

            def converse(raw: socket.socket = raw) -> None:
                with suppress(ConnectionError, ssl.SSLError):
                    serve(context.wrap_socket(raw, server_side=True), expected, fixed)

            threading.Thread(target=converse, daemon=True).start()


if __name__ == "__main__":
    main()

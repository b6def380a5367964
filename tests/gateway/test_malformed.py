"""What is no proper HTTP request is refused in words, and never lands on an upstream."""

from __future__ import annotations

import json
import socket

import pytest

from tests.gateway.support import KEY, Gateway
from tests.gateway.upstream import IndexServer

PATH = "/describe_index_stats"
MALFORMED = "The request is malformed: "


def answer_to(gateway: Gateway, port: int, text: str) -> tuple[int, dict[str, object]]:
    """Status and JSON body of the answer to these very bytes over HTTP/1.1."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        gateway.tls().wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(text.replace("\n", "\r\n").encode())
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}\n"):
            chunk = tls.recv(65536)
            if not chunk:
                break
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


CASES = {
    "no host": (f"GET {PATH} HTTP/1.1\nApi-Key: {KEY}\n\n", 400, MALFORMED),
    "fragment": (f"GET {PATH}#x HTTP/1.1\nHost: localhost\nApi-Key: {KEY}\n\n", 400, MALFORMED),
    "two lengths": (
        f"POST /query HTTP/1.1\nHost: localhost\nApi-Key: {KEY}\nContent-Length: 2\n"
        "Content-Length: 3\n\n{}",
        400,
        MALFORMED,
    ),
    "length and chunks": (
        f"POST /query HTTP/1.1\nHost: localhost\nApi-Key: {KEY}\nContent-Length: 6\n"
        "Transfer-Encoding: chunked\n\n0\n\nG",
        400,
        MALFORMED,
    ),
    "unknown encoding": (
        f"POST /query HTTP/1.1\nHost: localhost\nApi-Key: {KEY}\nTransfer-Encoding: xchunked\n\n",
        501,
        "The Transfer-Encoding is not known here: ",
    ),
    "HTTP/1.0": (
        f"GET {PATH} HTTP/1.0\nHost: localhost\nApi-Key: {KEY}\n\n",
        426,
        "HTTP/1.0 and older are not spoken here: ",
    ),
    "websocket": (
        f"GET {PATH} HTTP/1.1\nHost: localhost\nApi-Key: {KEY}\nConnection: Upgrade\n"
        "Upgrade: websocket\n\n",
        400,
        "No other protocol is spoken here, such as WebSocket: ",
    ),
}


@pytest.mark.parametrize("name", CASES)
class MalformedRequestTests:
    def test_an_index_answers_in_its_shape(
        self, gateway: Gateway, index: IndexServer, name: str
    ) -> None:
        text, status, words = CASES[name]
        found, body = answer_to(gateway, gateway.settings.index_ports[0], text)
        assert found == status
        assert (body["code"], body["details"]) == (3, [])
        assert str(body["message"]).startswith(words)
        assert index.calls == []

    def test_the_control_plane_answers_in_its_shape(self, gateway: Gateway, name: str) -> None:
        text, status, words = CASES[name]
        found, body = answer_to(gateway, gateway.settings.public_port, text)
        assert (found, body["status"]) == (status, status)
        error = body["error"]
        assert isinstance(error, dict)
        assert error["code"] == "INVALID_ARGUMENT"
        assert error["message"].startswith(words)


class LongHostTests:
    def test_it_is_named_rather_than_the_key_blamed(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        text = f"GET {PATH} HTTP/1.1\nHost: {'a' * 300}\nApi-Key: {KEY}\n\n"
        found, body = answer_to(gateway, gateway.settings.index_ports[0], text)
        assert (found, body["code"]) == (404, 5)
        assert "longer than 255 characters" in str(body["message"])
        assert index.calls == []

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from audit.streams import targets
from audit.streams.https import MAX_ANSWER, send
from audit.streams.targets import DeliveryFailed, Target, connected, is_public
from tests.audit.receivers import HttpReceiver, http_receiver, make_certificate


class IsPublicTests:
    @pytest.mark.parametrize(
        "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"]
    )
    def test_addresses_of_the_internet_are(self, address: str) -> None:
        assert is_public(ip_address(address))

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",  # noqa: S104  listens nowhere
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fe80::1%eth0",
            "fec0::1",
            "ff02::1",
        ],
    )
    def test_no_others_are_however_they_are_written(self, address: str) -> None:
        assert not is_public(ip_address(address))


def get(url: str, ca_pem: str = "") -> int:
    return send("GET", url, headers={"Host": "x"}, body=b"", ca_pem=ca_pem).status


class ConnectedTests:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.255.255.1", "169.254.169.254"])
    def test_a_private_address_is_refused_before_anything_is_sent(self, host: str) -> None:
        with pytest.raises(DeliveryFailed, match=r"not a public address.*ALLOW_PRIVATE_TARGETS"):
            get(f"https://{host}/")

    def test_plaintext_leaves_this_machine_never(self, private_allowed: None) -> None:
        with pytest.raises(DeliveryFailed, match="without TLS"):
            get("http://10.0.0.1/")

    def test_plaintext_on_this_machine_where_the_operator_allows_it(
        self, hook: HttpReceiver
    ) -> None:
        assert get(hook.url) == 200

    def test_the_address_that_was_checked_is_the_one_connected_to(
        self, hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A resolver that changes its answer (DNS rebinding) is asked once."""
        port = int(hook.url.split(":")[2].split("/")[0])
        asked: list[str] = []

        def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert get(f"http://rebinding.example:{port}/") == 200
        assert asked == ["rebinding.example"]

    def test_one_private_address_among_public_ones_refuses_all(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
            for address in ("8.8.8.8", "192.168.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(DeliveryFailed, match=r"leads to 192\.168\.0\.1"):
            get("https://mixed.example/")

    def test_a_name_that_does_not_exist_is_said_so(self) -> None:
        for host in ("nowhere.invalid", "a" * 70 + ".invalid"):
            with pytest.raises(DeliveryFailed, match="can't be resolved"):
                get(f"https://{host}/")

    def test_a_port_where_nobody_listens_is_said_so(self, private_allowed: None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(DeliveryFailed, match="can't be reached"):
            get(f"http://127.0.0.1:{port}/")


class TlsTests:
    def test_a_certificate_of_the_named_authority_is_trusted(
        self, private_allowed: None, tmp_path: Path
    ) -> None:
        certificate, authority = make_certificate(tmp_path)
        with http_receiver(certificate) as receiver:
            assert get(receiver.url, authority) == 200

    def test_any_other_certificate_is_refused(self, private_allowed: None, tmp_path: Path) -> None:
        certificate, _ = make_certificate(tmp_path)
        with http_receiver(certificate) as receiver:
            with pytest.raises(DeliveryFailed, match="certificate to trust"):
                get(receiver.url)
            assert receiver.received == []

    def test_a_certificate_for_another_name_is_refused(
        self, private_allowed: None, tmp_path: Path
    ) -> None:
        certificate, authority = make_certificate(tmp_path)
        with http_receiver(certificate) as receiver:
            with pytest.raises(DeliveryFailed, match="certificate to trust"):
                get(receiver.url.replace("127.0.0.1", "localhost"), authority)
            assert receiver.received == []

    def test_a_server_without_tls_is_said_so(self, hook: HttpReceiver) -> None:
        with pytest.raises(DeliveryFailed, match="does not speak TLS"):
            get(hook.url.replace("http://", "https://"))


@pytest.fixture
def dripping(private_allowed: None) -> Iterator[int]:
    """The port of a server that answers a byte at a time, without end."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n")
                    while not stop.wait(0.02):
                        connection.sendall(b"a")
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    stop.set()
    thread.join()
    server.close()


class PatienceTests:
    def test_an_answer_that_drips_without_end_is_cut(
        self, dripping: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(targets, "DEADLINE", 0.4)
        began = time.monotonic()
        with pytest.raises(DeliveryFailed):
            get(f"http://127.0.0.1:{dripping}/")
        assert time.monotonic() - began < 8

    def test_a_handshake_that_drips_without_end_is_cut(
        self, dripping: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(targets, "DEADLINE", 0.4)
        with pytest.raises(DeliveryFailed):
            get(f"https://127.0.0.1:{dripping}/")

    def test_a_connection_cut_here_never_counts_as_ended_in_order(
        self, private_allowed: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(targets, "DEADLINE", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            target = Target("127.0.0.1", server.getsockname()[1], None)
            with (
                pytest.raises(DeliveryFailed, match=r"longer than 0\.2 s"),
                connected(target) as connection,
            ):
                assert connection.recv(10) == b""

    def test_a_huge_answer_is_not_read(self, hook: HttpReceiver) -> None:
        hook.answer = lambda _: (200, {}, b"x" * (4 * MAX_ANSWER))
        answer = send("GET", hook.url, headers={"Host": "x"}, body=b"")
        assert len(answer.body) == MAX_ANSWER

    @pytest.mark.parametrize(
        "answer", [b"", b"\0\0\0\n", b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0-x\r\n", b"a" * 70_000]
    )
    def test_what_is_no_answer_is_a_failure(self, answer: bytes, private_allowed: None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(DeliveryFailed, match="no whole answer"):
                get(f"http://127.0.0.1:{server.getsockname()[1]}/")
            thread.join()


def test_only_the_named_authority_is_trusted_where_one_is_named(tmp_path: Path) -> None:
    _, authority = make_certificate(tmp_path)
    context = targets.tls_context(authority)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1

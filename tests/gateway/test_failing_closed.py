"""Nothing gets through where a check can't be made, and the caller is told so."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from gateway import bootstrap
from kms import certificates
from protos.generated import vector_service_pb2 as pb
from tests.gateway.support import KEY, TRUST_DOMAIN, Gateway, metadata, refused, wait_until

STATUS = grpc.StatusCode
CANNOT_CHECK = (
    "The gateway can't check the API key at the moment, so nothing was let through."
    " Try again shortly."
)
CANNOT_REACH = (
    "The index server can't be reached: it is starting, or has stopped. Try again shortly."
)


def assert_refused(gateway: Gateway, message: str, number: int = 0) -> None:
    """Both transports say UNAVAILABLE and the same words; no index server was called."""
    for server in gateway.servers:
        server.calls.clear()
    with gateway.http(number) as client:
        response = client.post("/query", json={"topK": 1})
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"code": 14, "message": message, "details": []}
    with gateway.stub(number) as stub:
        query = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata(), timeout=10)
        assert refused(query) == (STATUS.UNAVAILABLE, message)
    assert [server.calls for server in gateway.servers] == [[] for _ in gateway.servers]


def assert_answers(gateway: Gateway, number: int = 0) -> None:
    """Both transports get an answer."""
    with gateway.http(number) as client, gateway.stub(number) as stub:
        response = client.post("/query", json={"topK": 1})
        assert response.status_code == 200, response.text
        stub.Query(pb.QueryRequest(top_k=1), metadata=metadata(), timeout=10)


@pytest.fixture
def own() -> Iterator[Gateway]:
    """A gateway that a test may break."""
    with Gateway() as running:
        running.add_index("i-zero")
        yield running


class AuthorizerTests:
    def test_one_that_hangs(self, own: Gateway) -> None:
        assert_answers(own)
        own.signal("authorizer", signal.SIGSTOP)
        own.forget()
        started = time.monotonic()
        assert_refused(own, CANNOT_CHECK)
        # Two requests, each given up after 0.4 s: callers are not kept hanging as well.
        assert 0.8 <= time.monotonic() - started < 3
        own.signal("authorizer", signal.SIGCONT)
        wait_until(lambda: self._works(own), what="back to work")

    def _works(self, gateway: Gateway) -> bool:
        with gateway.http() as client:
            return client.post("/query", json={"topK": 1}).status_code == 200

    def test_one_that_died_and_one_that_comes_back(self, own: Gateway) -> None:
        assert_answers(own)
        own.end("authorizer")
        own.forget()
        assert_refused(own, CANNOT_CHECK)
        own.start_authorizer()
        assert_answers(own)

    def test_a_database_that_fails_or_is_too_slow(self, own: Gateway) -> None:
        message = (
            "API keys can't be checked at the moment, because the control plane's database does"
            " not answer; nothing was let through. Try again shortly."
        )
        for trouble in ({"fail": True}, {"delay": 0.6}):
            own.store.update(trouble)
            own.save()
            own.forget()
            assert_refused(own, message)
            for name in trouble:
                del own.store[name]
            own.save()
            wait_until(lambda: self._works(own), what="back to work")
        assert KEY not in own.log("authorizer")
        assert "authorization unavailable: OSError" in own.log("authorizer")

    @pytest.mark.parametrize(
        "reply",
        [
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-tamarack-decision: allow\r\n\r\nok",
            # Everything but an address, then an empty one.
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-tamarack-decision: allow\r\n%s\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-tamarack-decision: allow\r\n%s"
            b"x-tamarack-address:\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-tamarack-decision: deny\r\n\r\n",
            b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nTraceback",
            b"HTTP/1.1 403 No\r\ncontent-length: 5\r\n\r\nproxy",
            b"HTTP/1.1 302 Moved\r\ncontent-length: 0\r\nx-tamarack-decision: deny\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\n",
            b"\x00\x01\x02 garbage \xff\r\n\r\n",
            b"",
        ],
        ids=lambda reply: repr(reply[:60]),
    )
    def test_one_that_answers_nonsense(self, own: Gateway, reply: bytes) -> None:
        own.end("authorizer")
        identity = b"".join(
            b"x-tamarack-%s: %s\r\n" % (name, value)
            for name, value in {
                b"key-id": b"k",
                b"project": b"project-a",
                b"org": b"org-a",
                b"deployment": b"deployment-i-zero",
                b"index": b"i-zero",
                b"grants": b"rw",
            }.items()
        )
        with answering(own.settings.authorizer_socket, reply.replace(b"%s", identity)) as asked:
            assert_refused(own, CANNOT_CHECK)
            assert len(asked) >= 2

    @pytest.mark.parametrize("bind", ["127.0.0.1", "::1"])
    def test_it_is_asked_once_for_who_where_and_what(self, bind: str) -> None:
        """The client's address is the one it connected from, whatever it says itself."""
        with Gateway(bind=bind) as gateway:
            gateway.end("authorizer")
            deny = b"HTTP/1.1 401 No\r\ncontent-length: 3\r\nx-tamarack-decision: deny\r\n\r\nno!"
            port = gateway.settings.index_ports[1]
            host = f"[::1]:{port}" if bind == "::1" else f"127.0.0.1:{port}"
            with (
                answering(gateway.settings.authorizer_socket, deny) as asked,
                httpx.Client(base_url=f"https://{host}", verify=gateway.tls()) as client,
            ):
                headers = {"Api-Key": "k", "X-Forwarded-For": "203.0.113.9", "Host": host.upper()}
                for method, path in (("POST", "/query"), ("POST", "/vectors/upsert"), ("GET", "/")):
                    for _ in range(3):
                        answer = client.request(method, path, headers=headers, json={})
                        assert (answer.status_code, answer.json()["message"]) == (401, "no!")
        questions = [dict(re.findall(r"(?m)^([\w-]+): ?(.*)\r$", q.decode())) for q in asked]
        assert [q.pop("x-operation") for q in questions] == ["r", "w", "none"]
        for question in questions:
            ours = {k: v for k, v in question.items() if k in {"api-key", "x-host", "x-port"}}
            assert ours == {"api-key": "k", "x-host": host, "x-port": str(port)}
            assert question["x-client-ip"] == bind

    def test_an_address_that_is_none(self, own: Gateway) -> None:
        for address in ("nowhere", "127.0.0.1", "localhost:99999", "127.0.0.1:0"):
            own.store["routes"][str(own.settings.index_ports[0])]["address"] = address
            own.save()
            own.forget()
            assert_refused(own, CANNOT_REACH)


@contextlib.contextmanager
def answering(path: Path, reply: bytes) -> Iterator[list[bytes]]:
    """A server at a unix socket that answers everything with `reply` and hangs up."""
    path.unlink(missing_ok=True)
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        listener.settimeout(0.05)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(2)
                        asked.append(connection.recv(65536))
                        connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            done.set()
            thread.join()


class EnvoyTests:
    def test_one_that_was_killed_starts_again_over_its_old_sockets(self, own: Gateway) -> None:
        assert_answers(own)
        own.end("envoy")
        own.start_envoy()
        assert_answers(own)

    def test_a_second_one_cannot_share_its_ports_unnoticed(self, own: Gateway) -> None:
        path = bootstrap.write(
            replace(own.settings, run_dir=own.home / "other")  # its own administration socket
        )
        (own.home / "other").mkdir()
        done = subprocess.run(
            [bootstrap.envoy_path(), "--config-path", str(path), "--disable-hot-restart"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode != 0
        assert "Address already in use" in done.stderr
        assert_answers(own)


def lua_patch(script: str, *, without_rbac: bool = False) -> Any:
    """Replace the Lua filter's source (`%s` is what it was)."""

    def patch(bootstrap: dict[str, Any]) -> None:
        for listener in bootstrap["static_resources"]["listeners"]:
            manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
            for http_filter in manager["http_filters"]:
                if http_filter["name"].endswith(".lua"):
                    source = http_filter["typed_config"]["default_source_code"]
                    source["inline_string"] = script.replace("%s", source["inline_string"])
            if without_rbac:
                manager["http_filters"] = [
                    f for f in manager["http_filters"] if not f["name"].endswith(".rbac")
                ]

    return patch


class LuaTests:
    @pytest.mark.parametrize(
        "script",
        [
            # Inside the filter's own guard, before and after it asked the authorizer.
            "%s\nlocal string_lower = string.lower\nstring.lower = function() error('boom') end",
            "%s\nlocal old = ipairs\nipairs = function() error('boom') end",
            # Outside of it: Envoy itself would let the request go on.
            "function envoy_on_request(handle) error('boom') end",
            "function envoy_on_request(handle) handle:nonsense() end",
            "function envoy_on_request(handle) end",
        ],
    )
    def test_an_error_in_the_filter(self, script: str) -> None:
        with Gateway(patch=lua_patch(script)) as gateway:
            gateway.add_index("i-zero")
            assert_refused(gateway, CANNOT_CHECK)

    def test_an_error_in_the_filter_where_rbac_is_missing_as_well(self) -> None:
        script = "function envoy_on_request(handle) error('boom') end"
        with Gateway(patch=lua_patch(script, without_rbac=True)) as gateway:
            server = gateway.add_index("i-zero")
            with gateway.http() as client, gateway.stub() as stub:
                assert client.post("/query", json={"topK": 1}).status_code == 503
                query = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata())
                assert refused(query) == (STATUS.UNAVAILABLE, CANNOT_REACH)
            assert server.calls == []

    def test_a_made_up_identity_where_the_lua_filter_is_broken(self) -> None:
        script = "function envoy_on_request(handle) error('boom') end"
        with Gateway(patch=lua_patch(script)) as gateway:
            server = gateway.add_index("i-zero")
            headers = {"x-envoy-original-dst-host": server.address, "x-tamarack-grants": "rw"}
            with gateway.http() as client:
                response = client.post("/query", json={"topK": 1}, headers=headers)
            assert response.status_code == 503
            assert server.calls == []


class UpstreamTests:
    def test_a_server_of_another_authority_is_not_spoken_to(self, own: Gateway) -> None:
        foreign = certificates.create_issuing(certificates.create_root(TRUST_DOMAIN), TRUST_DOMAIN)
        (server,) = own.servers
        server.stop()
        server.start(
            foreign.issue_workload(
                certificates.index_spiffe_id(TRUST_DOMAIN, "org-a", "project-a", "i-zero")
            )
        )
        assert_refused(own, CANNOT_REACH)

    @pytest.mark.parametrize(
        "path",
        [
            ("org", "org-a", "project", "project-a", "index", "i-other"),
            ("org", "org-a", "project", "project-b", "index", "i-zero"),
            ("org", "org-b", "project", "project-a", "index", "i-zero"),
            ("org", "org-a", "project", "project-a", "index", "i-zero", "more"),
            ("gateway",),
            ("control-plane",),
        ],
    )
    def test_a_server_with_another_identity_is_not_spoken_to(
        self, own: Gateway, path: tuple[str, ...]
    ) -> None:
        (server,) = own.servers
        server.stop()
        server.start(own.authority.issue_workload(certificates.spiffe_id(TRUST_DOMAIN, *path)))
        assert_refused(own, CANNOT_REACH)

    def test_an_edge_certificate_is_no_identity_inside(self, own: Gateway) -> None:
        (server,) = own.servers
        server.stop()
        server.start(certificates.load_pair(*self._edge(own)))
        assert_refused(own, CANNOT_REACH)

    def _edge(self, gateway: Gateway) -> tuple[Path, Path]:
        return gateway.settings.certs / "edge-ecdsa.crt", gateway.settings.certs / "edge-ecdsa.key"

    def test_an_expired_certificate_is_refused(self, own: Gateway) -> None:
        (server,) = own.servers
        server.stop()
        spiffe = certificates.index_spiffe_id(TRUST_DOMAIN, "org-a", "project-a", "i-zero")
        yesterday = datetime.now(UTC) - timedelta(days=2)
        server.start(own.authority.issue_workload(spiffe, now=yesterday))
        assert_refused(own, CANNOT_REACH)

    def test_a_pooled_connection_serves_no_other_identity(self, own: Gateway) -> None:
        """Two indexes routed to one address: only the one that the server is gets an answer."""
        (server,) = own.servers
        other = own.add_index("i-one", start=False)
        route = own.store["routes"][str(own.settings.index_ports[1])]
        route["address"] = server.address
        own.save()
        assert_answers(own, 0)
        assert_refused(own, CANNOT_REACH, number=1)
        assert other.calls == []
        assert_answers(own, 0)

    def test_a_server_that_is_down_is_503_soon_and_back_at_once(self, own: Gateway) -> None:
        (server,) = own.servers
        assert_answers(own)
        server.stop()
        started = time.monotonic()
        assert_refused(own, CANNOT_REACH)
        assert time.monotonic() - started < 5
        server.start()
        assert_answers(own)

    def test_a_restart_of_a_few_hundred_milliseconds_is_not_noticed(self, own: Gateway) -> None:
        """A connection that could not be made is tried again: nothing has been sent on it yet."""
        (server,) = own.servers
        assert_answers(own)
        server.stop()
        timer = threading.Timer(0.05, server.start)
        timer.start()
        try:
            with own.http() as client:
                answers = [client.post("/vectors/upsert", json={"vectors": []}) for _ in range(3)]
        finally:
            timer.join()
        assert [a.status_code for a in answers] == [200, 200, 200]
        assert [c.method for c in server.calls[-3:]] == ["Upsert"] * 3

    def test_a_write_that_broke_off_is_not_sent_again(self, own: Gateway) -> None:
        (server,) = own.servers
        reached = threading.Event()

        def die(method: str, request: Any, context: grpc.ServicerContext) -> None:
            reached.set()
            threading.Thread(target=server.stop).start()
            while context.is_active():
                time.sleep(0.01)

        server.behaviour = die
        with own.http() as client:
            response = client.post("/vectors/upsert", json={"vectors": []})
        assert reached.is_set()
        assert response.status_code in {499, 503}
        assert response.json()["code"] in {1, 14}
        server.behaviour = None
        assert [call.method for call in server.calls] == ["Upsert"]

    def test_an_error_of_the_index_keeps_its_status_and_words(self, own: Gateway) -> None:
        (server,) = own.servers
        words = 'Vector "é" has dimension 3, index has 2.'

        def refuse(method: str, request: Any, context: grpc.ServicerContext) -> None:
            context.set_trailing_metadata((("x-decision", "d-17"),))
            context.abort(STATUS.INVALID_ARGUMENT, words)

        server.behaviour = refuse
        with own.http() as client, own.stub() as stub:
            response = client.post("/query", json={"topK": 1})
            assert response.status_code == 400
            assert response.json() == {"code": 3, "message": words, "details": []}
            with pytest.raises(grpc.RpcError) as caught:
                stub.Query(pb.QueryRequest(top_k=1), metadata=metadata())
        assert caught.value.code() is STATUS.INVALID_ARGUMENT
        assert caught.value.details() == words
        trailers: list[Any] = list(caught.value.trailing_metadata() or ())
        assert ("x-decision", "d-17") in trailers

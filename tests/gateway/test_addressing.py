"""Where a call lands: index ports, index host names, the control plane, and never the wrong one."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import grpc
import httpx
import pytest

from protos.generated import vector_service_pb2 as pb
from tests.gateway.support import KEY, Gateway, metadata, refused

STATUS = grpc.StatusCode


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    headers: Mapping[str, str]


class _Echo(BaseHTTPRequestHandler):
    """Answers every request with what it got, as JSON, and with the server's own headers."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        content = {
            "method": self.command,
            "path": self.path,
            "headers": {k.lower(): v for k, v in self.headers.items()},
            "body": self.rfile.read(length).decode(),
        }
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("strict-transport-security", "max-age=1")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        # A connection kept alive would outlive the server in its thread.
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_PATCH = _answer

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextlib.contextmanager
def control_plane(path: Path, headers: Mapping[str, str] | None = None) -> Iterator[None]:
    """Something that answers on the control plane's socket, with these headers besides its own."""
    path.unlink(missing_ok=True)
    with _Server(str(path), _Echo) as server:
        server.headers = headers or {}
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


@pytest.fixture
def django(gateway: Gateway) -> Iterator[None]:
    with control_plane(gateway.settings.django_socket):
        yield


@pytest.fixture
def host_django(host_gateway: Gateway) -> Iterator[None]:
    with control_plane(host_gateway.settings.django_socket):
        yield


class PortModeTests:
    def test_each_port_leads_to_its_own_index(self, gateway: Gateway) -> None:
        for number in (0, 1):
            gateway.servers[number].calls.clear()
            with gateway.http(number) as client:
                assert client.post("/query", json={"topK": 1}).status_code == 200
            (call,) = gateway.servers[number].calls
            assert call.metadata["x-tamarack-index"] == gateway.servers[number].index

    def test_the_port_decides_and_not_the_host_header(self, gateway: Gateway) -> None:
        first, second = gateway.servers[:2]
        first.calls.clear()
        second.calls.clear()
        with gateway.http(0) as client:
            host = f"localhost:{gateway.settings.index_ports[1]}"
            response = client.post("/query", json={"topK": 1}, headers={"Host": host})
        assert response.status_code == 200
        assert (len(first.calls), len(second.calls)) == (1, 0)

    def test_an_index_port_never_reaches_the_control_plane(
        self, gateway: Gateway, django: None
    ) -> None:
        for host in (
            "localhost",
            "api.localhost",
            f"localhost:{gateway.settings.public_port}",
            "127.0.0.1",
        ):
            with gateway.http(0) as client:
                response = client.get("/indexes", headers={"Host": host})
            assert response.status_code == 404
            assert response.json()["code"] == 5

    def test_the_main_port_never_reaches_an_index(self, gateway: Gateway, django: None) -> None:
        for server in gateway.servers:
            server.calls.clear()
        for host in (f"localhost:{gateway.settings.index_ports[0]}", "i-zero.svc.localhost"):
            with gateway.http(None) as client:
                response = client.post("/query", json={"topK": 1}, headers={"Host": host})
            # Django is who answers, and who decides about host names.
            assert response.json()["path"] == "/query"
        assert [server.calls for server in gateway.servers] == [[], [], []]

    def test_sixty_four_ports_on_one_listener_cost_next_to_nothing(self) -> None:
        def memory(ports: int) -> int:
            with Gateway(ports=ports) as gateway:
                server = gateway.add_index("i-zero")
                route = next(iter(gateway.store["routes"].values()))
                for port in gateway.settings.index_ports:
                    gateway.store["routes"][str(port)] = route
                gateway.save()
                for number in (0, ports // 2, ports - 1):
                    with gateway.http(number) as client, gateway.stub(number) as stub:
                        assert client.post("/query", json={"topK": 1}).status_code == 200
                        stub.Query(pb.QueryRequest(top_k=1), metadata=metadata())
                assert len(server.calls) == 6
                return gateway.resident_kilobytes()

        few, many = memory(3), memory(64)
        assert many - few < 10_000


class ControlPlaneTests:
    def test_it_gets_requests_as_they_are(self, gateway: Gateway, django: None) -> None:
        with gateway.http(None) as client:
            target = {"target": b"/indexes/%2e%2e/a%2Fb?x=1&y=a+b"}
            response = client.post("/", json={"a": 1}, extensions=target)
        got = response.json()
        assert got["path"] == "/indexes/%2e%2e/a%2Fb?x=1&y=a+b"
        assert json.loads(got["body"]) == {"a": 1}
        assert got["headers"]["api-key"] == KEY
        assert got["headers"]["host"] == f"localhost:{gateway.settings.public_port}"
        assert got["headers"]["x-request-id"] == response.headers["x-request-id"]

    def test_the_client_address_and_scheme_are_the_gateways_word(
        self, gateway: Gateway, django: None
    ) -> None:
        forged = {
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Port": "1",
            "Forwarded": "for=203.0.113.9",
            "X-Real-IP": "203.0.113.9",
            "X_Forwarded_For": "203.0.113.9",
            "X-Tamarack-Org": "forged",
            "X-Request-Id": "forged",
        }
        with gateway.http(None) as client:
            got = client.get("/", headers=forged).json()["headers"]
        assert got["x-forwarded-for"] == "127.0.0.1"
        assert got["x-forwarded-proto"] == "https"
        assert not {"x-forwarded-host", "x-forwarded-port", "forwarded", "x-real-ip"} & set(got)
        assert not [name for name in got if "_" in name or name.startswith("x-tamarack")]
        assert "forged" not in str(got)
        assert "203.0.113.9" not in str(got)

    def test_what_is_only_for_indexes_is_off(self, gateway: Gateway, django: None) -> None:
        """No key needed, no transcoding, no rate limit: Django decides for itself."""
        with gateway.http(None, key=None) as client:
            response = client.post("/vectors/upsert", json={"vectors": []})
        assert response.json()["path"] == "/vectors/upsert"
        assert not [name for name in response.headers if name.startswith("x-ratelimit")]

    def test_one_that_is_down_is_a_503_in_its_own_shape(self, gateway: Gateway) -> None:
        with gateway.http(None) as client:
            response = client.get("/indexes")
        assert response.status_code == 503
        assert response.json() == {
            "status": 503,
            "error": {
                "code": "UNAVAILABLE",
                "message": "The control plane can't be reached: it is starting, or has stopped."
                " Try again shortly.",
            },
        }

    def test_hsts_is_kept_from_localhost_and_sent_for_a_real_name(
        self, gateway: Gateway, django: None
    ) -> None:
        name = "strict-transport-security"
        with gateway.http(None) as client:
            assert name not in client.get("/").headers
        with (
            Gateway(public_host="vectors.example.com", index_domain="svc.example.com") as named,
            control_plane(named.settings.django_socket),
            named.http(None) as client,
        ):
            assert client.get("/").headers[name] == "max-age=31536000"

    def test_a_request_that_is_too_large_is_413(self, gateway: Gateway, django: None) -> None:
        with gateway.http(None) as client:
            response = client.post("/indexes", content=b"x" * (4 * 1024 * 1024 + 1))
        assert response.status_code == 413
        error = response.json()["error"]
        assert error["code"] == "OUT_OF_RANGE"
        assert "larger than 4194304 bytes" in error["message"]


class HostModeTests:
    def client(self, gateway: Gateway, host: str) -> httpx.Client:
        """Connect to the one port, and ask for `host` in the Host header."""
        return httpx.Client(
            base_url=gateway.control_url,
            verify=gateway.tls(),
            headers={"Api-Key": KEY, "Host": host},
            trust_env=False,
        )

    @pytest.mark.parametrize("form", ["{}", "{}:{port}"])
    def test_each_name_leads_to_its_own_index(self, host_gateway: Gateway, form: str) -> None:
        for server in host_gateway.servers:
            for other in host_gateway.servers:
                other.calls.clear()
            name = form.format(
                f"{server.index}.svc.localhost", port=host_gateway.settings.public_port
            )
            with self.client(host_gateway, name.upper()) as client:
                assert client.post("/query", json={"topK": 1}).status_code == 200
            with host_gateway.stub(authority=name) as stub:
                stub.Query(pb.QueryRequest(top_k=1), metadata=metadata())
            seen = [call.metadata["x-tamarack-index"] for call in server.calls]
            assert seen == [server.index, server.index]
            assert sum(len(other.calls) for other in host_gateway.servers) == 2

    def test_a_name_that_belongs_to_no_index_is_404(self, host_gateway: Gateway) -> None:
        name = "i-none.svc.localhost"
        with self.client(host_gateway, name) as client:
            response = client.post("/query", json={"topK": 1})
        assert response.status_code == 404
        assert response.json()["code"] == 5
        assert name in response.json()["message"]
        with host_gateway.stub(authority=name) as stub:
            query = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata())
            assert refused(query) == (STATUS.NOT_FOUND, response.json()["message"])

    def test_control_plane_and_indexes_share_the_port_and_nothing_else(
        self, host_gateway: Gateway, host_django: None
    ) -> None:
        for host in ("localhost", "api.localhost", "127.0.0.1"):
            with self.client(host_gateway, host) as client:
                assert client.get("/indexes").json()["path"] == "/indexes"
        with self.client(host_gateway, "i-one.svc.localhost") as client:
            response = client.get("/indexes")
            assert (response.status_code, response.json()["code"]) == (404, 5)

    def test_each_plane_fails_in_its_own_shape(self, host_gateway: Gateway) -> None:
        with self.client(host_gateway, "localhost") as client:
            response = client.get("/indexes")
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "UNAVAILABLE"
        with self.client(host_gateway, "i-one.svc.localhost") as client:
            response = client.post("/query", json={"topK": 1}, headers={"Api-Key": "none"})
            assert response.status_code == 401
            assert response.json()["code"] == 16

    def test_an_unknown_host_is_404(self, host_gateway: Gateway, host_django: None) -> None:
        for host in ("evil.example", "svc.localhost", "i-one.svc.localhost.evil.example"):
            with self.client(host_gateway, host) as client:
                response = client.get("/")
            assert response.status_code == 404
            assert response.json()["status"] == 404
            assert "describe_index" in response.json()["error"]["message"]

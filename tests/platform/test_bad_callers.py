"""Wrong keys, paths, verbs and HTTP on a running platform, and bad input to the control plane.

As in test_bad_input.py: a documented status, Pinecone's shape, the rule, and nothing lost.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest

from tests.indexes.test_api_bad_input import CONFIGURE, CREATE, RAW
from tests.platform.surface import PATIENCE, READS, REST, bounded, creation
from tests.platform.target import (
    BASE,
    JSON,
    KEPT,
    LIMIT,
    Target,
    assert_control_error,
    assert_index_error,
    short,
)

pytestmark = [
    pytest.mark.instance,
    pytest.mark.slow,
    pytest.mark.xdist_group("instance"),
    pytest.mark.usefixtures("nothing_is_lost"),
]

STATUS = grpc.StatusCode
INVALID = STATUS.INVALID_ARGUMENT

# Keys

REFUSED: dict[str | None, tuple[int, int, str]] = {
    None: (401, 16, "exactly one Api-Key header"),
    "": (401, 16, "exactly one Api-Key header"),
    "x" * 300: (401, 16, "exactly one Api-Key header"),
    "nonsense": (401, 16, "unknown, expired or revoked"),
    "tmrk_" + "a" * 59: (401, 16, "unknown, expired or revoked"),
    "revoked": (401, 16, "unknown, expired or revoked"),
    "expired": (401, 16, "unknown, expired or revoked"),
    "foreign": (404, 5, "No index answers at"),
    "sister": (403, 7, "belongs to project"),
}
"""Per key: HTTP status, gRPC code and words of every refusal by an index."""
GRPC_CODES = {code.value[0]: code for code in STATUS}
CONTROL: list[tuple[str, str]] = [
    ("GET", "/indexes"),
    ("POST", "/indexes"),
    ("GET", "/indexes/badinput"),
    ("PATCH", "/indexes/badinput"),
    ("DELETE", "/indexes/badinput"),
    ("POST", "/indexes/create-for-model"),
    ("GET", "/collections"),
    ("POST", "/collections"),
    ("GET", "/collections/badinput"),
    ("DELETE", "/collections/badinput"),
]
"""Every operation that the control plane routes for programs."""


class KeyTests:
    @pytest.mark.parametrize("key", REFUSED, ids=short)
    def test_no_method_of_an_index_answers(self, target: Target, key: str | None) -> None:
        status, code, words = REFUSED[key]
        for method, ways in REST.items():
            found = target.channel.refused(f"/VectorService/{method}", b"", key)
            assert found is not None
            assert found[0] is GRPC_CODES[code], (method, found)
            assert words in found[1]
            for verb, path in ways:
                place = path.format(namespace=KEPT)
                body = {} if verb == "GET" else {"json": BASE.get(method, {})}
                answer = target.send(verb, place, key, **body)
                assert answer.status_code == status, (verb, path, answer.text)
                assert assert_index_error(answer, words)["code"] == code

    def test_a_readers_key_changes_nothing(self, target: Target) -> None:
        for method, ways in REST.items():
            found = target.channel.refused(f"/VectorService/{method}", b"", "reader")
            if method in READS:
                assert found is None or found[0] in {INVALID, STATUS.NOT_FOUND}
                continue
            assert found is not None
            assert found[0] is STATUS.PERMISSION_DENIED
            assert "data:write" in found[1]
            for verb, path in ways:
                place = path.format(namespace=KEPT)
                answer = target.send(verb, place, "reader", json=BASE.get(method, {}))
                assert answer.status_code == 403
                assert_index_error(answer, "data:write", "DataPlaneEditor")

    @pytest.mark.parametrize(
        "key", [key for key, (status, _, _) in REFUSED.items() if status == 401], ids=short
    )
    def test_the_control_plane_answers_nothing(self, target: Target, key: str | None) -> None:
        for verb, path in CONTROL:
            answer = target.control(verb, path, key)
            assert answer.status_code == 401, (verb, path)
            assert_control_error(answer, "Invalid API Key")

    @pytest.mark.parametrize("key", ["foreign", "sister"])
    def test_an_index_of_another_project_does_not_exist(self, target: Target, key: str) -> None:
        body = {"deletion_protection": "enabled"}
        for verb in ("GET", "PATCH", "DELETE"):
            more = {"json": body} if verb == "PATCH" else {}
            answer = target.control(verb, f"/indexes/{target.name}", key, **more)
            assert answer.status_code == 404
            assert_control_error(answer, '"badinput"', "GET /indexes")
        assert target.control("GET", "/indexes", key).json() == {"indexes": []}

    def test_a_key_for_records_alone_manages_no_index(self, target: Target) -> None:
        for verb, path in CONTROL:
            body = creation("more") if (verb, path) == ("POST", "/indexes") else {}
            answer = target.control(verb, path, "reader", json=body)
            assert answer.status_code == 403, (verb, path, answer.text)
            assert_control_error(answer, "lacks the permission")

    def test_two_keys_are_none(self, target: Target) -> None:
        keys = target.surface.keys
        both = [("Api-Key", keys["own"]), ("Api-Key", keys["reader"])]
        answer = target.send("POST", "/query", None, json=BASE["Query"], headers=both)
        assert answer.status_code == 401
        assert_index_error(answer, "exactly one")
        answer = target.control("GET", "/indexes", None, headers=both)
        assert answer.status_code == 401


# The control plane


class ControlTests:
    def refused(
        self, target: Target, verb: str, path: str, body: object, status: int, words: str
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = target.control(verb, path, content=content, headers=JSON)
        assert answer.status_code == status, (content[:80], answer.text)
        assert_control_error(answer, words)

    def test_every_bad_creation(self, target: Target) -> None:
        for body, status, words in [*CREATE, *RAW]:
            sent = b"" if body is None else body  # None stands for no body there
            self.refused(target, "POST", "/indexes", sent, status, words)

    def test_every_bad_change(self, target: Target) -> None:
        for body, status, words in [*CONFIGURE, *RAW]:
            if body not in (b"", b"   "):  # nothing to change is not wrong
                self.refused(target, "PATCH", f"/indexes/{target.name}", body, status, words)

    def test_a_name_that_is_taken(self, target: Target) -> None:
        body = creation(target.name)
        self.refused(target, "POST", "/indexes", body, 409, '"badinput"')

    def test_a_body_beyond_the_gateways_limit(self, target: Target) -> None:
        for verb, path in CONTROL:
            if verb in {"POST", "PATCH"}:
                self.refused(target, verb, path, b" " * (LIMIT + 1), 413, str(LIMIT))

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x", ""])
    def test_another_content_type(self, target: Target, kind: str) -> None:
        for verb, path in (("POST", "/indexes"), ("PATCH", f"/indexes/{target.name}")):
            headers = {"content-type": kind}
            answer = target.control(verb, path, content=b'{"tags": {"a": "b"}}', headers=headers)
            assert answer.status_code == 415
            assert_control_error(answer, "application/json")

    def test_no_collection_and_no_model(self, target: Target) -> None:
        self.refused(target, "POST", "/indexes/create-for-model", {"name": "x"}, 400, "embed")
        self.refused(target, "POST", "/collections", {"name": "x", "source": "y"}, 400, "pod")
        for verb in ("GET", "DELETE"):
            answer = target.control(verb, "/collections/nowhere")
            assert answer.status_code == 404
            assert_control_error(answer, '"nowhere"')

    @pytest.mark.parametrize(
        "name", ["nowhere", "%00", "%ff", "%2E%2E", "..", "a%0Ab", "%C3%A9", "x" * 5000, "A", "-"]
    )
    def test_an_index_that_is_not_there(self, target: Target, name: str) -> None:
        for verb in ("GET", "PATCH", "DELETE"):
            answer = target.control(verb, f"/indexes/{name}", headers=JSON, content=b"{}")
            assert answer.status_code == 404, (verb, answer.text)
            assert_control_error(answer)

    @pytest.mark.parametrize(
        "path",
        [
            *("/indexes/", "//indexes", "/indexes/badinput/", "/indexes/badinput/backups"),
            *("/backups/x", "/restore-jobs", "/restore-jobs/x", "/backup-schedules"),
            *("/models", "/embed", "/rerank", "/bulk/imports", "/namespaces", "/query"),
            *("/vectors/upsert", "/VectorService/Query", "/static/../../etc/passwd"),
        ],
    )
    def test_a_path_that_leads_nowhere(self, target: Target, path: str) -> None:
        for verb in ("GET", "POST", "PATCH", "DELETE", "PUT"):
            answer = target.control(verb, path)
            assert answer.status_code == 404, (verb, answer.text)
            assert_control_error(answer)


# Methods, paths and HTTP itself


class MethodTests:
    VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

    def test_a_verb_that_an_index_operation_has_not(self, target: Target) -> None:
        ways = {(verb, path) for each in REST.values() for verb, path in each}
        for path in {path for _, path in ways}:
            for verb in self.VERBS:
                if (verb, path) not in ways:
                    answer = target.send(verb, path.format(namespace=KEPT))
                    assert answer.status_code == 404, (verb, path)
                    assert_index_error(answer, "No such operation")

    def test_a_verb_that_a_control_operation_has_not(self, target: Target) -> None:
        for path in {path for _, path in CONTROL}:
            is_name = path.count("/") == 2
            known = {verb for verb, each in CONTROL if each == path} | {"GET"}
            if path.startswith("/indexes/") and is_name:
                known |= {"PATCH", "DELETE"}
            for verb in self.VERBS:
                if verb not in known:
                    answer = target.control(verb, path)
                    assert answer.status_code == 405, (verb, path, answer.text)
                    assert_control_error(answer, verb)

    @pytest.mark.parametrize(
        "path",
        [
            *("/VectorService/Nope", "/VectorService/", "/Nope/Upsert", "/", "/query", "/indexes"),
            *("/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/X"),
        ],
    )
    def test_a_grpc_method_that_is_none(self, target: Target, path: str) -> None:
        found = target.channel.refused(path, b"")
        assert found is not None
        assert found[0] is STATUS.UNIMPLEMENTED
        assert "No such operation" in found[1]

    @pytest.mark.parametrize(
        "path", ["/", "/indexes", "/healthz", "//query", "/query/", "/query/../query", "/records"]
    )
    def test_a_path_that_an_index_has_not(self, target: Target, path: str) -> None:
        for verb in self.VERBS:
            answer = target.send(verb, path)
            assert answer.status_code == 404, (verb, path)
            assert_index_error(answer, "No such operation")

    @pytest.mark.parametrize("host", ["evil.example", "x.svc.localhost"])
    def test_a_host_name_that_is_not_the_control_planes(self, target: Target, host: str) -> None:
        for path in ("/indexes", "/collections", "/healthz", "/accounts/login/"):
            answer = target.control("GET", path, headers={"Host": host})
            assert answer.status_code == 400, (path, answer.text)
            assert_control_error(answer, host, target.surface.instance.gateway)


RAW_REQUESTS: dict[str, bytes] = {
    "no http": b"hello\r\n\r\n",
    "http 0.9": b"GET /indexes\r\n\r\n",
    "unknown verb": b"FOO /indexes HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /indexes HTTP/1.1\r\n\r\n",
    "nul in the path": b"GET /indexes/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in the path": b"GET /indexes/a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "control character in a header": b"GET /indexes HTTP/1.1\r\nHost: x\r\nApi-Key: \x01\r\n\r\n",
    "length that is no number": b"POST /indexes HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n",
    "negative length": b"POST /indexes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST /query HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "two hosts": b"GET /indexes HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "garbage header": b"GET /indexes HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "folded header": b"GET /indexes HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "long header": b"GET /indexes HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 700_000 + b"\r\n\r\n",
    "many headers": b"GET /indexes HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
}


class HttpTests:
    @pytest.mark.parametrize("name", RAW_REQUESTS)
    def test_what_is_no_http_is_refused_or_cut_off(self, target: Target, name: str) -> None:
        addresses = [target.host, target.surface.instance.gateway.removeprefix("https://")]
        for address in addresses:
            host, _, port = address.rpartition(":")
            with bounded(name):
                answer = exchange(target.surface.tls, host, int(port), RAW_REQUESTS[name])
            status = answer.split(b" ", 2)[1:2]
            assert not answer or status[0][:1] == b"4", answer[:200]

    def test_plain_http_is_cut_off(self, target: Target) -> None:
        port = int(target.host.rpartition(":")[2])
        with bounded("plain"), socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200" not in read_to_end(plain.recv)

    def test_bodies_that_nobody_reads_spoil_no_other_request(self, target: Target) -> None:
        refused = [("/nowhere", 2), ("/nowhere", 70_000), ("/collections", 2), ("/query", 2)]
        with ThreadPoolExecutor(3) as pool:
            answers = [
                pool.submit(target.control, "POST", path, content=b"x" * size)
                for path, size in refused * 150
            ]
            for answer in answers:
                assert answer.result().status_code in {400, 404, 415}

    def test_bodies_that_never_end_keep_nobody_waiting(self, target: Target) -> None:
        address = target.surface.instance.gateway.removeprefix("https://")
        host, _, port = address.rpartition(":")
        head = f"POST /nowhere HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\nx"
        with ExitStack() as open_:
            for _ in range(12):  # more than Django answers at a time
                plain = open_.enter_context(
                    socket.create_connection(("127.0.0.1", int(port)), PATIENCE)
                )
                secured = target.surface.tls.wrap_socket(plain, server_hostname=host)
                open_.enter_context(secured).sendall(head.encode())
            for _ in range(5):
                assert target.control("GET", "/indexes").status_code == 200


def exchange(tls: ssl.SSLContext, host: str, port: int, content: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the connection or of the answer's head."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        tls.wrap_socket(plain, server_hostname=host) as secured,
    ):
        try:
            secured.sendall(content)
        except OSError:  # refused before all of it was sent
            return b""
        return read_to_end(secured.recv)


def read_to_end(receive: Callable[[int], bytes]) -> bytes:
    """All bytes up to the end of the connection or of an HTTP head."""
    found = b""
    try:
        while b"\r\n\r\n" not in found and (more := receive(65536)):
            found += more
    except (OSError, ssl.SSLError) as error:
        assert not isinstance(error, TimeoutError), f"neither answered nor cut off: {found!r}"
    return found

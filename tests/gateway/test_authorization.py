"""Who gets through: keys, grants, projects, addresses, and what nobody may forge."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import httpx
import pytest
from google.api import annotations_pb2

from gateway.listeners import LUA
from protos.generated import vector_service_pb2 as pb
from tests.gateway.support import (
    FOREIGN_KEY,
    KEY,
    OTHER_KEY,
    READ_KEY,
    Gateway,
    metadata,
    refused,
    wait_until,
)
from tests.gateway.upstream import IndexServer

UPSERT = {"vectors": [{"id": "a", "values": [1, 2]}]}
STATUS = grpc.StatusCode


def body(response: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, gRPC code and message of an error over REST."""
    content = response.json()
    assert sorted(content) == ["code", "details", "message"]
    assert content["details"] == []
    return response.status_code, content["code"], content["message"]


class KeyTests:
    def test_a_good_key_reaches_its_index_over_rest_and_grpc(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        with gateway.http() as client:
            assert client.post("/vectors/upsert", json=UPSERT).json() == {"upsertedCount": 1}
        with gateway.stub() as stub:
            answer = stub.Fetch(pb.FetchRequest(ids=["a"]), metadata=metadata())
        assert list(answer.vectors["a"].values) == [1, 2]
        assert [call.method for call in index.calls] == ["Upsert", "Fetch"]

    def test_the_index_learns_who_called_and_never_the_key(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        with gateway.http() as client, gateway.stub() as stub:
            client.post("/vectors/upsert", json=UPSERT)
            stub.Query(pb.QueryRequest(top_k=1), metadata=metadata(READ_KEY))
        expected = (("all", "rw", "rest"), ("read", "r", "grpc"))
        for call, (key, grants, protocol) in zip(index.calls, expected, strict=True):
            assert call.peer == "spiffe://tamarack.test/gateway"
            ours = {k: v for k, v in call.metadata.items() if k.startswith("x-tamarack-")}
            assert ours == {
                "x-tamarack-key-id": f"id-of-{key}",
                "x-tamarack-project": "project-a",
                "x-tamarack-org": "org-a",
                "x-tamarack-deployment": "deployment-i-zero",
                "x-tamarack-index": "i-zero",
                "x-tamarack-grants": grants,
                "x-tamarack-protocol": protocol,
            }
            assert "api-key" not in call.metadata
            assert KEY not in str(call.metadata)
            assert READ_KEY not in str(call.metadata)

    @pytest.mark.parametrize("key", [None, "", "tmrk_unknown_9999", "x" * 5000, "ключ".encode()])
    def test_no_key_or_a_bad_one_is_401_and_unauthenticated(
        self, gateway: Gateway, index: IndexServer, key: str | bytes | None
    ) -> None:
        headers: dict[str, Any] = {} if key is None else {"Api-Key": key}
        with gateway.http(key=None) as client:
            response = client.post("/query", json={"topK": 1}, headers=headers)
        status, code, message = body(response)
        assert (status, code) == (401, 16)
        assert message.startswith("Invalid API key")
        with gateway.stub() as stub:
            ascii_key = key if isinstance(key, str) and key else None
            sent = metadata(ascii_key) if ascii_key else ()
            code_, text = refused(lambda: stub.Query(pb.QueryRequest(top_k=1), metadata=sent))
        assert code_ is STATUS.UNAUTHENTICATED
        assert text.startswith("Invalid API key")
        assert index.calls == []

    @pytest.mark.parametrize("second", [KEY, READ_KEY, "tmrk_unknown_9999"])
    def test_two_keys_are_refused_whatever_they_are(
        self, gateway: Gateway, index: IndexServer, second: str
    ) -> None:
        with gateway.http(key=None) as client:
            headers = [("Api-Key", KEY), ("api-key", second)]
            status, code, message = body(client.post("/query", json={"topK": 1}, headers=headers))
        assert (status, code) == (401, 16)
        assert "exactly one Api-Key header" in message
        with gateway.stub() as stub:
            sent = (*metadata(), *metadata(second))
            code_, text = refused(lambda: stub.Query(pb.QueryRequest(top_k=1), metadata=sent))
        assert (code_, "exactly one" in text) == (STATUS.UNAUTHENTICATED, True)
        assert index.calls == []

    def test_a_read_only_key_reads_and_does_not_write(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        with gateway.http(key=READ_KEY) as client:
            assert client.post("/query", json={"topK": 1}).status_code == 200
            for method, path in (
                ("POST", "/vectors/upsert"),
                ("POST", "/vectors/update"),
                ("POST", "/vectors/delete"),
                ("DELETE", "/vectors/delete?deleteAll=true"),
                ("POST", "/namespaces"),
                ("DELETE", "/namespaces/n"),
            ):
                status, code, message = body(client.request(method, path, json={}))
                assert (status, code, path) == (403, 7, path)
                assert "data:write" in message
                assert "DataPlaneEditor" in message
        with gateway.stub() as stub:
            stub.Query(pb.QueryRequest(top_k=1), metadata=metadata(READ_KEY))
            code_, text = refused(
                lambda: stub.Upsert(pb.UpsertRequest(), metadata=metadata(READ_KEY))
            )
        assert code_ is STATUS.PERMISSION_DENIED
        assert "data:write" in text
        assert {call.method for call in index.calls} == {"Query"}

    def test_a_key_of_another_project_is_403_of_another_organization_404(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        for key, status, code, grpc_code, words in (
            (OTHER_KEY, 403, 7, STATUS.PERMISSION_DENIED, "belongs to project project-b"),
            (FOREIGN_KEY, 404, 5, STATUS.NOT_FOUND, "No index answers at localhost:"),
        ):
            with gateway.http(key=key) as client, gateway.stub() as stub:
                got = body(client.post("/query", json={"topK": 1}))
                assert got[:2] == (status, code)
                assert words in got[2]
                query = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata(key))
                assert refused(query) == (grpc_code, got[2])
        assert index.calls == []

    def test_an_address_without_an_index_is_404(self, gateway: Gateway) -> None:
        with gateway.http(3) as client, gateway.stub(3) as stub:
            status, code, message = body(client.post("/query", json={"topK": 1}))
            assert (status, code) == (404, 5)
            assert f"localhost:{gateway.settings.index_ports[3]}" in message
            refusal = refused(lambda: stub.Query(pb.QueryRequest(top_k=1), metadata=metadata()))
            assert refusal == (STATUS.NOT_FOUND, message)

    def test_an_index_that_is_not_ready_is_503_with_its_state(self, gateway: Gateway) -> None:
        place = str(gateway.settings.index_ports[1])
        route = gateway.store["routes"][place]
        route.update(ready=False, state="Initializing")
        gateway.save()
        try:
            gateway.forget()
            with gateway.http(1) as client, gateway.stub(1) as stub:
                status, code, message = body(client.post("/query", json={"topK": 1}))
                assert (status, code) == (503, 14)
                assert "its state is Initializing" in message
                refusal = refused(lambda: stub.Query(pb.QueryRequest(top_k=1), metadata=metadata()))
                assert refusal == (STATUS.UNAVAILABLE, message)
                route.update(ready=True, state="Ready")
                gateway.save()
                # A 503 is not kept by the Lua filter: ready means ready at once.
                wait_until(lambda: client.post("/query", json={"topK": 1}).status_code == 200, 0.5)
        finally:
            route.update(ready=True, state="Ready")
            gateway.save()


FORGED = {
    "x-tamarack-key-id": "forged",
    "x-tamarack-project": "forged",
    "x-tamarack-org": "forged",
    "x-tamarack-deployment": "forged",
    "x-tamarack-index": "forged",
    "x-tamarack-grants": "rw",
    "x-tamarack-namespaces": "forged",
    "x-tamarack-protocol": "forged",
    "x-tamarack-anything-else": "forged",
    "x-envoy-original-dst-host": "127.0.0.1:1",
    "x-envoy-original-path": "/forged",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-retry-on": "5xx",
    "x-forwarded-for": "203.0.113.9",
    "forwarded": "for=203.0.113.9",
}


class ForgeryTests:
    def test_identity_headers_of_a_client_are_dropped(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        with gateway.http(key=READ_KEY) as client, gateway.stub() as stub:
            response = client.post("/query", json={"topK": 1}, headers=FORGED)
            assert response.status_code == 200
            forged = tuple((k, v) for k, v in FORGED.items())
            stub.Query(pb.QueryRequest(top_k=1), metadata=(*metadata(READ_KEY), *forged))
        assert len(index.calls) == 2
        for call in index.calls:
            assert "forged" not in str(call.metadata)
            assert "203.0.113.9" not in str(call.metadata)
            assert "x-tamarack-namespaces" not in call.metadata
            assert call.metadata["x-tamarack-grants"] == "r"

    def test_a_key_limited_to_the_default_namespace_stays_limited(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        key = READ_KEY[:-1] + ("x" if READ_KEY[-1] != "x" else "y")
        gateway.store["keys"][key] = {**gateway.store["keys"][READ_KEY], "namespaces": [""]}
        gateway.save()
        try:
            with gateway.http(key=key) as client, gateway.stub() as stub:
                response = client.post("/query", json={"topK": 1}, headers=FORGED)
                assert response.status_code == 200
                stub.Query(pb.QueryRequest(top_k=1), metadata=metadata(key))
        finally:
            del gateway.store["keys"][key]
            gateway.save()
        # The name of that namespace is empty; a header that is gone would mean: all of them.
        assert [call.metadata.get("x-tamarack-namespaces") for call in index.calls] == ["", ""]

    def test_forged_identity_without_a_key_reaches_nothing(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        with gateway.http(key=None) as client, gateway.stub() as stub:
            response = client.post("/query", json={"topK": 1}, headers=FORGED)
            assert body(response)[:2] == (401, 16)
            forged = tuple((k, v) for k, v in FORGED.items())
            code, _ = refused(lambda: stub.Query(pb.QueryRequest(top_k=1), metadata=forged))
            assert code is STATUS.UNAUTHENTICATED
        assert index.calls == []

    def test_underscored_twins_of_headers_are_dropped(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        with gateway.http() as client:
            client.post("/query", json={"topK": 1}, headers={"x_tamarack_grants": "forged"})
        assert "forged" not in str(index.calls[0].metadata)


class OperationTests:
    def test_every_method_and_rest_route_of_the_service_has_a_class(self) -> None:
        lua = LUA.read_text()
        classes = dict(re.findall(r'(\w+) = "([rw])"', lua))
        rest = dict(re.findall(r'\["([A-Z]+ /[^"]*)"\] = "(\w+)"', lua))
        (service,) = pb.DESCRIPTOR.services_by_name.values()
        assert sorted(classes) == sorted(method.name for method in service.methods)
        routes = {}
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            for binding in (rule, *rule.additional_bindings):
                verb = binding.WhichOneof("pattern")
                routes[f"{verb.upper()} {getattr(binding, verb)}"] = method.name
        assert rest == routes
        writes = {name for name, letter in classes.items() if letter == "w"}
        assert writes == {"Upsert", "Update", "Delete", "CreateNamespace", "DeleteNamespace"}

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/query"),
            ("PUT", "/vectors/upsert"),
            ("POST", "/vectors/upsert/"),
            ("POST", "//query"),
            ("POST", "/vectors/../query"),
            ("POST", "/vectors/%2e%2e/query"),
            ("POST", "/Query"),
            ("POST", "/query%20"),
            ("OPTIONS", "/query"),
            ("HEAD", "/namespaces"),
            ("GET", "/namespaces/"),
            ("GET", "/namespaces/a/b"),
            ("POST", "/VectorService/Query"),
            ("GET", "/grpc.health.v1.Health/Check"),
            ("POST", "/bulk/imports"),
            ("POST", "/indexes"),
        ],
    )
    def test_an_unknown_path_is_404(
        self, gateway: Gateway, index: IndexServer, method: str, path: str
    ) -> None:
        with gateway.http() as client:
            # As it stands: httpx would tidy the path up.
            target = {"target": path.encode()}
            response = client.request(method, "/", json={"topK": 1}, extensions=target)
        assert response.status_code == 404
        if method != "HEAD":
            assert body(response)[1:] == (5, response.json()["message"])
            assert "No such operation" in response.json()["message"]
        assert index.calls == []

    @pytest.mark.parametrize(
        "path",
        [
            "/VectorService/Drop",
            "/VectorService/query",
            "/VectorService/",
            "/VectorService/Query/",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/query",
            "/namespaces/n",
        ],
    )
    def test_an_unknown_grpc_method_is_unimplemented(
        self, gateway: Gateway, index: IndexServer, path: str
    ) -> None:
        with gateway.channel() as channel:
            call: Any = channel.unary_unary(path)
            code, text = refused(lambda: call(b"", metadata=metadata()))
        assert code is STATUS.UNIMPLEMENTED
        assert "No such operation" in text
        assert index.calls == []

    def test_an_unknown_path_tells_nothing_without_a_key(self, gateway: Gateway) -> None:
        with gateway.http(key=None) as client:
            assert body(client.get("/nope"))[:2] == (401, 16)

    def test_a_namespace_may_be_called_anything(self, gateway: Gateway, index: IndexServer) -> None:
        for segment, namespace in (
            ("a%2Fb", "a/b"),
            ("%2e%2e", ".."),
            ("a%3Fb%23c", "a?b#c"),
            ("a+b", "a+b"),
            ("%25", "%"),
        ):
            with gateway.http() as client:
                target = {"target": f"/namespaces/{segment}".encode()}
                response = client.get("/", extensions=target)
            assert response.status_code == 404  # the index knows none of them
            assert index.calls[-1].request.namespace == namespace


class RevocationTests:
    def test_a_revoked_key_stops_within_a_second_on_rest_and_an_open_channel(
        self, gateway: Gateway
    ) -> None:
        for trial in range(3):
            key = f"tmrk_revoked_{trial}"
            gateway.store["keys"][key] = gateway.store["keys"][KEY]
            gateway.save()
            with gateway.http(key=key) as client, gateway.stub() as stub:
                ask = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata(key))
                # Both caches are warm and of different ages when the key goes.
                until = time.monotonic() + 0.3 + trial * 0.15
                while time.monotonic() < until:
                    assert client.post("/query", json={"topK": 1}).status_code == 200
                    ask()
                del gateway.store["keys"][key]
                gateway.save()
                revoked = time.monotonic()
                wait_until(partial(_is_unauthorized, client), 1)
                code, _ = wait_until(partial(_refusal, ask), 1)
                assert code is STATUS.UNAUTHENTICATED
                assert time.monotonic() - revoked < 1
                # From now on it stays out.
                assert client.post("/query", json={"topK": 1}).status_code == 401
                assert refused(ask)[0] is STATUS.UNAUTHENTICATED

    def test_a_new_key_works_at_once(self, gateway: Gateway) -> None:
        key = "tmrk_new_5555"
        gateway.store["keys"][key] = gateway.store["keys"][KEY]
        gateway.save()
        with gateway.http(key=key) as client:
            assert client.post("/query", json={"topK": 1}).status_code == 200


def _is_unauthorized(client: httpx.Client) -> bool:
    return client.post("/query", json={"topK": 1}).status_code == 401


def _refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str] | None:
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return None

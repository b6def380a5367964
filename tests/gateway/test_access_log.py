"""What is written about a request, and what must never be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import access_log
from protos.generated import vector_service_pb2 as pb
from tests.gateway.support import KEY, READ_KEY, Gateway, metadata, refused, wait_until
from tests.gateway.test_addressing import control_plane

SECRETS = ("marker-id", "marker-namespace", "marker-value", "marker-token", KEY, READ_KEY)


@pytest.fixture
def own() -> Iterator[Gateway]:
    with Gateway() as running:
        running.add_index("i-zero")
        yield running


class AccessLogTests:
    def test_an_index_call_is_told_by_who_what_and_how_it_ended(self, own: Gateway) -> None:
        with own.http() as client, own.stub() as stub:
            client.get("/vectors/fetch?ids=marker-id&namespace=marker-namespace")
            stub.Query(pb.QueryRequest(top_k=1, id="marker-id"), metadata=metadata(READ_KEY))
            refused(lambda: stub.Query(pb.QueryRequest(top_k=1), metadata=metadata("none")))
        fetch, query, denied = own.access_log(3)
        assert {
            "plane": "index",
            "rpc": "Fetch",
            "protocol": "rest",
            "status": 200,
            "grpc_status": 0,
            "key": "id-of-all",
            "secret": "lookup",
            "index": "i-zero",
            "project": "project-a",
            "deployment": "deployment-i-zero",
            "client": "127.0.0.1",
            "tls": "TLSv1.2",
            "cipher": "ECDHE-ECDSA-AES256-GCM-SHA384",
            "upstream": own.servers[0].address,
        }.items() <= fetch.items()
        assert (query["rpc"], query["protocol"], query["key"]) == ("Query", "grpc", "id-of-read")
        assert query["bytes_in"] > 0
        assert (denied["rpc"], denied["key"], denied["grpc_status"]) == (None, None, 16)

    def test_a_refused_call_of_a_known_key_is_told_too(self, own: Gateway) -> None:
        with own.http(key=READ_KEY) as client:
            client.post("/vectors/delete", json={"ids": ["a"]})
            client.post("/vectors/delete", json={"ids": ["a"]})
        for line in own.access_log(2):
            told = {name: line[name] for name in ("status", "rpc", "key", "secret")}
            assert told == {"status": 403, "rpc": "Delete", "key": "id-of-read", "secret": "lookup"}

    def test_the_control_plane_names_the_key_for_the_log_and_not_for_the_client(
        self, own: Gateway
    ) -> None:
        names = {"x-tamarack-key": "key-9", "x-tamarack-secret": "lookup-9"}
        with control_plane(own.settings.django_socket, headers=names), own.http(None) as client:
            answer = client.get("/indexes", headers={"x-tamarack-key": "forged"})
        assert not set(names) & set(answer.headers)
        (line,) = own.access_log(1)
        assert (line["key"], line["secret"]) == ("key-9", "lookup-9")

    def test_no_key_id_namespace_or_token_is_ever_written(self, own: Gateway) -> None:
        with control_plane(own.settings.django_socket), own.http() as client:
            client.get("/vectors/fetch?ids=marker-id&namespace=marker-namespace")
            client.get("/vectors/list?prefix=marker-id&paginationToken=marker-token")
            client.get("/namespaces/marker-namespace")
            client.delete("/namespaces/marker-namespace")
            client.get("/vectors/marker-id")
            client.post(
                "/query", json={"id": "marker-id", "topK": 1, "filter": {"a": "marker-value"}}
            )
            client.post("/vectors/upsert", content=b'{"vectors": [{"id": "marker-id" broken')
            client.get("/", params={"api_key": KEY})
            with own.stub() as stub:
                stub.Fetch(pb.FetchRequest(ids=["marker-id"]), metadata=metadata())
            with own.http(None) as control:
                control.get("/accounts/password/reset/key/marker-token/")
                control.get("/invitations/marker-token")
                control.get("/indexes/shown?secret=marker-token")
        lines = own.access_log(12)
        assert len(lines) == 12
        written = own.settings.access_log.read_text() + own.log("envoy") + own.log("authorizer")
        for secret in SECRETS:
            assert secret not in written
        control_lines = [line for line in lines if line["plane"] == "control"]
        assert [line.get("path") for line in control_lines] == [None, None, "/indexes/shown"]

    def test_the_id_of_a_request_is_in_the_answer_and_in_the_log(self, own: Gateway) -> None:
        with own.http() as client:
            good = client.post("/query", json={"topK": 1}, headers={"x-request-id": "forged"})
            bad = client.post("/query", json={"topK": 1}, headers={"api-key": "none"})
        logged = [line["request_id"] for line in own.access_log(2)]
        assert logged == [good.headers["x-request-id"], bad.headers["x-request-id"]]
        assert good.headers["x-pinecone-request-id"] == logged[0]
        assert own.servers[0].calls[0].metadata["x-request-id"] == logged[0]

    def test_in_host_mode_each_plane_has_its_own_lines(self) -> None:
        with Gateway("host") as gateway, control_plane(gateway.settings.django_socket):
            gateway.add_index("i-one")
            with gateway.stub(authority="i-one.svc.localhost") as stub:
                stub.Query(pb.QueryRequest(top_k=1), metadata=metadata())
            with gateway.http(None) as client:
                client.get("/indexes")
                client.get("/", headers={"Host": "evil.example"})
            lines = gateway.access_log(3)
        assert [(line["plane"], line["status"]) for line in lines] == [
            ("index", 200),
            ("control", 200),
            ("control", 404),
        ]


class RotationTests:
    def test_a_large_log_is_moved_and_no_line_is_lost(self, own: Gateway) -> None:
        log = own.settings.access_log
        with own.http() as client:
            for rounds in range(1, 6):
                client.post("/query", json={"topK": 1})
                wait_until(lambda: log.exists() and log.read_text().count("\n") == 1, what="a line")
                assert not access_log.rotate(own.settings, max_bytes=10_000)
                assert access_log.rotate(own.settings, max_bytes=10)
                wait_until(log.exists, what=f"a new log in round {rounds}")
        names = sorted(path.name for path in log.parent.iterdir())
        assert names == ["access.json", "access.json.1", "access.json.2", "access.json.3"]
        assert [(log.parent / name).read_text().count("\n") for name in names] == [0, 1, 1, 1]

    def test_an_envoy_that_was_not_told_is_told_the_next_time(self, own: Gateway) -> None:
        log = own.settings.access_log
        wait_until(log.exists, what="a log")
        log.rename(log.with_name("access.json.1"))
        assert not access_log.rotate(own.settings)
        with own.http() as client:
            client.post("/query", json={"topK": 1})
        wait_until(log.exists, what="a new log")

    def test_without_envoy_the_failure_is_plain(self, own: Gateway) -> None:
        own.end("envoy")
        own.settings.access_log.write_text("x" * 100)
        with pytest.raises(OSError, match=r"No such file|refused"):
            access_log.rotate(own.settings, max_bytes=10)

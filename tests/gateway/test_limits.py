"""What one caller may ask for: size, rate, length of headers, time."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import grpc
import pytest

from gateway.listeners import MAX_HEADER_KB
from protos.generated import vector_service_pb2 as pb
from tests.gateway.support import KEY, OTHER_KEY, Gateway, metadata, refused
from tests.gateway.upstream import IndexServer

STATUS = grpc.StatusCode
LIMIT = 4 * 1024 * 1024
TOO_LARGE = (
    f"The request is larger than {LIMIT} bytes, the limit (TAMARACK_MAX_REQUEST_BYTES)."
    " Send it in smaller parts."
)


class BodyTests:
    def test_json_above_the_limit_is_413_and_below_passes(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        vector = {"id": "a", "values": [0.123456789] * 1000}
        fits = {"vectors": [{**vector, "id": f"v{n}"} for n in range(250)]}
        with gateway.http() as client:
            response = client.post("/vectors/upsert", json=fits)
            assert len(response.request.content) > 2.6 * 1024 * 1024
            assert response.json() == {"upsertedCount": 250}
            response = client.post("/vectors/upsert", content=b'{"a":"' + b"x" * LIMIT + b'"}')
        assert response.status_code == 413
        assert response.json() == {"code": 11, "message": TOO_LARGE, "details": []}
        assert len(index.calls) == 1

    def test_a_body_of_unknown_length_is_counted_while_it_comes(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        def chunks() -> Any:
            yield b'{"vectors": ['
            for number in range(LIMIT // 16384 + 2):
                yield b'{"id": "%d", "values": [%s1]},' % (number, b"1," * 8192)
            yield b"]}"

        with gateway.http() as client:
            response = client.post("/vectors/upsert", content=chunks())
        assert response.status_code == 413
        assert response.json()["code"] == 11
        assert index.calls == []

    def test_grpc_above_the_limit_is_out_of_range_and_below_passes(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        """Not RESOURCE_EXHAUSTED, which the official client would send five times over."""
        million = pb.Vector(id="a", values=[1.0] * 1_000_000)
        with gateway.stub() as stub:
            upsert = partial(stub.Upsert, metadata=metadata())
            assert upsert(pb.UpsertRequest(vectors=[million])).upserted_count == 1
            both = pb.UpsertRequest(vectors=[million, million])
            assert refused(lambda: upsert(both)) == (STATUS.OUT_OF_RANGE, TOO_LARGE)
        assert len(index.calls) == 1

    def test_a_fetch_of_a_thousand_long_ids_fits_into_the_address(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        ids = [f"{n:0512d}" for n in range(1000)]
        with gateway.http() as client:
            path = "/vectors/fetch?" + "&".join(f"ids={name}" for name in ids)
            response = client.get("/", extensions={"target": path.encode()})
        assert response.status_code == 200, response.text
        assert list(index.calls[0].request.ids) == ids

    def test_headers_beyond_all_measure_are_431(self, gateway: Gateway) -> None:
        with gateway.http() as client:
            path = "/vectors/fetch?ids=" + "x" * (MAX_HEADER_KB * 1024 + 1000)
            response = client.get("/", extensions={"target": path.encode()})
        assert response.status_code == 431

    def test_large_answers_pass_over_both_transports(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        vectors = [pb.Vector(id=f"big{n}", values=[n + 0.123456] * 20_000) for n in range(40)]
        with gateway.stub() as stub:
            for vector in vectors:
                stub.Upsert(
                    pb.UpsertRequest(vectors=[vector], namespace="large"), metadata=metadata()
                )
            ids = [vector.id for vector in vectors]
            answer = stub.Fetch(pb.FetchRequest(ids=ids, namespace="large"), metadata=metadata())
            assert len(answer.vectors) == 40
        with gateway.http(timeout=30) as client:
            response = client.get("/vectors/fetch", params={"ids": ids, "namespace": "large"})
        assert response.status_code == 200
        assert len(response.content) > 6 * 1024 * 1024
        assert len(response.json()["vectors"]) == 40


class RateTests:
    def test_a_project_gets_its_rate_and_others_are_not_touched(self) -> None:
        with Gateway(project_rate=5) as gateway:
            gateway.add_index("i-zero")
            gateway.add_index("i-one", project="project-b")
            with (
                gateway.http() as client,
                gateway.http(1, key=OTHER_KEY) as other,
                gateway.stub() as stub,
            ):
                query = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata())
                while int(client.post("/query", json={"topK": 1}).headers["x-ratelimit-remaining"]):
                    pass
                response = client.post("/query", json={"topK": 1})
                assert response.status_code == 429
                assert response.headers["retry-after"] == "1"
                content = response.json()
                assert content["code"] == 8
                assert "more than 5 requests a second" in content["message"]
                assert refused(query) == (STATUS.RESOURCE_EXHAUSTED, content["message"])
                assert other.post("/query", json={"topK": 1}).status_code == 200
                time.sleep(float(response.headers["retry-after"]))
                assert client.post("/query", json={"topK": 1}).status_code == 200

    def test_exactly_the_rate_is_let_through(self) -> None:
        with Gateway(project_rate=20) as gateway:
            gateway.add_index("i-zero")
            with gateway.http() as client:
                client.post("/query", json={"topK": 1})  # the bucket is made now
                time.sleep(1.1)  # and is full again
                started = time.monotonic()
                answers = [client.post("/query", json={"topK": 1}) for _ in range(80)]
                seconds = time.monotonic() - started
            admitted = [answer.status_code for answer in answers].count(200)
            assert 20 <= admitted <= 20 + 20 * seconds + 1


class TimeTests:
    def test_a_server_that_takes_too_long_is_504_and_deadline_exceeded(self) -> None:
        def impatient(bootstrap: dict[str, Any]) -> None:
            for listener in bootstrap["static_resources"]["listeners"]:
                manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
                for host in manager["route_config"]["virtual_hosts"]:
                    host["routes"][0]["route"]["timeout"] = "0.3s"

        done = threading.Event()
        with Gateway(patch=impatient) as gateway:
            server = gateway.add_index("i-zero")

            def hang(*_: Any) -> None:
                done.wait(20)

            server.behaviour = hang
            try:
                with gateway.http() as client, gateway.stub() as stub:
                    response = client.post("/query", json={"topK": 1})
                    assert response.status_code == 504
                    assert response.json()["code"] == 4
                    message = response.json()["message"]
                    assert message == "The index server did not answer within 60 s."
                    query = partial(stub.Query, pb.QueryRequest(top_k=1), metadata=metadata())
                    assert refused(query) == (STATUS.DEADLINE_EXCEEDED, message)
            finally:
                done.set()

    def test_the_clients_own_deadline_reaches_the_index(
        self, gateway: Gateway, index: IndexServer
    ) -> None:
        left: list[float] = []
        index.behaviour = lambda _m, _r, context: left.append(context.time_remaining())
        with gateway.stub() as stub:
            stub.Query(pb.QueryRequest(top_k=1), metadata=metadata(), timeout=7)
        assert 0 < left[0] <= 7


class ConnectionTests:
    def test_connections_above_the_cap_are_turned_away(self) -> None:
        with Gateway(max_connections=3) as gateway:
            gateway.add_index("i-zero")
            with gateway.http() as one, gateway.http() as two, gateway.http() as three:
                for client in (one, two, three):
                    assert client.post("/query", json={"topK": 1}).status_code == 200
                with (
                    gateway.http() as four,
                    pytest.raises(Exception, match=r"(?i)ssl|eof|reset|disconnect"),
                ):
                    four.post("/query", json={"topK": 1})
                assert one.post("/query", json={"topK": 1}).status_code == 200
            assert KEY not in gateway.log("envoy")

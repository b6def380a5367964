"""Who gets in: certificates, SPIFFE ids, grants, namespace scopes, cipher suites, rotation."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from typing import Any

import grpc
import pytest
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health_pb2,
    health_pb2_grpc,
)

from dataplane.peers import NEEDED
from protos.generated import vector_service_pb2 as pb
from tests.dataplane.messages import Client, grants, struct, vector
from tests.dataplane.support import IndexServer, Pair, Stack, TestCa, wait_until

GOOD = [1.0, 0.0, 0.0, 0.0]
DENIED = grpc.StatusCode.PERMISSION_DENIED

REQUESTS: dict[str, Any] = {
    "Upsert": pb.UpsertRequest(vectors=[vector("a", GOOD)], namespace="n"),
    "Update": pb.UpdateRequest(id="a", values=GOOD, namespace="n"),
    "Delete": pb.DeleteRequest(ids=["a"], namespace="n"),
    "CreateNamespace": pb.CreateNamespaceRequest(name="n"),
    "DeleteNamespace": pb.DeleteNamespaceRequest(namespace="n"),
    "Query": pb.QueryRequest(vector=GOOD, top_k=1, namespace="n"),
    "Fetch": pb.FetchRequest(ids=["a"], namespace="n"),
    "FetchByMetadata": pb.FetchByMetadataRequest(filter=struct({"x": 1}), namespace="n"),
    "List": pb.ListRequest(namespace="n"),
    "DescribeIndexStats": pb.DescribeIndexStatsRequest(),
    "ListNamespaces": pb.ListNamespacesRequest(),
    "DescribeNamespace": pb.DescribeNamespaceRequest(namespace="n"),
}
UNSCOPED = {"DescribeIndexStats", "ListNamespaces"}


def outcome(client: Client, method: str, request: Any = None) -> tuple[grpc.StatusCode, str]:
    try:
        client.call(method, request or REQUESTS[method], timeout=10)
    except grpc.RpcError as error:
        return error.code(), str(error.details())
    return grpc.StatusCode.OK, ""


class CertificateTests:
    def test_none_is_refused(self, shared_server: IndexServer) -> None:
        roots = grpc.ssl_channel_credentials(shared_server.stack.ca.bundle)
        name = (("grpc.ssl_target_name_override", "index-1.index.tamarack.internal"),)
        with grpc.secure_channel(shared_server.config["listen"], roots, name) as channel:
            client = Client(channel, grants(shared_server.deployment))
            assert outcome(client, "List")[0] is grpc.StatusCode.UNAVAILABLE

    def test_plain_text_is_refused(self, shared_server: IndexServer) -> None:
        with grpc.insecure_channel(shared_server.config["listen"]) as channel:
            client = Client(channel, grants(shared_server.deployment))
            assert outcome(client, "List")[0] is grpc.StatusCode.UNAVAILABLE

    def test_of_another_authority_is_refused(self, shared_server: IndexServer) -> None:
        client = shared_server.client(TestCa().issue("gateway"))
        assert outcome(client, "List")[0] is grpc.StatusCode.UNAVAILABLE

    def test_expired_is_refused(self, shared_server: IndexServer) -> None:
        pair = shared_server.stack.ca.issue(
            "gateway", begins=dt.timedelta(hours=-2), lasts=dt.timedelta(hours=1)
        )
        assert outcome(shared_server.client(pair), "List")[0] is grpc.StatusCode.UNAVAILABLE

    def test_not_yet_valid_is_refused(self, shared_server: IndexServer) -> None:
        pair = shared_server.stack.ca.issue("gateway", begins=dt.timedelta(hours=1))
        assert outcome(shared_server.client(pair), "List")[0] is grpc.StatusCode.UNAVAILABLE

    @pytest.mark.parametrize(
        "path",
        [
            "org/org-1/project/proj-1/index/index-2",
            "gateway/other",
            "gatewayx",
            "node",
            "control-plane/x",
            "",
        ],
    )
    def test_of_anyone_else_is_refused_everything(
        self, shared_server: IndexServer, path: str
    ) -> None:
        client = shared_server.client(shared_server.stack.ca.issue(path))
        for method in REQUESTS:
            assert outcome(client, method)[0] is DENIED

    def test_of_another_trust_domain_is_refused(self, shared_server: IndexServer) -> None:
        ca = shared_server.stack.ca
        other = TestCa("elsewhere.example")
        other._key, other._name = ca._key, ca._name  # the same authority, another domain
        assert outcome(shared_server.client(other.issue("gateway")), "List")[0] is DENIED

    def test_tls_1_2_negotiates_aes_256_only(
        self, shared_server: IndexServer, tmp_path: Any
    ) -> None:
        pair = shared_server.stack.ca.issue("gateway")
        (tmp_path / "pair.pem").write_bytes(pair.key + pair.certificate)

        def negotiated(ciphers: str) -> str:
            context = ssl.create_default_context(cadata=shared_server.stack.ca.bundle.decode())
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
            context.load_cert_chain(tmp_path / "pair.pem")
            context.set_alpn_protocols(["h2"])
            host, port = shared_server.config["listen"].split(":")
            with (
                socket.create_connection((host, int(port)), timeout=10) as raw,
                context.wrap_socket(raw, server_hostname=host) as secured,
            ):
                cipher = secured.cipher()
                assert cipher is not None
                return cipher[0]

        assert negotiated("ALL") == "ECDHE-ECDSA-AES256-GCM-SHA384"
        with pytest.raises(ssl.SSLError):
            negotiated("ECDHE-ECDSA-AES128-GCM-SHA256")


class GrantTests:
    @pytest.mark.parametrize("method", REQUESTS)
    def test_each_method_needs_its_own(self, client: Client, method: str) -> None:
        for allowed in ("r", "w", "rw", ""):
            limited = client.with_metadata(grants(client.metadata[0][1], allowed))
            code, message = outcome(limited, method)
            if NEEDED[method] in allowed:
                assert code is not DENIED
            else:
                assert code is DENIED
                assert method in message

    def test_every_method_is_in_the_table(self) -> None:
        service = pb.DESCRIPTOR.services_by_name["VectorService"]
        assert set(NEEDED) == set(REQUESTS) == set(service.methods_by_name)

    def test_absent_metadata_is_refused(self, client: Client) -> None:
        assert outcome(client.with_metadata([]), "List")[0] is DENIED
        only_deployment = client.with_metadata(client.metadata[:1])
        assert outcome(only_deployment, "List")[0] is DENIED

    def test_for_another_deployment_is_refused(self, client: Client) -> None:
        code, message = outcome(client.with_metadata(grants("dep-other")), "List")
        assert code is DENIED
        assert "'dep-other'" in message


class NamespaceScopeTests:
    @pytest.mark.parametrize("method", sorted(set(REQUESTS) - UNSCOPED))
    def test_other_namespaces_are_refused(self, client: Client, method: str) -> None:
        scoped = client.with_metadata(grants(client.metadata[0][1], "rw", "m,other"))
        code, message = outcome(scoped, method)
        assert code is DENIED
        assert "'n'" in message
        own = client.with_metadata(grants(client.metadata[0][1], "rw", "m,n"))
        assert outcome(own, method)[0] is not DENIED

    def test_names_are_percent_encoded(self, client: Client) -> None:
        client.upsert({"id": "a", "values": GOOD}, namespace="a,b c")
        scoped = client.with_metadata(grants(client.metadata[0][1], "rw", "a%2Cb%20c"))
        assert scoped.ids(GOOD, namespace="a,b c") == ["a"]

    def test_the_default_namespace_is_no_exception(self, client: Client) -> None:
        scoped = client.with_metadata(grants(client.metadata[0][1], "rw", "n"))
        for name in ("", "__default__"):
            assert outcome(scoped, "List", pb.ListRequest(namespace=name))[0] is DENIED
        scoped = client.with_metadata(grants(client.metadata[0][1], "rw", "__default__"))
        for name in ("", "__default__"):
            assert outcome(scoped, "List", pb.ListRequest(namespace=name))[0] is not DENIED

    def test_lists_and_stats_show_only_what_is_inside(self, client: Client) -> None:
        for name in ("seen", "unseen"):
            client.upsert({"id": "a", "values": GOOD}, namespace=name)
        scoped = client.with_metadata(grants(client.metadata[0][1], "r", "seen,absent"))
        stats = scoped.stats()
        assert (dict.fromkeys(stats.namespaces), stats.total_vector_count) == ({"seen": None}, 1)
        page = scoped.call("ListNamespaces", pb.ListNamespacesRequest())
        assert [each.name for each in page.namespaces] == ["seen"]
        assert page.total_count == 1


class ProbeTests:
    @pytest.mark.parametrize("path", ["node/node-1", "control-plane"])
    def test_may_ask_for_health_and_stats_only(self, shared_server: IndexServer, path: str) -> None:
        client = shared_server.client(shared_server.stack.ca.issue(path)).with_metadata([])
        health = health_pb2_grpc.HealthStub(client.channel)
        for service in ("", "VectorService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for method in REQUESTS:
            code, _ = outcome(client, method)
            assert (code is DENIED) == (method != "DescribeIndexStats")

    def test_may_not_keep_a_thread_by_watching(self, shared_server: IndexServer) -> None:
        client = shared_server.client(shared_server.stack.ca.issue("node/node-1"))
        watched = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.RpcError) as refused:
            next(iter(watched))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    def test_works_over_the_unix_socket(self, shared_server: IndexServer) -> None:
        assert shared_server.health() == health_pb2.HealthCheckResponse.SERVING

    def test_is_not_for_the_gateway(self, client: Client) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            health_pb2_grpc.HealthStub(client.channel).Check(
                health_pb2.HealthCheckRequest(), metadata=client.metadata
            )
        assert refused.value.code() is DENIED


def served(server: IndexServer) -> bytes:
    """The certificate that a new connection is shown, DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = server.config["listen"].split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        context.wrap_socket(raw) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.decode())


class RotationTests:
    def test_a_new_certificate_is_served_without_a_restart(
        self, stack: Stack, shared_server: IndexServer, client: Client
    ) -> None:
        assert outcome(client, "List")[0] is grpc.StatusCode.OK
        renewed = stack.ca.issue(shared_server.spiffe_path, "index-1.index.tamarack.internal")
        shared_server.write_certificate(renewed)
        wait_until(lambda: served(shared_server) == der(renewed), "new certificate", 10)
        assert outcome(client, "List")[0] is grpc.StatusCode.OK  # the open connection goes on
        assert outcome(shared_server.client(), "List")[0] is grpc.StatusCode.OK

    def test_a_pair_caught_half_replaced_is_not_served(
        self, stack: Stack, shared_server: IndexServer
    ) -> None:
        before = served(shared_server)
        renewed = stack.ca.issue(shared_server.spiffe_path, "index-1.index.tamarack.internal")
        key = shared_server.folder / "tls.key"
        old_key = key.read_bytes()
        shared_server.write_certificate(Pair(renewed.certificate, old_key))
        assert served(shared_server) == before
        assert outcome(shared_server.client(), "List")[0] is grpc.StatusCode.OK
        shared_server.write_certificate(renewed)
        wait_until(lambda: served(shared_server) == der(renewed), "new certificate", 10)

    def test_unreadable_files_leave_the_old_certificate(self, shared_server: IndexServer) -> None:
        before = served(shared_server)
        path = shared_server.folder / "tls.crt"
        content = path.read_bytes()
        path.unlink()
        assert served(shared_server) == before
        path.write_bytes(content)

    def test_a_new_authority_is_trusted_from_the_next_connection_on(
        self, stack: Stack, shared_server: IndexServer
    ) -> None:
        other = TestCa()
        assert outcome(shared_server.client(other.issue("gateway")), "List")[0] is (
            grpc.StatusCode.UNAVAILABLE
        )
        bundle = shared_server.folder / "ca.crt"
        bundle.write_bytes(stack.ca.bundle + other.bundle)
        wait_until(
            lambda: (
                outcome(shared_server.client(other.issue("gateway")), "List")[0]
                is grpc.StatusCode.OK
            ),
            "the new authority to be trusted",
            10,
        )
        bundle.write_bytes(stack.ca.bundle)

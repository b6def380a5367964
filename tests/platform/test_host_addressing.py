"""`host` addressing on a whole platform: one port, told apart by name, as behind a real domain.

Nothing here changes how the machine resolves names: clients connect to loopback and ask for the
name in TLS (SNI) and in HTTP, as they would after asking a DNS server.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pinecone import Pinecone

from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as pb_grpc
from tests.platform.support import Instance, new_instance, wait_until
from tests.platform.surface import creation

pytestmark = [pytest.mark.instance, pytest.mark.slow, pytest.mark.xdist_group("host")]

DOMAIN = "tamarack.test"


@dataclass(frozen=True)
class Site:
    """An installation under a domain, with an index `named` that holds one record `a`."""

    instance: Instance
    port: int
    key: str
    foreign_key: str
    host: str = ""

    def request(self, name: str, method: str, path: str, **more: Any) -> httpx.Response:
        """A request as sent by a client that was given `https://<name>:<port>`."""
        headers = {"Api-Key": more.pop("key", self.key), "Host": f"{name}:{self.port}"}
        tls = ssl.create_default_context(cafile=self.instance.ca_file)
        with httpx.Client(verify=tls, trust_env=False, timeout=20) as client:
            return client.request(
                method,
                f"https://127.0.0.1:{self.port}{path}",
                headers=headers,
                extensions={"sni_hostname": name},
                **more,
            )

    def refused(self, name: str, key: str | None = None) -> tuple[grpc.StatusCode, str] | None:
        """How a gRPC query under `name` is refused; None where it is answered."""
        credentials = grpc.ssl_channel_credentials(Path(self.instance.ca_file).read_bytes())
        options = [
            ("grpc.ssl_target_name_override", name),
            ("grpc.default_authority", f"{name}:{self.port}"),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:
            stub = pb_grpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
            metadata = (("api-key", key or self.key),)
            request = pb.QueryRequest(vector=[1, 0, 0, 0], top_k=3)
            try:
                answer = stub.Query(request, metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                refusal: Any = error
                return refusal.code(), refusal.details()
        assert [match.id for match in answer.matches] == ["a"]
        return None

    @property
    def name(self) -> str:
        """The index's host name without its port."""
        return self.host.partition(":")[0]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_instance() as instance:
        port = int(instance.gateway.rpartition(":")[2])
        instance.environment["TAMARACK_PUBLIC_URL"] = f"https://{DOMAIN}:{port}"
        instance.environment["TAMARACK_ADDRESSING"] = "host"
        instance.start()
        found = Site(instance, port, instance.owner()["api_key"], instance.owner()["api_key"])
        answer = found.request(DOMAIN, "POST", "/indexes", json=creation("named"))
        assert answer.status_code == 201, answer.text
        wait_until(
            lambda: found.request(DOMAIN, "GET", "/indexes/named").json()["status"]["ready"],
            "named ready",
        )
        host = found.request(DOMAIN, "GET", "/indexes/named").json()["host"]
        assert host == answer.json()["host"]
        found = Site(instance, port, found.key, found.foreign_key, host)
        body = {"vectors": [{"id": "a", "values": [1, 0, 0, 0]}]}
        answer = found.request(found.name, "POST", "/vectors/upsert", json=body)
        assert answer.json() == {"upsertedCount": 1}
        yield found


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process find every name of the domain on loopback, as a DNS server would."""
    resolve: Callable[..., Any] = socket.getaddrinfo

    def found(host: Any, *more: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        is_ours = isinstance(text, str) and text.endswith(DOMAIN)
        return resolve("127.0.0.1" if is_ours else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)


class HostAddressingTests:
    def test_the_host_is_the_label_under_the_domain(self, site: Site) -> None:
        label, _, rest = site.host.partition(".")
        assert rest == f"svc.{DOMAIN}:{site.port}"
        name, _, project = label.rpartition("-")
        assert name == "named"
        assert len(project) == 12

    def test_rest_and_grpc_reach_the_index_by_its_name(self, site: Site) -> None:
        body = {"vector": [1, 0, 0, 0], "topK": 3}
        for name in (site.name, site.name.upper()):
            answer = site.request(name, "POST", "/query", json=body)
            assert [match["id"] for match in answer.json()["matches"]] == ["a"]
        assert site.refused(site.name) is None

    def test_the_official_client_needs_nothing_but_the_address(self, site: Site, dns: None) -> None:
        gateway = f"https://{DOMAIN}:{site.port}"
        with closing(
            Pinecone(api_key=site.key, host=gateway, ssl_ca_certs=site.instance.ca_file)
        ) as client:
            assert client.describe_index("named").host == f"https://{site.host}"
            with closing(client.index("named")) as index:
                assert list(index.fetch(ids=["a"]).vectors) == ["a"]

    @pytest.mark.parametrize("change", ["x{}", "{}x"])
    def test_a_name_of_no_index_is_not_found(self, site: Site, change: str) -> None:
        label, _, rest = site.name.partition(".")
        name = f"{change.format(label)}.{rest}"
        answer = site.request(name, "POST", "/query", json={})
        assert (answer.status_code, answer.json()["code"]) == (404, 5)
        assert f"No index answers at {name}:{site.port}" in answer.json()["message"]
        assert site.refused(name) == (grpc.StatusCode.NOT_FOUND, answer.json()["message"])

    def test_a_stranger_is_told_of_no_index(self, site: Site) -> None:
        answer = site.request(site.name, "POST", "/query", json={}, key=site.foreign_key)
        assert (answer.status_code, answer.json()["code"]) == (404, 5)
        found = site.refused(site.name, site.foreign_key)
        assert found == (grpc.StatusCode.NOT_FOUND, answer.json()["message"])

    def test_the_project_of_the_name_decides_and_not_the_key(self, site: Site) -> None:
        """A stranger's own index of the same name answers to its own key alone."""
        answer = site.request(
            DOMAIN, "POST", "/indexes", json=creation("named"), key=site.foreign_key
        )
        assert answer.status_code == 201
        theirs = answer.json()["host"].partition(":")[0]
        assert theirs != site.name
        stats = "/describe_index_stats"
        wait_until(
            lambda: site.request(theirs, "GET", stats, key=site.foreign_key).status_code == 200,
            "the stranger's index",
        )
        count = site.request(theirs, "GET", stats, key=site.foreign_key).json()["totalVectorCount"]
        assert count == 0
        assert site.request(site.name, "GET", stats).json()["totalVectorCount"] == 1
        assert site.request(theirs, "GET", stats).status_code == 404
        assert site.refused(theirs, site.key) is not None

    def test_the_control_plane_is_not_under_an_index_name(self, site: Site) -> None:
        for path in ("/indexes", "/healthz", "/accounts/login/", "/"):
            answer = site.request(site.name, "GET", path)
            assert (answer.status_code, answer.json()["code"]) == (404, 5)
            assert "No such operation" in answer.json()["message"]

    def test_an_index_is_not_under_the_control_planes_name(self, site: Site) -> None:
        for name in (DOMAIN, f"api.{DOMAIN}"):
            assert site.request(name, "GET", "/indexes").status_code == 200
            answer = site.request(name, "POST", "/query", json={})
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "NOT_FOUND"
            assert site.refused(name) is not None

    def test_the_address_of_this_machine_is_the_control_plane(self, site: Site) -> None:
        for name in ("localhost", "127.0.0.1", "[::1]", DOMAIN.upper()):
            assert self.misdirected(site, f"{name}:{site.port}").status_code == 200

    def test_a_name_outside_the_domain_leads_nowhere(self, site: Site) -> None:
        for name in ("evil.example", f"svc.{DOMAIN}", f"{site.name}.evil.example"):
            answer = self.misdirected(site, name)
            assert answer.status_code == 404
            assert "describe_index" in answer.json()["error"]["message"]

    def misdirected(self, site: Site, name: str) -> httpx.Response:
        """Ask for a name in HTTP, having checked the certificate under another one."""
        tls = ssl.create_default_context(cafile=site.instance.ca_file)
        with httpx.Client(verify=tls, trust_env=False, timeout=20) as client:
            return client.get(
                f"https://127.0.0.1:{site.port}/indexes",
                headers={"Api-Key": site.key, "Host": name},
                extensions={"sni_hostname": DOMAIN},
            )

    def test_no_index_port_is_open(self, site: Site) -> None:
        first = int(site.instance.environment["TAMARACK_INDEX_PORTS"].partition("-")[0])
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", first)) != 0

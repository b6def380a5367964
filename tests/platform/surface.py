"""A project of a running platform as its clients reach it: REST and gRPC, with any of its keys."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf.message import Message

from protos.generated import vector_service_pb2 as pb
from protos.generated import vector_service_pb2_grpc as pb_grpc
from tests.platform.support import Instance, wait_until

PATIENCE = 20.0
"""Seconds that any single answer may take on a busy machine."""
METHODS: dict[str, Any] = dict(pb.DESCRIPTOR.services_by_name["VectorService"].methods_by_name)
REST: dict[str, list[tuple[str, str]]] = {
    "Upsert": [("POST", "/vectors/upsert")],
    "Update": [("POST", "/vectors/update")],
    "Delete": [("POST", "/vectors/delete"), ("DELETE", "/vectors/delete")],
    "Fetch": [("GET", "/vectors/fetch")],
    "FetchByMetadata": [("POST", "/vectors/fetch_by_metadata")],
    "List": [("GET", "/vectors/list")],
    "Query": [("POST", "/query")],
    "DescribeIndexStats": [("POST", "/describe_index_stats"), ("GET", "/describe_index_stats")],
    "ListNamespaces": [("GET", "/namespaces")],
    "CreateNamespace": [("POST", "/namespaces")],
    "DescribeNamespace": [("GET", "/namespaces/{namespace}")],
    "DeleteNamespace": [("DELETE", "/namespaces/{namespace}")],
}
READS = {
    *("Fetch", "FetchByMetadata", "List", "Query"),
    *("DescribeIndexStats", "ListNamespaces", "DescribeNamespace"),
}

# Kinds of keys, made in one process because starting one takes seconds.
_MAKE_KEYS = """
import json
from datetime import timedelta
from django.utils import timezone
from keys.models import ApiKey
from keys.services.api_keys import create_api_key, revoke_api_key
from orgs.actors import system
from orgs.permissions import Role
from projects.models import Project
from projects.services import create_project
actor = system("operator")
own = Project.objects.get(pk="{project}")
sister = create_project(actor=actor, organization_id=own.organization_id, name="Sister")
def make(name, project=own, role=Role.PROJECT_EDITOR):
    return create_api_key(actor=actor, project=project, name=name, roles=[role])
made = {{
    "reader": make("reader", role=Role.DATA_PLANE_VIEWER),
    "sister": make("sister", sister),
    "revoked": make("revoked"),
    "expired": make("expired"),
}}
revoke_api_key(actor=actor, key_id=made["revoked"][0].pk)
past = timezone.now() - timedelta(seconds=1)
ApiKey.objects.filter(pk=made["expired"][0].pk).update(expires_at=past)
Project.objects.filter(pk=sister.pk).update(max_indexes={sister_quota})
print(json.dumps({{name: secret for name, (key, secret) in made.items()}}))
"""


@dataclass
class Surface:
    """A project with an Editor's key `own`, and further keys by name. Use as a context manager.

    Attributes:
        project, organization: their ids.
        keys: `own`; `reader` (may read records only), `revoked`, `expired`; `sister` (another
            project of the organization) and `foreign` (another organization).
    """

    instance: Instance
    organization: str
    project: str
    keys: dict[str, str]
    _open: ExitStack = field(default_factory=ExitStack)
    _clients: dict[tuple[str, str | None], httpx.Client] = field(default_factory=dict)

    def __enter__(self) -> Surface:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Trusts the installation's authority alone."""
        return ssl.create_default_context(cafile=self.instance.ca_file)

    def control(self, key: str | None = "own") -> httpx.Client:
        """A REST client of the control plane."""
        return self._client(self.instance.gateway, key)

    def rest(self, host: str, key: str | None = "own") -> httpx.Client:
        """A REST client of the index at `host`."""
        return self._client(f"https://{host}", key)

    def _client(self, url: str, key: str | None) -> httpx.Client:
        if (url, key) not in self._clients:
            headers = {} if key is None else {"Api-Key": self.keys.get(key, key)}
            self._clients[url, key] = self._open.enter_context(
                httpx.Client(
                    base_url=url,
                    verify=self.tls,
                    headers=headers,
                    timeout=PATIENCE,
                    trust_env=False,
                    limits=httpx.Limits(max_connections=None),
                )
            )
        return self._clients[url, key]

    def channel(self, host: str) -> Channel:
        """A gRPC channel of its own to the index at `host`."""
        credentials = grpc.ssl_channel_credentials(Path(self.instance.ca_file).read_bytes())
        options = [
            ("grpc.enable_retries", 0),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ]
        channel = self._open.enter_context(grpc.secure_channel(host, credentials, options))
        return Channel(channel, self.keys)

    def state(self, name: str) -> dict[str, Any] | None:
        """What the control plane says of the index; None where it knows none."""
        answer = self.control().get(f"/indexes/{name}")
        assert answer.status_code in {200, 404}, answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    def create(self, name: str, **more: Any) -> str:
        """Create a dense index of dimension 4 and wait until it is ready; its host."""
        answer = self.control().post("/indexes", json=creation(name, **more))
        assert answer.status_code == 201, answer.text
        return self.wait_ready(name)

    def wait_ready(self, name: str) -> str:
        """Wait until the index is ready; its host."""

        def ready() -> bool:
            state = self.state(name)
            assert state is not None
            assert "Failed" not in state["status"]["state"], state
            return bool(state["status"]["ready"])

        wait_until(ready, f"{name} ready", 90)
        state = self.state(name)
        assert state is not None
        return str(state["host"])

    def drop(self, *names: str) -> None:
        """Delete these indexes and wait until they are gone, so that their ports are free."""
        for name in names:
            assert self.control().delete(f"/indexes/{name}").status_code in {202, 404}
        wait_until(lambda: not any(map(self.state, names)), f"{', '.join(names)} gone", 90)

    @contextmanager
    def index(self, name: str, **more: Any) -> Iterator[str]:
        """The host of an index that lives as long as the block."""
        host = self.create(name, **more)
        try:
            yield host
        finally:
            self.drop(name)


@dataclass(frozen=True)
class Channel:
    """Calls by name over one gRPC channel."""

    channel: grpc.Channel
    keys: dict[str, str]

    def call(self, method: str, request: Message, key: str | None = "own") -> Any:
        """The answer; raises grpc.RpcError for a refusal."""
        stub: Any = pb_grpc.VectorServiceStub(self.channel)  # type: ignore[no-untyped-call]  # generated
        return getattr(stub, method)(request, metadata=self._metadata(key), timeout=PATIENCE)

    def refused(
        self, path: str, content: bytes, key: str | None = "own"
    ) -> tuple[grpc.StatusCode, str] | None:
        """Status and message of a call with any bytes as its message; None where it succeeded."""
        send: Any = self.channel.unary_unary(path)
        try:
            send(content, metadata=self._metadata(key), timeout=PATIENCE)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        return None

    def _metadata(self, key: str | None) -> tuple[tuple[str, str], ...]:
        return () if key is None else (("api-key", self.keys.get(key, key)),)


def creation(name: str, **more: Any) -> dict[str, Any]:
    """The body that creates a dense index of dimension 4."""
    spec = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
    return {"name": name, "dimension": 4, "metric": "cosine", "spec": spec, **more}


def new_surface(instance: Instance, sister_quota: int = 200) -> Surface:
    """A new organization on a running instance, with a key of every kind."""
    owner, stranger = instance.owner(), instance.owner()
    code = _MAKE_KEYS.format(project=owner["project_id"], sister_quota=sister_quota)
    done = instance.manage("shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    keys = json.loads(done.stdout.splitlines()[-1])
    return Surface(
        instance,
        organization=owner["organization_id"],
        project=owner["project_id"],
        keys={**keys, "own": owner["api_key"], "foreign": stranger["api_key"]},
    )


def records(channel: Channel) -> dict[str, Any]:
    """Everything that an index holds: every namespace with every record's bytes, and its counts."""
    found: dict[str, Any] = {}
    for namespace in pages(channel, "ListNamespaces", pb.ListNamespacesRequest(), "namespaces"):
        request = pb.ListRequest(namespace=namespace.name)
        ids = [item.id for item in pages(channel, "List", request, "vectors")]
        vectors: dict[str, bytes] = {}
        for start in range(0, len(ids), 1000):
            batch = pb.FetchRequest(ids=ids[start : start + 1000], namespace=namespace.name)
            for id, vector in channel.call("Fetch", batch).vectors.items():
                vectors[id] = vector.SerializeToString(deterministic=True)
        assert sorted(vectors) == sorted(ids)
        assert namespace.record_count == len(ids)
        found[namespace.name] = vectors
    stats = channel.call("DescribeIndexStats", pb.DescribeIndexStatsRequest())
    counts = {name: summary.vector_count for name, summary in stats.namespaces.items()}
    assert counts == {name: len(vectors) for name, vectors in found.items()}
    assert stats.total_vector_count == sum(counts.values())
    return found


def pages(channel: Channel, method: str, request: Any, name: str) -> list[Any]:
    """All items of a listing, page by page."""
    found: list[Any] = []
    while True:
        answer = channel.call(method, request)
        found += getattr(answer, name)
        if not answer.pagination.next:
            return found
        request.pagination_token = answer.pagination.next


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """The block has to end within PATIENCE."""
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < PATIENCE, f"{what} took {took:.1f} s"

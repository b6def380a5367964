"""What an API key is limited to, held by the gateway and the control plane while it is in use.

Every change is made over the Admin API; a change that takes something away has to be in force
within a second, for calls by REST and on a gRPC channel that stays open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest

from protos.generated import vector_service_pb2 as pb
from tests.platform.support import Instance, wait_until
from tests.platform.surface import PATIENCE, Channel, Surface, creation

pytestmark = [pytest.mark.instance, pytest.mark.xdist_group("instance")]

BOUND = 1.0
"""Seconds after which a key that was taken away is refused everywhere."""
HERE, ELSEWHERE = "127.0.0.1/32", "192.0.2.0/24"


VECTOR = [1.0, 2.0, 3.0, 4.0]


@dataclass
class Admin:
    """The Admin API as a program of the organization's owner, and an index with records."""

    surface: Surface
    http: httpx.Client
    host: str
    index_id: str

    def call(self, method: str, path: str, **content: Any) -> Any:
        """The answer's content; a refusal fails the test."""
        answer = self.http.request(method, path, json=content or None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def key(self, **limits: Any) -> tuple[str, User]:
        """A new key's id, and somebody who uses it."""
        path = f"/admin/projects/{self.surface.project}/api-keys"
        made = self.call("POST", path, name="limited", **limits)
        return made["key"]["id"], self.user(made["value"])

    def user(self, secret: str) -> User:
        return User(
            self.surface.control(secret),
            self.surface.rest(self.host, secret),
            self.surface.channel(self.host),
            secret,
        )


@dataclass
class User:
    """A key in use: on the control plane, by REST, and on a gRPC channel that stays open."""

    control: httpx.Client
    http: httpx.Client
    channel: Channel
    secret: str

    def rest(self, namespace: str = "", *, write: bool = False) -> int:
        """The status of a call by REST."""
        if write:
            vectors = [{"id": "a", "values": VECTOR}]
            return self.http.post(
                "/vectors/upsert", json={"vectors": vectors, "namespace": namespace}
            ).status_code
        query = {"topK": 1, "vector": VECTOR, "namespace": namespace}
        return self.http.post("/query", json=query).status_code

    def grpc(self, namespace: str = "", *, write: bool = False) -> int:
        """The status of a call over gRPC, in the numbers of REST."""
        upsert = pb.UpsertRequest(vectors=[pb.Vector(id="a", values=VECTOR)], namespace=namespace)
        query = pb.QueryRequest(top_k=1, vector=VECTOR, namespace=namespace)
        method, request = ("Upsert", upsert) if write else ("Query", query)
        try:
            self.channel.call(method, request, self.secret)
        except grpc.RpcError as error:
            return REFUSED[error.code()]
        return 200

    def both(self, namespace: str = "", *, write: bool = False) -> set[int]:
        """The status on both transports: one number where they agree."""
        return {self.rest(namespace, write=write), self.grpc(namespace, write=write)}

    def describe(self) -> int:
        """The status of a call to the control plane."""
        return self.control.get("/indexes/limited").status_code


REFUSED = {grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.PERMISSION_DENIED: 403}


@pytest.fixture(scope="module")
def admin(instance: Instance, surface: Surface) -> Iterator[Admin]:
    """A program of the owner of the surface's organization, and an index of its project."""
    made = instance.manage_json(
        "create_service_account", "--organization", surface.organization, "--name", "limits"
    )
    with (
        surface.index("limited") as host,
        httpx.Client(base_url=instance.gateway, verify=surface.tls, timeout=PATIENCE) as http,
    ):
        credentials = {
            "client_id": made["client_id"],
            "client_secret": made["client_secret"],
            "grant_type": "client_credentials",
            "audience": "https://api.pinecone.io/",
        }
        token = http.post("/oauth/token", json=credentials).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        index_id = surface.control().get("/indexes/limited").json()["id"]
        yield Admin(surface, http, host, index_id)


class ScopeTests:
    def test_an_unlimited_key_is_let_in_everywhere(self, admin: Admin) -> None:
        _, user = admin.key()
        assert (user.both(), user.both(write=True), user.describe()) == ({200}, {200}, 200)

    def test_a_read_only_key_writes_nothing(self, admin: Admin) -> None:
        _, user = admin.key(access="read_only")
        assert (user.both(), user.both(write=True)) == ({200}, {403})
        assert user.control.delete("/indexes/limited").status_code == 403

    def test_a_key_limited_to_another_index_does_not_reach_this_one(self, admin: Admin) -> None:
        with admin.surface.index("neighbour"):
            other = admin.surface.control().get("/indexes/neighbour").json()["id"]
            _, user = admin.key(index_ids=[other])
            assert (user.both(), user.describe()) == ({403}, 403)
            listed = [index["name"] for index in user.control.get("/indexes").json()["indexes"]]
            assert listed == ["neighbour"]
        _, mine = admin.key(index_ids=[admin.index_id])
        assert (mine.both(write=True), mine.describe()) == ({200}, 200)
        assert mine.control.post("/indexes", json=creation("more")).status_code == 403

    def test_a_key_limited_to_namespaces_reaches_no_other(self, admin: Admin) -> None:
        _, user = admin.key(namespaces=["", "team a,b/%"])
        assert user.both(write=True) == {200}
        assert user.both("team a,b/%", write=True) == {200}
        assert (user.both("other"), user.both("other", write=True)) == ({403}, {403})

    def test_a_key_is_used_from_its_own_networks_only(self, admin: Admin) -> None:
        _, stranger = admin.key(allowed_ips=[ELSEWHERE])
        assert (stranger.both(), stranger.describe()) == ({403}, 403)
        assert ELSEWHERE not in stranger.http.post("/query", json={"topK": 1}).text
        _, local = admin.key(allowed_ips=[ELSEWHERE, HERE])
        assert (local.both(), local.describe()) == ({200}, 200)

    def test_a_key_whose_time_has_not_come_is_unknown(self, admin: Admin) -> None:
        _, early = admin.key(not_before="2099-01-01T00:00:00Z")
        assert (early.both(), early.describe()) == ({401}, 401)


TAKEN_AWAY: dict[str, tuple[int, Callable[[Admin, str], object]]] = {
    "delete": (401, lambda admin, key: admin.call("DELETE", f"/admin/api-keys/{key}")),
    "disable": (401, lambda admin, key: admin.call("POST", f"/admin/api-keys/{key}/disable")),
    "roles": (
        403,
        lambda admin, key: admin.call(
            "PATCH", f"/admin/api-keys/{key}", roles=["ControlPlaneViewer"]
        ),
    ),
    "addresses": (
        403,
        lambda admin, key: admin.call("PATCH", f"/admin/api-keys/{key}", allowed_ips=[ELSEWHERE]),
    ),
    "rotation without overlap": (
        401,
        lambda admin, key: admin.call("POST", f"/admin/api-keys/{key}/rotate", overlap_seconds=0),
    ),
    "archive": (
        403,
        lambda admin, _: admin.call("POST", f"/admin/projects/{admin.surface.project}/archive"),
    ),
}


class RevocationTests:
    @pytest.mark.parametrize("how", TAKEN_AWAY)
    def test_what_is_taken_away_is_refused_within_a_second_on_rest_and_open_grpc_channel(
        self, admin: Admin, how: str
    ) -> None:
        status, take_away = TAKEN_AWAY[how]
        key, user = admin.key()
        assert user.both() == {200}
        try:
            take_away(admin, key)
            taken = time.monotonic()

            def seconds_until_refused(call: Callable[[], int]) -> float:
                while (found := call()) != status:
                    assert found == 200
                    assert time.monotonic() - taken < PATIENCE
                return time.monotonic() - taken

            with ThreadPoolExecutor(2) as pool:
                times = list(pool.map(seconds_until_refused, (user.rest, user.grpc)))
            assert max(times) <= BOUND, times
        finally:
            if how == "archive":
                admin.call("POST", f"/admin/projects/{admin.surface.project}/restore")
                admin.surface.wait_ready("limited")

    def test_a_rotated_secret_works_on_through_its_overlap(self, admin: Admin) -> None:
        key, old = admin.key()
        rotated = admin.call("POST", f"/admin/api-keys/{key}/rotate", overlap_seconds=3600)
        new = admin.user(rotated["value"])
        assert (old.both(), new.both()) == ({200}, {200})


class UsageTests:
    def test_calls_are_counted_by_key_whether_let_in_or_not(self, admin: Admin) -> None:
        key, user = admin.key(access="read_only")
        assert (user.both(), user.both(write=True), user.describe()) == ({200}, {403}, 200)

        def counted() -> dict[tuple[str, str, str], int]:
            found = admin.call("GET", f"/admin/api-keys/{key}/usage")["data"]
            return {(row["plane"], row["operation"], row["outcome"]): row["count"] for row in found}

        wanted = {("data", "Query", "allowed"), ("data", "Upsert", "denied")}
        wait_until(lambda: wanted <= set(counted()), "the calls are counted")
        # Each line of the log is counted when it is read, which may be one by one.
        wait_until(
            lambda: any(plane == "control" for plane, *_ in counted()),
            "the call of the control plane is counted",
        )
        described = admin.call("GET", f"/admin/api-keys/{key}")
        assert described["last_used_ip"] == "127.0.0.1"

"""The control plane as clients see it: the official one over HTTP, and raw requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pinecone import AsyncPinecone, Pinecone, ServerlessSpec
from pinecone.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from indexes.models import Index
from orgs.permissions import Role
from projects.models import Project
from tests import factories
from tests.cast import Cast, make_cast
from tests.indexes.conftest import make_index

NEW, OLD = "2026-07", "2025-10"
DENSE: dict[str, Any] = {"type": "dense_vector", "dimension": 3, "metric": "cosine"}
SPARSE: dict[str, Any] = {"type": "sparse_vector"}
PLACE = {"cloud": "aws", "region": "us-east-1"}
SUPERSET = {
    "name": "products",
    "host": "localhost:8444",
    "status": {"ready": False, "state": "Initializing"},
    "deletion_protection": "disabled",
    "tags": None,
    "schema": {
        "fields": {
            "_values": {**DENSE, "description": None},
            "_sparse_values": {**SPARSE, "description": None},
        }
    },
    "deployment": {"deployment_type": "managed", **PLACE},
    "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}},
    "dimension": 3,
    "metric": "cosine",
    "vector_type": "dense",
    "spec": {
        "serverless": {
            **PLACE,
            "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}},
        }
    },
}


class Caller:
    """Raw requests with a key and an API version."""

    def __init__(self, key: str, version: str | None = NEW) -> None:
        headers = {"api-key": key}
        if version is not None:
            headers["x-pinecone-api-version"] = version
        self.client = Client(headers=headers, raise_request_exception=False)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body; None where there is none."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        answer = self.client.generic(method, path, data, content_type="application/json")
        return answer.status_code, json.loads(answer.content) if answer.content else None


@pytest.fixture
def caller(cast: Cast) -> Caller:
    """A key of the cast's project that speaks 2026-07."""
    return Caller(cast.key)


class ShapeTests:
    def test_both_shapes_ask_for_the_same_and_are_answered_by_the_superset(
        self, cast: Cast, settings: Settings
    ) -> None:
        bodies = {
            NEW: {"name": "products", "schema": {"fields": {"_values": DENSE}}},
            OLD: {"name": "products", "dimension": 3, "spec": {"serverless": PLACE}},
        }
        for version, body in bodies.items():
            status, answer = Caller(cast.key, version).call("POST", "/indexes", body)
            expected = {**SUPERSET, "id": answer["id"], "host": answer["host"]}
            assert (status, answer) == (201, expected)
            assert answer["host"].startswith("localhost:84")
            Index.objects.update(deleted_at=timezone.now())

    def test_the_index_is_the_same_in_create_describe_list_and_configure(
        self, caller: Caller
    ) -> None:
        _, created = caller.call(
            "POST", "/indexes", {"name": "products", "schema": {"fields": {"_values": DENSE}}}
        )
        expected = {**SUPERSET, "id": str(Index.objects.get().pk)}
        assert created == expected
        assert caller.call("GET", "/indexes/products") == (200, expected)
        assert caller.call("GET", "/indexes") == (200, {"indexes": [expected]})
        status, changed = caller.call("PATCH", "/indexes/products", {"tags": {"a": "b"}})
        assert (status, changed) == (200, {**expected, "tags": {"a": "b"}})

    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("/collections", "collections"),
            ("/backups", "data"),
            ("/assistant/assistants", "assistants"),
        ],
    )
    def test_what_there_is_none_of_is_an_empty_list(
        self, caller: Caller, path: str, name: str
    ) -> None:
        assert caller.call("GET", path) == (200, {name: []})

    def test_a_sparse_index_has_an_explicit_null_dimension(self, caller: Caller) -> None:
        status, answer = caller.call(
            "POST", "/indexes", {"name": "words", "schema": {"fields": {"_sparse_values": SPARSE}}}
        )
        assert status == 201
        assert answer["dimension"] is None
        assert (answer["vector_type"], answer["metric"]) == ("sparse", "dotproduct")
        assert answer["schema"]["fields"] == {"_sparse_values": {**SPARSE, "description": None}}

    def test_both_reserved_fields_make_a_dense_index(self, caller: Caller) -> None:
        fields = {"_values": {**DENSE, "metric": "dotproduct"}, "_sparse_values": SPARSE}
        status, answer = caller.call(
            "POST", "/indexes", {"name": "hybrid", "schema": {"fields": fields}}
        )
        assert (status, answer["vector_type"]) == (201, "dense")

    def test_a_name_is_made_up_where_none_is_given(self, caller: Caller) -> None:
        status, answer = caller.call("POST", "/indexes", {"schema": {"fields": {"_values": DENSE}}})
        assert status == 201
        assert caller.call("GET", f"/indexes/{answer['name']}")[0] == 200

    def test_any_cloud_and_region_are_echoed(self, caller: Caller) -> None:
        place = {"cloud": "basement", "region": "rack-7"}
        status, answer = caller.call(
            "POST",
            "/indexes",
            {
                "name": "here",
                "schema": {"fields": {"_values": DENSE}},
                "deployment": {"deployment_type": "managed", **place},
                "read_capacity": {"mode": "OnDemand"},
            },
        )
        assert (status, answer["deployment"]) == (201, {"deployment_type": "managed", **place})
        assert answer["spec"]["serverless"].items() >= place.items()

    def test_null_means_left_out(self, cast: Cast) -> None:
        body = {
            "name": "products",
            "dimension": 3,
            "metric": None,
            "vector_type": None,
            "tags": None,
            "deletion_protection": None,
            "spec": {"serverless": {**PLACE, "source_collection": None, "schema": None}},
        }
        assert Caller(cast.key, "2024-07").call("POST", "/indexes", body)[0] == 201

    def test_a_metadata_schema_of_filterable_fields_is_accepted(self, cast: Cast) -> None:
        schema = {"fields": {"year": {"filterable": True}}}
        body = {
            "name": "products",
            "dimension": 3,
            "spec": {"serverless": {**PLACE, "schema": schema}},
        }
        assert Caller(cast.key, OLD).call("POST", "/indexes", body)[0] == 201

    def test_a_failed_index_says_why_and_what_helps(self, caller: Caller, cast: Cast) -> None:
        index = make_index(cast.project)
        Index.objects.filter(pk=index.pk).update(
            state="InitializationFailed", cause="It broke.", remedy="Mend it."
        )
        _, answer = caller.call("GET", "/indexes/products")
        assert answer["status"] == {
            "ready": False,
            "state": "InitializationFailed",
            "message": "It broke. Mend it.",
        }

    @pytest.mark.parametrize(
        ("public_port", "host"),
        [
            (443, "products-{project}.svc.vectors.example"),
            (8443, "products-{project}.svc.vectors.example:8443"),
        ],
    )
    def test_host_addressing_gives_a_name_of_its_own(
        self, caller: Caller, cast: Cast, settings: Settings, public_port: int, host: str
    ) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        settings.TAMARACK_INDEX_DOMAIN = "svc.vectors.example"
        settings.TAMARACK_PUBLIC_PORT = public_port
        make_index(cast.project)
        _, answer = caller.call("GET", "/indexes/products")
        assert answer["host"] == host.format(project=cast.project.pk.hex[:12])


class StatusTests:
    @pytest.mark.parametrize(
        ("version", "status"),
        [
            ("2024-07", 202),
            ("2025-10", 202),
            ("2026-04", 202),
            ("2026-07", 200),
            ("2027-01", 200),
            (None, 200),
            ("latest", 200),
        ],
    )
    def test_a_change_is_answered_as_the_version_has_it(
        self, cast: Cast, version: str | None, status: int
    ) -> None:
        make_index(cast.project)
        caller = Caller(cast.key, version)
        assert caller.call("PATCH", "/indexes/products", {"tags": {"a": "b"}})[0] == status

    @pytest.mark.parametrize("spelling", ["X-Pinecone-API-Version", "x-pinecone-api-version"])
    @pytest.mark.parametrize("key", ["", "no-key", f"tmrk_{'0' * 10}_{'0' * 49}"])
    def test_a_refused_key_is_plain_text_since_2026_07(
        self, db: None, spelling: str, key: str
    ) -> None:
        answer = Client(headers={spelling: NEW, "api-key": key}).get("/indexes")
        assert answer.status_code == 401
        assert answer["Content-Type"] == "text/plain"
        assert answer.content == b"Invalid API Key"

    @pytest.mark.parametrize("headers", [{}, {"X-Pinecone-Api-Version": OLD}])
    def test_a_refused_key_is_json_otherwise(self, db: None, headers: dict[str, str]) -> None:
        answer = Client(headers=headers).get("/indexes")
        assert answer.status_code == 401
        assert answer.json() == {
            "status": 401,
            "error": {"code": "UNAUTHENTICATED", "message": "Invalid API Key"},
        }

    def test_deleting_twice_is_accepted_twice_and_has_no_body(
        self, caller: Caller, cast: Cast
    ) -> None:
        make_index(cast.project)
        for _ in range(2):
            assert caller.call("DELETE", "/indexes/products") == (202, None)
        assert caller.call("GET", "/indexes/products")[1]["status"]["state"] == "Terminating"

    def test_another_projects_index_is_not_found(self, caller: Caller, cast: Cast) -> None:
        make_index(cast.other_project)
        for method in ("GET", "PATCH", "DELETE"):
            status, answer = caller.call(method, "/indexes/products", {})
            assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")
        assert caller.call("GET", "/indexes") == (200, {"indexes": []})

    @pytest.mark.parametrize(
        ("role", "reads", "writes"),
        [
            (Role.PROJECT_VIEWER, 200, 403),
            (Role.CONTROL_PLANE_VIEWER, 200, 403),
            (Role.DATA_PLANE_EDITOR, 403, 403),
            (Role.CONTROL_PLANE_EDITOR, 200, 202),
        ],
    )
    def test_a_key_does_what_its_role_allows(
        self, cast: Cast, role: Role, reads: int, writes: int
    ) -> None:
        make_index(cast.project)
        caller = Caller(factories.make_key(cast.project, [role])[1])
        assert caller.call("GET", "/indexes")[0] == reads
        assert caller.call("GET", "/indexes/products")[0] == reads
        assert caller.call("GET", "/collections")[0] == reads
        assert caller.call("DELETE", "/indexes/products")[0] == writes

    def test_a_list_takes_a_constant_number_of_queries(
        self, caller: Caller, cast: Cast, django_assert_num_queries: Any
    ) -> None:
        for number in range(5):
            make_index(cast.project, f"index-{number}")
        caller.call("GET", "/indexes")
        with django_assert_num_queries(4):  # key, its roles, project, indexes
            assert len(caller.call("GET", "/indexes")[1]["indexes"]) == 5

    def test_collections_are_honestly_empty(self, caller: Caller) -> None:
        assert caller.call("GET", "/collections") == (200, {"collections": []})
        assert caller.call("POST", "/collections", {"name": "a", "source": "b"})[0] == 400
        assert caller.call("GET", "/collections/a")[0] == 404
        assert caller.call("DELETE", "/collections/a")[0] == 404

    def test_an_index_for_a_model_is_refused_with_the_way_out(self, caller: Caller) -> None:
        status, answer = caller.call("POST", "/indexes/create-for-model", {"name": "a"})
        assert status == 400
        assert "POST /indexes" in answer["error"]["message"]

    def test_an_index_may_be_named_like_that_path(self, caller: Caller, cast: Cast) -> None:
        make_index(cast.project, "create-for-model")
        assert caller.call("GET", "/indexes/create-for-model")[0] == 200
        assert caller.call("DELETE", "/indexes/create-for-model")[0] == 202


@pytest.mark.django_db(transaction=True)
class OfficialClientTests:
    """`pinecone` 10.2.0, unmodified, with nothing but another host."""

    @pytest.fixture
    def people(self, transactional_db: None) -> Cast:
        return make_cast()

    @pytest.fixture
    def client(self, live_server: LiveServer, people: Cast) -> Iterator[Pinecone]:
        with Pinecone(api_key=people.key, host=live_server.url) as client:
            yield client

    def ready(self) -> None:
        Index.objects.filter(state="Initializing").update(state="Ready")

    def test_an_indexs_whole_life(self, client: Pinecone) -> None:
        created = client.indexes.create(
            name="products",
            schema={"fields": {"_values": DENSE}},
            deployment={"deployment_type": "managed", **PLACE},
            tags={"team": "search"},
            deletion_protection="enabled",
            timeout=-1,
        )
        assert created.host == "https://localhost:8444"  # the client adds the scheme
        assert not created.status.ready
        self.ready()
        described = client.indexes.describe("products")
        assert described.status.ready
        assert (described.dimension, described.metric) == (3, "cosine")
        assert [index.name for index in client.indexes.list()] == ["products"]
        assert client.indexes.exists("products")
        with pytest.raises(ForbiddenError, match="protected"):
            client.indexes.delete("products", timeout=-1)
        changed = client.indexes.configure(
            "products", deletion_protection="disabled", tags={"team": "", "env": "prod"}
        )
        assert changed.tags == {"env": "prod"}
        client.indexes.delete("products", timeout=-1)
        assert client.indexes.describe("products").status.state == "Terminating"
        Index.objects.update(deleted_at=timezone.now())
        assert not client.indexes.exists("products")

    def test_the_arguments_of_former_versions(self, client: Pinecone) -> None:
        spec = ServerlessSpec(cloud="gcp", region="europe-west4")
        client.create_index(name="old", dimension=8, metric="euclidean", spec=spec, timeout=-1)
        client.create_index(name="words", vector_type="sparse", spec=spec, timeout=-1)
        old = client.describe_index("old")
        assert (old.dimension, old.metric) == (8, "euclidean")
        assert client.describe_index("words").vector_type == "sparse"
        assert set(client.list_indexes().names()) == {"old", "words"}

    def test_refusals_become_the_exceptions_that_the_client_has_for_them(
        self, client: Pinecone, live_server: LiveServer
    ) -> None:
        schema = {"fields": {"_values": DENSE}}
        client.indexes.create(name="products", schema=schema, timeout=-1)
        with pytest.raises(ConflictError, match="has an index"):
            client.indexes.create(name="products", schema=schema, timeout=-1)
        with pytest.raises(NotFoundError, match="absent"):
            client.indexes.describe("absent")
        Project.objects.update(max_indexes=1)
        with pytest.raises(ForbiddenError, match="as many as it may"):
            client.indexes.create(name="more", schema=schema, timeout=-1)
        with pytest.raises(ApiError, match="full-text"):
            client.indexes.create(
                schema={"fields": {"body": {"type": "string", "full_text_search": {}}}},
                timeout=-1,
            )
        with pytest.raises(ApiError, match="Embedding models are not offered"):
            client.indexes.create_for_model(
                name="model",
                cloud="aws",
                region="us-east-1",
                embed={"model": "multilingual-e5-large", "field_map": {"text": "body"}},
                timeout=-1,
            )
        with (
            Pinecone(api_key="wrong", host=live_server.url) as stranger,
            pytest.raises(UnauthorizedError, match="Invalid API Key"),
        ):
            list(stranger.indexes.list())

    def test_the_asynchronous_client(self, live_server: LiveServer, people: Cast) -> None:
        async def talk() -> list[str]:
            async with AsyncPinecone(api_key=people.key, host=live_server.url) as client:
                await client.indexes.create(
                    name="products", schema={"fields": {"_values": DENSE}}, timeout=-1
                )
                return [index.name async for index in client.indexes.list()]

        assert asyncio.run(talk()) == ["products"]

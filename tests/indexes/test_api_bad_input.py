"""Bad input: 4xx that names the value and the rule; nothing of it is kept, nothing is a 500."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from indexes.models import Index
from rest.parsers import MAX_BODY_BYTES
from tests.cast import Cast
from tests.indexes.conftest import make_index
from tests.indexes.test_api import DENSE, NEW, PLACE, SPARSE, Caller

OLD_BODY: dict[str, Any] = {"name": "products", "dimension": 3, "spec": {"serverless": PLACE}}
NEW_BODY: dict[str, Any] = {"name": "products", "schema": {"fields": {"_values": DENSE}}}


def old(**fields: object) -> dict[str, object]:
    """A body until 2026-04 with these fields changed."""
    return {**OLD_BODY, **fields}


def new(**fields: object) -> dict[str, object]:
    """A body since 2026-07 with these fields changed."""
    return {**NEW_BODY, **fields}


def schema(**fields: object) -> dict[str, object]:
    """A body since 2026-07 with these schema fields."""
    return new(schema={"fields": fields})


CREATE = [
    # The body as a whole
    ([], 422, "JSON object"),
    ("text", 422, "JSON object"),
    (None, 422, "schema is missing"),
    ({}, 422, "schema is missing"),
    ({"name": "products"}, 422, "schema is missing"),
    (new(dimension=3), 422, "different API versions"),
    (new(color="blue"), 422, 'unknown key "color"'),
    (old(pods=1), 422, 'unknown key "pods"'),
    # Name
    (old(name=None), 422, "lacks name"),
    (old(name=5), 422, "name has to be a string, not 5"),
    (old(name=["a"]), 422, "name has to be a string"),
    (new(name="Not Good"), 400, '"Not Good"'),
    (new(name="x" * 46), 400, "1 to 45"),
    (new(name="a\ud800b"), 400, "can't be used"),
    (new(name="a\u0000b"), 400, "can't be used"),
    # Vectors, old
    (old(dimension=None), 400, "dimension is missing"),
    (old(dimension="3"), 422, 'whole number, not "3"'),
    (old(dimension=3.0), 422, "whole number, not 3.0"),
    (old(dimension=True), 422, "whole number, not true"),
    (old(dimension=0), 400, "1 to 20000"),
    (old(dimension=-1), 400, "1 to 20000"),
    (old(dimension=10**30), 400, "1 to 20000"),
    (old(metric="manhattan"), 400, "cosine, dotproduct, euclidean"),
    (old(metric=1), 422, "metric has to be a string"),
    (old(vector_type="binary"), 400, "dense or sparse"),
    (old(vector_type="sparse"), 400, "a sparse index has none"),
    (old(vector_type="sparse", dimension=None, metric="cosine"), 400, "dotproduct only"),
    (old(embed={"model": "m"}), 400, "Embedding models are not offered"),
    # Spec, old
    (old(spec=None), 422, "spec is missing"),
    (old(spec="serverless"), 422, "spec has to be a JSON object"),
    (old(spec={}), 422, "spec.serverless has to be a JSON object"),
    (old(spec={"cloudless": {}}), 422, 'unknown key "cloudless"'),
    (old(spec={"serverless": {"cloud": "aws"}}), 422, "lacks region"),
    (old(spec={"serverless": {"region": "a"}}), 422, "lacks cloud"),
    (old(spec={"serverless": {**PLACE, "cloud": 1}}), 422, "cloud has to be a string"),
    (old(spec={"serverless": {**PLACE, "cloud": "a b"}}), 400, 'cloud "a b"'),
    (old(spec={"serverless": {**PLACE, "x": 1}}), 422, 'unknown key "x"'),
    (old(spec={"serverless": {**PLACE, "source_collection": "c"}}), 400, "Collections"),
    (old(spec={"serverless": {**PLACE, "schema": 1}}), 422, "JSON object, not 1"),
    (old(spec={"serverless": {**PLACE, "schema": {"fields": {"a": 1}}}}), 422, '"a"'),
    (
        old(spec={"serverless": {**PLACE, "schema": {"fields": {"a": {"filterable": False}}}}}),
        400,
        "filterable has to be true",
    ),
    (
        old(spec={"serverless": {**PLACE, "read_capacity": {"mode": "Dedicated"}}}),
        400,
        "Dedicated is not offered",
    ),
    (old(spec={"pod": {"environment": "e", "pod_type": "p1.x1"}}), 400, "spec.pod"),
    (old(spec={"byoc": {"environment": "e"}}), 400, "spec.byoc"),
    # Schema, new
    (new(schema=[]), 422, "schema has to be a JSON object"),
    (new(schema={}), 422, "schema.fields has to be a JSON object"),
    (new(schema={"fields": {}}), 400, "schema.fields is empty"),
    (new(schema={"fields": {"_values": DENSE}, "x": 1}), 422, 'unknown key "x"'),
    (schema(_values=1), 422, "JSON object, not 1"),
    (schema(_values={}), 422, "lacks type"),
    (schema(_values=SPARSE), 400, "_values is a dense_vector"),
    (schema(_sparse_values=DENSE), 400, "_sparse_values is a sparse_vector"),
    (schema(_values={**DENSE, "dimension": 20001}), 400, "1 to 20000"),
    (schema(_values={**DENSE, "dimension": None}), 422, "dimension is missing"),
    (schema(_values={**DENSE, "dimension": "3"}), 422, "whole number"),
    (schema(_values={**DENSE, "metric": None}), 422, "lacks metric"),
    (schema(_values={**DENSE, "metric": "l2"}), 400, '"l2"'),
    (schema(_values={**DENSE, "description": "d"}), 422, 'unknown key "description"'),
    (schema(_sparse_values={**SPARSE, "dimension": 3}), 422, 'unknown key "dimension"'),
    (schema(embedding=DENSE), 400, "vectors API"),
    (schema(_values=DENSE, year={"type": "float"}), 400, "Metadata needs no declaration"),
    (schema(body={"type": "string", "full_text_search": {}}), 400, "not offered by this"),
    (schema(body={"type": "semantic_text", "model": "m"}), 400, "not offered by this"),
    (schema(**{"\u0000": DENSE}), 400, "vectors API"),
    # Deployment and capacity, new
    (new(deployment=1), 422, "deployment has to be a JSON object"),
    (new(deployment={}), 422, "lacks deployment_type"),
    (new(deployment={"deployment_type": "managed"}), 422, "lacks cloud"),
    (new(deployment={"deployment_type": "lunar"}), 400, '"lunar"'),
    (new(deployment={"deployment_type": "pod", "environment": "e"}), 400, "pod is not offered"),
    (new(deployment={"deployment_type": "byoc", "environment": "e"}), 400, "byoc is not offered"),
    (
        new(deployment={"deployment_type": "managed", **PLACE, "environment": "e"}),
        422,
        'unknown key "environment"',
    ),
    (new(read_capacity="OnDemand"), 422, "read_capacity has to be a JSON object"),
    (new(read_capacity={}), 422, "lacks mode"),
    (new(read_capacity={"mode": "Turbo"}), 400, '"Turbo"'),
    (new(read_capacity={"mode": "Dedicated", "dedicated": {}}), 400, "Dedicated is not offered"),
    (new(read_capacity={"mode": "OnDemand", "x": 1}), 422, 'unknown key "x"'),
    (new(cmek_id="arn:aws:kms:1"), 400, "cmek_id"),
    (new(source_collection="c"), 400, "source_collection"),
    (new(source_backup_id="b"), 400, "source_backup_id"),
    # Tags and protection
    (new(tags=[]), 422, "tags has to be a JSON object"),
    (new(tags={"a": 1}), 422, 'tag "a" has to be a string, not 1'),
    (new(tags={"a": None}), 422, 'tag "a" has to be a string'),
    (new(tags={"": "x"}), 400, 'Tag key ""'),
    (new(tags={"a": "\u0000"}), 400, "printable ASCII"),
    (new(tags={"a": "\ud800"}), 400, "printable ASCII"),
    (new(tags={"a": "x" * 121}), 400, "0 to 120"),
    (new(tags={f"t{i}": "x" for i in range(21)}), 400, "21 tags"),
    (new(deletion_protection="yes"), 400, "enabled or disabled"),
    (new(deletion_protection=True), 422, "deletion_protection has to be a string"),
]

CONFIGURE = [
    ([], 422, "JSON object"),
    ({"name": "other"}, 422, 'unknown key "name"'),
    ({"replicas": 2}, 422, 'unknown key "replicas"'),
    ({"tags": {"a": 1}}, 422, "has to be a string"),
    ({"tags": {"a b": "c"}}, 400, 'Tag key "a b"'),
    ({"deletion_protection": "off"}, 400, "enabled or disabled"),
    ({"schema": {"fields": {}}}, 400, "can't be changed after creation"),
    ({"deployment": {"replicas": 2}}, 400, "resizes pods"),
    ({"embed": {"model": "m"}}, 400, "Embedding models"),
    ({"spec": {"pod": {"replicas": 2}}}, 400, "spec.pod"),
    ({"spec": {"serverless": {"cloud": "aws"}}}, 422, 'unknown key "cloud"'),
    ({"read_capacity": {"mode": "Dedicated"}}, 400, "Dedicated is not offered"),
    (
        {"spec": {"serverless": {"read_capacity": {"mode": "Dedicated"}}}},
        400,
        "Dedicated is not offered",
    ),
]

RAW = [
    (b"{", 422, "not valid JSON"),
    (b"\xff\xfe", 422, "not UTF-8"),
    (b'{"name": NaN}', 422, "NaN"),
    (b'{"dimension": Infinity}', 422, "Infinity"),
    (b'{"dimension": 1e999}', 422, "too large"),
    (b'{"dimension": ' + b"9" * 5000 + b"}", 422, "not valid JSON"),
    (b'{"name": "a", "name": "b"}', 422, '"name" is there twice'),
    (b"[" * 30_000, 422, "nested too deeply"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 422, "nested too deeply"),
    (b'"' + b"a" * MAX_BODY_BYTES + b'"', 413, "65536 bytes"),
    (b"", 422, "schema is missing"),
    (b"   ", 422, "schema is missing"),
]

CODES = {400: "INVALID_ARGUMENT", 413: "PAYLOAD_TOO_LARGE", 422: "UNPROCESSABLE_ENTITY"}


def names(table: list[Any]) -> list[str]:
    """Short, unique test names."""
    return [f"{number}-{row[2][:30]}" for number, row in enumerate(table)]


class BadInputTests:
    @pytest.mark.parametrize(("body", "status", "words"), CREATE, ids=names(CREATE))
    def test_a_bad_creation_is_refused_by_name(
        self, cast: Cast, body: object, status: int, words: str
    ) -> None:
        self.refused(Caller(cast.key), "POST", "/indexes", body, status, words)
        assert not Index.objects.exists()

    @pytest.mark.parametrize(("body", "status", "words"), CONFIGURE, ids=names(CONFIGURE))
    def test_a_bad_change_is_refused_by_name(
        self, cast: Cast, body: object, status: int, words: str
    ) -> None:
        index = make_index(cast.project, tags={"a": "b"})
        self.refused(Caller(cast.key), "PATCH", "/indexes/products", body, status, words)
        index.refresh_from_db()
        assert (index.tags, index.deletion_protection) == ({"a": "b"}, False)

    @pytest.mark.parametrize(("body", "status", "words"), RAW, ids=names(RAW))
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/indexes"), ("PATCH", "/indexes/products")]
    )
    def test_a_body_that_is_no_json_is_refused_on_every_operation(
        self, cast: Cast, method: str, path: str, body: bytes, status: int, words: str
    ) -> None:
        if method == "PATCH":
            make_index(cast.project)
            if not body.strip():
                # Nothing to change is not wrong.
                assert Caller(cast.key).call(method, path, body)[0] == 200
                return
        self.refused(Caller(cast.key), method, path, body, status, words)

    def refused(
        self, caller: Caller, method: str, path: str, body: object, status: int, words: str
    ) -> None:
        found, answer = caller.call(method, path, body)
        assert found == status, answer
        assert answer["status"] == status
        assert answer["error"]["code"] == CODES[status]
        assert words in answer["error"]["message"]

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_another_content_type_is_refused(self, cast: Cast, kind: str) -> None:
        client = Client(headers={"api-key": cast.key})
        answer = client.post("/indexes", data=b"{}", content_type=kind)
        assert answer.status_code == 415
        assert "application/json" in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PUT", "/indexes"),
            ("DELETE", "/indexes"),
            ("POST", "/indexes/products"),
            ("OPTIONS", "/indexes"),
            ("TRACE", "/indexes"),
            ("PUT", "/collections"),
        ],
    )
    def test_a_method_that_is_none_is_refused(self, cast: Cast, method: str, path: str) -> None:
        assert Caller(cast.key).call(method, path)[0] == 405

    @pytest.mark.parametrize(
        "path",
        [
            "/indexes/",
            "/indexes/%00",
            "/indexes/%2E%2E",
            "/indexes/a%2Fb",
            "/indexes/%ff",
            "/indexes/" + "a" * 5000,
            "/indexes/products/backups",
            "/backups/some",
            "/restore-jobs",
            "/models",
        ],
    )
    def test_a_path_that_leads_nowhere_is_not_found(self, cast: Cast, path: str) -> None:
        status, answer = Caller(cast.key).call("GET", path)
        assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")

    @pytest.mark.parametrize(
        "version", ["", "2026-07; drop", "9999-99", "0000-00", "x" * 4000, "2026-07.alpha"]
    )
    def test_no_version_header_breaks_anything(self, cast: Cast, version: str) -> None:
        assert Caller(cast.key, version).call("GET", "/indexes")[0] == 200


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *[
                        "name",
                        "dimension",
                        "metric",
                        "spec",
                        "serverless",
                        "pod",
                        "cloud",
                        "region",
                    ],
                    *["schema", "fields", "_values", "_sparse_values", "type", "tags", "embed"],
                    *["deployment", "deployment_type", "read_capacity", "mode", "vector_type"],
                ]
            )
            | st.text(string.printable, max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


class AnyInputTests:
    @given(body=JSON, version=st.sampled_from([NEW, "2025-10", "2024-07"]))
    @hypothesis_settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_no_body_is_an_error_of_ours(self, cast: Cast, body: object, version: str) -> None:
        caller = Caller(cast.key, version)
        for method, path in (("POST", "/indexes"), ("PATCH", "/indexes/products")):
            status, answer = caller.call(method, path, json.dumps(body).encode())
            assert status < 500
            if status >= 400:
                assert answer["error"]["message"]

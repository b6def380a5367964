"""Bad requests to every method of an index on a running platform, over gRPC and REST.

Each is refused with a status of the documented set, in Pinecone's shape, in bounded time, in words
about the value and the rule; and after each test the index holds exactly what it held before.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import httpx
import pytest
from google.protobuf import json_format

from protos.generated import vector_service_pb2 as pb
from tests.dataplane.test_validation import CASES
from tests.platform.surface import METHODS, REST, bounded
from tests.platform.target import BASE, JSON, KEPT, LIMIT, Target, assert_index_error, short

pytestmark = [
    pytest.mark.instance,
    pytest.mark.slow,
    pytest.mark.xdist_group("instance"),
    pytest.mark.usefixtures("nothing_is_lost"),
]

STATUS = grpc.StatusCode
INVALID = STATUS.INVALID_ARGUMENT

# The index: what a request means


def rest_twin(method: str, request: Any) -> tuple[str, str, dict[str, Any]] | None:
    """Verb, target and options of the REST call that says the same; None where JSON can't."""
    try:
        fields = json_format.MessageToDict(request)
    except json_format.SerializeToJsonError:  # NaN in metadata
        return None
    verb, path = REST[method][0]
    if "{namespace}" in path:
        return verb, path.format(namespace=quote(fields["namespace"], safe="")), {}
    if verb == "GET":
        return verb, f"{path}?{urlencode(fields, doseq=True)}", {}
    return verb, path, {"json": fields}


class MeaningTests:
    @pytest.mark.parametrize("method", METHODS)
    def test_is_refused_in_the_same_words_over_grpc_and_rest(
        self, target: Target, method: str
    ) -> None:
        compared = 0
        for case, (name, request, parts) in CASES.items():
            if name != method or case in {"very deep filter", "describe long", "delete long"}:
                continue
            with bounded(case):
                found = target.channel.refused(
                    f"/VectorService/{method}", request.SerializeToString()
                )
            assert found is not None, case
            assert found[0] is INVALID, (case, found)
            assert all(part in found[1] for part in parts), (case, found)
            twin = rest_twin(method, request)
            if twin is None:
                continue
            content = assert_index_error(target.send(twin[0], twin[1], **twin[2]))
            assert (content["code"], content["message"]) == (3, found[1]), case
            compared += 1
        assert compared or method in {"DescribeNamespace", "DeleteNamespace"}

    @pytest.mark.parametrize("verb", ["GET", "DELETE"])
    @pytest.mark.parametrize(
        ("name", "status", "words"),
        [
            ("n" * 513, 400, ["513", "512"]),
            ("%C3%BC", 400, ["'ü'", "ASCII"]),
            ("%00", 400, ["'\\x00'", "NUL"]),
            ("%ff", 400, ["decoded"]),
            ("nowhere", 404, ["'nowhere' not found"]),
            ("..", 404, ["'..' not found"]),
            ("a%2Fb", 404, ["'a/b' not found"]),
            ("a/b", 404, ["No such operation"]),
            ("", 404, ["No such operation"]),
            ("kept?limit=1", 400, ["limit"]),
        ],
        ids=lambda value: str(value)[:12],
    )
    def test_a_namespace_in_the_path(
        self, target: Target, verb: str, name: str, status: int, words: list[str]
    ) -> None:
        answer = target.send(verb, f"/namespaces/{name}")
        assert answer.status_code == status
        assert_index_error(answer, *words)

    def test_an_existing_namespace_is_not_created_again(self, target: Target) -> None:
        request = pb.CreateNamespaceRequest(name=KEPT)
        found = target.channel.refused(
            "/VectorService/CreateNamespace", request.SerializeToString()
        )
        assert found is None or found[0] is STATUS.ALREADY_EXISTS


# The index: how a request is written

BODIES = [
    (method, verb, path) for method in BASE for verb, path in REST[method] if verb != "GET"
] + [("Delete", "DELETE", "/vectors/delete")]
MALFORMED: list[tuple[bytes, str]] = [
    (b"   ", "Expected a value"),
    (b"null", "must be a message"),
    (b"[]", "must be a message"),
    (b'"text"', "must be a message"),
    (b"1", "must be a message"),
    (b"{", "Unexpected end"),
    (b"not json", "not json"),
    (b"<xml/>", "<xml/>"),
    (b"a=1&b=2", "Unexpected token"),
    (b"{}{}", "before end of input"),
    (b"[" * 30_000, "too deep"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too deep"),
    (b"\xff\xfe", "UTF-8"),
    (b'{"namespace": "\xff"}', "UTF-8"),
    (b'{"namespace": "\\ud800"}', "surrogate"),
    (b'{"a": NaN}', "NaN"),
    (b'{"a": Infinity}', "Infinity"),
    (b'{"a": -Infinity}', ""),
    (b'{"a": 01}', ""),
    (b"\x00\x01\x02", ""),
    (b"\x1f\x8b\x08", "UTF-8"),
]
WRONG: dict[str, list[Any]] = {
    "string": [5, 1.5, True, ["x"], {"a": 1}],
    "strings": [5, True, [5], [True], {"a": 1}],
    "bool": ["maybe", 5, 1.5, [True], {"a": True}],
    "uint32": [-1, 1.5, "x", True, 2**32, 10**40, [1], {"a": 1}],
    "float": ["x", True, 1e39, [1], {"a": 1}],
    "floats": ["x", True, ["x"], [True], [1e39, 0, 0, 0], {"a": 1}],
    "message": [5, "x", True],
    "struct": [5, "x", True, [], [1]],
}
KINDS = {9: "string", 8: "bool", 13: "uint32", 2: "float", 5: "uint32"}


def kind_of(field: Any) -> str:
    """Which of WRONG's rows fits a field."""
    if field.message_type is not None:
        is_struct = field.message_type.full_name == "google.protobuf.Struct"
        return "struct" if is_struct else "message"
    return KINDS[field.type] + ("s" if field.is_repeated else "")


class WritingTests:
    @pytest.mark.parametrize(("method", "verb", "path"), BODIES)
    def test_a_body_that_is_no_json_object(
        self, target: Target, method: str, verb: str, path: str
    ) -> None:
        for body, words in MALFORMED:
            answer = target.send(verb, path, content=body, headers=JSON)
            assert answer.status_code == 400, (body[:40], answer.text)
            assert_index_error(answer, words)

    @pytest.mark.parametrize(("method", "verb", "path"), BODIES)
    def test_every_field_with_every_wrong_type(
        self, target: Target, method: str, verb: str, path: str
    ) -> None:
        fields = METHODS[method].input_type.fields
        assert fields
        for field in fields:
            base = {k: v for k, v in BASE[method].items() if k != field.json_name}
            for value in WRONG[kind_of(field)]:
                for name in {field.name, field.json_name}:
                    answer = target.send(verb, path, json={**base, name: value})
                    assert answer.status_code == 400, (name, value, answer.text)
                    assert_index_error(answer)

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("id", [5, True, ["a"], {"a": 1}, None, "", "é", "a\0", "x" * 513]),
            ("values", [5, "x", {"a": 1}, ["x"], [True, 0, 0, 0], None, [], [None, 1, 0, 0]]),
            ("values", [["NaN", 0, 0, 0], ["-Infinity", 0, 0, 0], [1e39, 0, 0, 0], [1] * 20_001]),
            ("metadata", [5, "x", [], [1], {"a": {"b": 1}}, {"a": None}, {"a": [1]}, {"$a": 1}]),
            ("metadata", [{"a": "y" * 41_000}, {"": 1}]),
            ("sparseValues", [5, "x", [], {"indices": [1], "values": [1]}]),
            ("sparseValues", [{"indices": [i], "values": [1]} for i in (-1, 1.5, 2**32, "x")]),
        ],
        ids=short,
    )
    def test_one_bad_vector_keeps_all_of_its_request_out(
        self, target: Target, field: str, values: list[Any]
    ) -> None:
        good = [{"id": f"new{n}", "values": [0, 1, 0, 0]} for n in range(3)]
        for value in values:
            bad = {"id": "bad", "values": [1, 0, 0, 0], field: value}
            body = {"vectors": [*good, bad, *good], "namespace": KEPT}
            answer = target.send("POST", "/vectors/upsert", json=body)
            assert answer.status_code == 400, (value, answer.text)
            assert_index_error(answer)

    @pytest.mark.parametrize("method", [*REST])
    def test_bytes_that_are_no_message(self, target: Target, method: str) -> None:
        path = f"/VectorService/{method}"
        for content in (b"\xff\xff\xff", b"\x00", bytes(1000), b"\x0a\x7f", b"\x0a\x02\xff\xfe"):
            found = target.channel.refused(path, content)
            assert found is not None, content
            assert found[0] is INVALID
            assert "can't be decoded" in found[1]

    @pytest.mark.parametrize("method", [*REST])
    def test_a_message_beyond_the_limit(self, target: Target, method: str) -> None:
        found = target.channel.refused(f"/VectorService/{method}", b"\x0a" * (LIMIT + 1))
        assert found is not None
        assert found[0] is STATUS.OUT_OF_RANGE
        assert str(LIMIT) in found[1]
        for verb, path in REST[method]:
            if verb in {"POST", "PATCH"}:
                answer = target.send(verb, path, content=b" " * (LIMIT + 1), headers=JSON)
                assert answer.status_code == 413
                assert_index_error(answer, str(LIMIT), "smaller parts")

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("limit=0", "limit is 0; it must be 1-100"),
            ("limit=101", "limit is 101; it must be 1-100"),
            *((f"limit={text}", "limit") for text in ("-1", "1.5", "abc", "", "1e2", "9" * 20)),
            ("limit=1&limit=2", "limit"),
            ("prefix=%00", "NUL"),
            ("prefix=%C3%A9", "'é'"),
            ("prefix=%ff", "decoded"),
            ("prefix=" + "x" * 513, "513"),
            ("paginationToken=???", "'???'"),
            ("pagination_token=zz", "'zz'"),
            ("paginationToken=" + "x" * 5000, "first page"),
            ("unknown=1", "unknown"),
            ("prefix[]=a", "prefix[]"),
        ],
        ids=lambda value: str(value)[:20],
    )
    @pytest.mark.parametrize("path", ["/vectors/list", "/namespaces"])
    def test_a_bad_query_string_of_a_listing(
        self, target: Target, path: str, query: str, words: str
    ) -> None:
        answer = target.send("GET", f"{path}?{query}")
        assert answer.status_code == 400, answer.text
        assert_index_error(answer, words)

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("", "No IDs to fetch; give 1-1000"),
            ("ids=", "ID is empty"),
            ("ids=%00", "NUL"),
            ("ids=%ff", "decoded"),
            ("ids=%C3%A9", "'é'"),
            ("ids=" + "x" * 513, "513"),
            ("&".join(f"ids=a{n}" for n in range(1001)), "1001"),
            ("id=a0", "id"),
            ("ids=a0&namespace=" + "n" * 513, "513"),
            ("ids=a0&top_k=1", "top_k"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_bad_query_string_of_a_fetch(self, target: Target, query: str, words: str) -> None:
        answer = target.send("GET", f"/vectors/fetch?{query}")
        assert answer.status_code == 400, answer.text
        assert_index_error(answer, words)


class CursorTests:
    BY_METADATA = "/vectors/fetch_by_metadata"

    def fetch_by_metadata(self, target: Target, **more: Any) -> httpx.Response:
        body = {"filter": {"n": {"$gte": 0}}, "limit": 2, "namespace": KEPT, **more}
        return target.send("POST", self.BY_METADATA, json=body)

    @pytest.mark.parametrize(
        "token",
        ["zz", "???", "dDE", "t1:5", "dDE6LTE=", "dDE6MS41", "dDE6YWJj", "eHh4eA==", "\x00", "é"],
    )
    def test_a_cursor_that_is_none_of_ours(self, target: Target, token: str) -> None:
        answer = self.fetch_by_metadata(target, paginationToken=token)
        assert answer.status_code == 400
        assert_index_error(answer, "first page")

    @pytest.mark.parametrize("digits", [20, 40, 5000])
    def test_a_cursor_with_a_number_beyond_all_records(self, target: Target, digits: int) -> None:
        token = base64.urlsafe_b64encode(b"t1:" + b"9" * digits).decode()
        answer = self.fetch_by_metadata(target, paginationToken=token)
        assert answer.status_code == 400, answer.text
        assert_index_error(answer, "first page")

    def test_a_cursor_of_another_namespace_shows_nothing_of_it(self, target: Target) -> None:
        page = target.send("GET", f"/vectors/list?namespace={KEPT}&limit=1").json()
        token = quote(page["pagination"]["next"])
        answer = target.send("GET", f"/vectors/list?namespace=other&paginationToken={token}")
        assert answer.status_code in {200, 400}
        if answer.status_code == 400:
            assert_index_error(answer, "first page")
        else:
            assert {item["id"] for item in answer.json()["vectors"]} <= {"a0", "a1"}
        token = self.fetch_by_metadata(target).json()["pagination"]["next"]
        answer = self.fetch_by_metadata(target, namespace="other", paginationToken=token)
        assert answer.status_code in {200, 400}
        if answer.status_code == 200:
            assert set(answer.json()["vectors"]) <= {"a0", "a1"}

"""An index with records that bad input is sent at, and what its refusals have to look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from google.protobuf import json_format

from protos.generated import vector_service_pb2 as pb
from tests.platform.surface import Channel, Surface, bounded

LIMIT = 4 * 1024 * 1024
JSON = {"content-type": "application/json"}
KEPT = "kept"
HTTP_OF_GRPC = {3: 400, 5: 404, 7: 403, 8: 429, 11: 413, 12: 404, 14: 503, 16: 401}
"""Documented codes of an index and their HTTP twins; INTERNAL and UNKNOWN are not among them."""
CODE_OF_HTTP = {
    400: {"INVALID_ARGUMENT"},
    401: {"UNAUTHENTICATED"},
    403: {"PERMISSION_DENIED", "FORBIDDEN", "QUOTA_EXCEEDED"},
    404: {"NOT_FOUND"},
    405: {"INVALID_ARGUMENT"},
    409: {"ALREADY_EXISTS"},
    412: {"FAILED_PRECONDITION"},
    413: {"PAYLOAD_TOO_LARGE", "OUT_OF_RANGE"},
    415: {"INVALID_ARGUMENT"},
    422: {"UNPROCESSABLE_ENTITY"},
    431: {"OUT_OF_RANGE"},
}
BASE: dict[str, dict[str, Any]] = {
    "Upsert": {"vectors": [{"id": "x", "values": [1, 0, 0, 0]}], "namespace": KEPT},
    "Update": {"id": "a0", "setMetadata": {"n": 99}, "namespace": KEPT},
    "Delete": {"ids": ["a0"], "namespace": KEPT},
    "FetchByMetadata": {"filter": {"n": 1}, "namespace": KEPT},
    "Query": {"vector": [1, 0, 0, 0], "topK": 3, "namespace": KEPT},
    "DescribeIndexStats": {},
    "CreateNamespace": {"name": "x"},
}
"""Requests that would succeed, and would change something where they can."""


def short(value: object) -> str:
    return str(value)[:12] or "empty"


@dataclass(frozen=True)
class Target:
    """An index with records in three namespaces, and the way to it."""

    surface: Surface
    name: str
    host: str
    channel: Channel

    def send(
        self, method: str, target: str | bytes, key: str | None = "own", **more: Any
    ) -> httpx.Response:
        """A REST request to the index, its path and query byte for byte as given."""
        return _send(self.surface.rest(self.host, key), method, target, **more)

    def control(
        self, method: str, target: str | bytes, key: str | None = "own", **more: Any
    ) -> httpx.Response:
        """The same to the control plane."""
        return _send(self.surface.control(key), method, target, **more)


def _send(client: httpx.Client, method: str, target: str | bytes, **more: Any) -> httpx.Response:
    raw = target.encode() if isinstance(target, str) else target
    with bounded(f"{method} {raw[:60]!r}"):
        return client.request(method, "/", extensions={"target": raw}, **more)


def fill(channel: Channel) -> None:
    """Put records into three namespaces of an index."""
    for namespace, count in ((KEPT, 150), ("", 3), ("other", 2)):
        vectors = [
            {"id": f"a{n}", "values": [1, n, 0, 0], "metadata": {"n": n, "s": f"s{n}"}}
            for n in range(count)
        ]
        request = json_format.ParseDict(
            {"vectors": vectors, "namespace": namespace}, pb.UpsertRequest()
        )
        assert channel.call("Upsert", request).upserted_count == count


def assert_index_error(answer: httpx.Response, *words: str) -> dict[str, Any]:
    """The shape of an index's refusals: code, message, details; the status follows the code."""
    content: dict[str, Any] = answer.json()
    assert sorted(content) == ["code", "details", "message"], answer.text
    assert HTTP_OF_GRPC[content["code"]] == answer.status_code, answer.text
    assert content["message"].strip(" :.\n")
    assert len(content["message"]) < 500
    for word in words:
        assert word in content["message"]
    return content


def assert_control_error(answer: httpx.Response, *words: str) -> dict[str, Any]:
    """The shape of the control plane's refusals: status, and error with code and message."""
    content: dict[str, Any] = answer.json()
    assert sorted(content) == ["error", "status"], answer.text
    assert content["status"] == answer.status_code
    assert content["error"]["code"] in CODE_OF_HTTP[answer.status_code], answer.text
    assert content["error"]["message"].strip()
    for word in words:
        assert word in content["error"]["message"]
    return content

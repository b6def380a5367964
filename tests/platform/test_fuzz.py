"""Any bytes, any JSON, any message: never an error of ours, and the same process answers on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.generated import vector_service_pb2 as pb
from tests.platform.surface import METHODS, REST, Channel, Surface
from tests.platform.target import BASE, JSON, Target, assert_control_error, assert_index_error

pytestmark = [pytest.mark.instance, pytest.mark.slow, pytest.mark.xdist_group("instance")]

# A fixed budget, and the same examples in every run.
budget = settings(max_examples=100, derandomize=True, database=None, deadline=None)
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.OUT_OF_RANGE,
}


@dataclass(frozen=True)
class Victim:
    """An index that may lose everything but its life."""

    target: Target
    servers: dict[int, str]

    def assert_alive(self) -> None:
        """The processes that were there still are, and the index takes and gives records."""
        assert set(self.servers) <= set(index_servers(self.target.surface))
        channel = self.target.channel
        vector = pb.Vector(id="alive", values=[1, 0, 0, 0])
        channel.call("Upsert", pb.UpsertRequest(vectors=[vector], namespace="alive"))
        fetched = channel.call("Fetch", pb.FetchRequest(ids=["alive"], namespace="alive"))
        assert list(fetched.vectors["alive"].values) == [1, 0, 0, 0]


def index_servers(surface: Surface) -> dict[int, str]:
    """Process id and command line of every index server."""
    found = surface.instance.processes()
    return {pid: command for pid, command in found.items() if "-m dataplane" in command}


@pytest.fixture(scope="module")
def victim(surface: Surface) -> Iterator[Victim]:
    with surface.index("fuzzed") as host:
        channel: Channel = surface.channel(host)
        yield Victim(Target(surface, "fuzzed", host, channel), index_servers(surface))


NAMES = sorted(
    {
        name
        for method in METHODS.values()
        for field in [*method.input_type.fields, *pb.Vector.DESCRIPTOR.fields]
        for name in (field.name, field.json_name)
    }
    | {"$and", "$or", "$in", "$eq", "$gt", "$exists", "indices", "fields", "filterable"}
)
TEXTS = st.sampled_from(["", "a0", "kept", "é", "\0", "x" * 513, "NaN", "dDE6OTk5OTk="])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)


@st.composite
def bodies(draw: st.DrawFn, base: dict[str, Any]) -> bytes:
    """Nearly right, JSON of any form (NaN and duplicates included), or any bytes."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        return json.dumps(draw(VALUES)).encode()
    content = json.dumps({**base, **draw(FIELDS)}).encode()
    if kind == 2:
        return content
    cut = draw(st.integers(0, len(content)))
    return content[:cut] + draw(st.binary(max_size=4)) + content[cut + draw(st.integers(0, 4)) :]


REST_CALLS = [(method, verb, path) for method, ways in REST.items() for verb, path in ways]


@st.composite
def rest_calls(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """Verb, target and body of a call to an index."""
    method, verb, path = draw(st.sampled_from(REST_CALLS))
    query = "&".join(
        f"{name}={value}"
        for name, value in draw(
            st.lists(
                st.tuples(
                    st.sampled_from(NAMES),
                    st.text("abc019-.%=&+ÿ", max_size=6).map(lambda text: text.replace("ÿ", "%ff")),
                ),
                max_size=3 if verb == "GET" else 1,
            )
        )
    )
    name = draw(st.text("az%0./", min_size=1, max_size=5))
    target = path.format(namespace=name) + (f"?{query}" if query else "")
    return verb, target, b"" if verb == "GET" else draw(bodies(BASE.get(method, {})))


def messages(descriptor: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Plain values for any message of this type, most of them wrong."""
    if descriptor.full_name == "google.protobuf.Struct":
        keys = st.sampled_from(["n", "$and", "$in", "", "$x"])
        return st.dictionaries(keys, VALUES, max_size=3)
    optional = {}
    for field in descriptor.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if depth < 2 and not is_map:
            one = scalars(field, depth)
            optional[field.name] = st.lists(one, max_size=5) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=optional)


def scalars(field: Any, depth: int) -> st.SearchStrategy[Any]:
    """One value of the field's type."""
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    if field.type == field.TYPE_STRING:
        return TEXTS | st.text(max_size=5)
    if field.type == field.TYPE_BOOL:
        return st.booleans()
    if field.type == field.TYPE_FLOAT:
        return st.floats(width=32)
    return st.integers(0, 20) | st.integers(0, 2**32 - 1)


def built(message: Any, values: dict[str, Any]) -> Message:
    """The message with these values; what its type can't hold is left out."""
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        inner = getattr(message, name)
        if field.message_type is None:
            if field.is_repeated:
                inner.extend(value)
            else:
                setattr(message, name, value)
        elif field.is_repeated:
            for each in value:
                built(inner.add(), each)
        elif field.message_type.full_name == "google.protobuf.Struct":
            inner.update(value)
        else:
            inner.SetInParent()
            built(inner, value)
    result: Message = message
    return result


@st.composite
def grpc_calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method and the bytes of its message, some of them damaged."""
    name = draw(st.sampled_from(sorted(METHODS)))
    kind = METHODS[name].input_type
    message = built(getattr(pb, kind.name)(), draw(messages(kind)))
    content = message.SerializeToString()
    if draw(st.integers(0, 3)) == 0:
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + draw(st.binary(max_size=4)) + content[cut + 1 :]
    return name, content


class AnyInputTests:
    def test_rest(self, victim: Victim) -> None:
        @budget
        @given(rest_calls())
        def check(call: tuple[str, str, bytes]) -> None:
            verb, target, body = call
            more: dict[str, Any] = {} if verb == "GET" else {"content": body, "headers": JSON}
            answer = victim.target.send(verb, target, **more)
            if answer.status_code != 200:
                assert_index_error(answer)
            else:
                assert isinstance(answer.json(), dict)

        check()
        victim.assert_alive()

    def test_grpc(self, victim: Victim) -> None:
        @budget
        @given(grpc_calls())
        def check(call: tuple[str, bytes]) -> None:
            found = victim.target.channel.refused(f"/VectorService/{call[0]}", call[1])
            if found is not None:
                assert found[0] in REFUSALS, found
                assert found[1].strip()

        check()
        victim.assert_alive()

    def test_the_control_plane(self, victim: Victim) -> None:
        calls = st.tuples(
            st.sampled_from(
                [("POST", "/indexes"), ("PATCH", "/indexes/nowhere"), ("POST", "/collections")]
            ),
            bodies({"dimension": 4, "spec": {"serverless": {"cloud": "a", "region": "b"}}}),
        )

        @budget
        @given(calls)
        def check(call: tuple[tuple[str, str], bytes]) -> None:
            (verb, path), body = call
            # No name, or one that can't be: nothing gets created.
            answer = victim.target.control(verb, path, content=body, headers=JSON)
            assert_control_error(answer)

        check()
        names = [
            each["name"] for each in victim.target.control("GET", "/indexes").json()["indexes"]
        ]
        assert names == ["fuzzed"]

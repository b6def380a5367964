"""Metadata filters: every operator on every type of value, against a plain-Python oracle."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dataplane import oracle
from tests.dataplane.messages import Client

RECORDS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "int": {"f": 1},
    "float": {"f": 1.5},
    "zero": {"f": 0},
    "negative": {"f": -1},
    "large": {"f": 2**53},
    "string one": {"f": "1"},
    "string": {"f": "a"},
    "empty string": {"f": ""},
    "string true": {"f": "true"},
    "tagged true": {"f": "!t"},
    "true": {"f": True},
    "false": {"f": False},
    "list": {"f": ["a", "b"]},
    "list of one": {"f": ["1"]},
    "empty list": {"f": []},
    "long string": {"f": "x" * 3000},
    "unicode": {"f": "naïve ☃"},
    "other field": {"g": "a", "h": 1},
    "both": {"f": "a", "g": 2},
}
OPERANDS: list[Any] = [0, 1, 1.5, -1, 2**53, "1", "a", "", "true", "!t", True, False]
OPERANDS += ["x" * 3000, "x" * 2999, "naïve ☃", "no such"]


@pytest.fixture(scope="module")
def filled(client: Client) -> Client:
    """The index with `RECORDS` in namespace "filters" and a decoy in another."""
    rows = [{"id": id, "values": [1, 0, 0, 0], "metadata": meta} for id, meta in RECORDS.items()]
    client.upsert(*rows, namespace="filters")
    decoy = {"id": "decoy", "values": [1, 0, 0, 0], "metadata": {"f": 1, "g": "a"}}
    client.upsert(decoy, namespace="decoys")
    return client


def found(client: Client, condition: dict[str, Any], namespace: str = "filters") -> set[str]:
    return set(client.ids([1, 0, 0, 0], top_k=1000, namespace=namespace, filter=condition))


def expected(condition: dict[str, Any]) -> set[str]:
    return {id for id, metadata in RECORDS.items() if oracle.matches(condition, metadata)}


class FilterTests:
    @pytest.mark.parametrize("operator", ["$eq", "$ne"])
    @pytest.mark.parametrize("operand", OPERANDS, ids=lambda value: repr(value)[:12])
    def test_equality(self, filled: Client, operator: str, operand: Any) -> None:
        condition = {"f": {operator: operand}}
        assert found(filled, condition) == expected(condition)

    @pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
    @pytest.mark.parametrize("operand", [-1, 0, 1, 1.5, 2**53, 1e300])
    def test_comparisons_hold_for_numbers_only(
        self, filled: Client, operator: str, operand: float
    ) -> None:
        condition = {"f": {operator: operand}}
        assert found(filled, condition) == expected(condition)

    @pytest.mark.parametrize("operator", ["$in", "$nin"])
    @pytest.mark.parametrize(
        "operands",
        [[], ["a"], ["b", "1"], [1], [1, 1.5, 7], [True], [True, "true"], [1, "1", True], OPERANDS],
        ids=lambda value: repr(value)[:16],
    )
    def test_membership(self, filled: Client, operator: str, operands: list[Any]) -> None:
        condition = {"f": {operator: operands}}
        assert found(filled, condition) == expected(condition)

    @pytest.mark.parametrize("field", ["f", "g", "h", "unheard of"])
    @pytest.mark.parametrize("wanted", [True, False])
    def test_existence(self, filled: Client, field: str, wanted: bool) -> None:
        condition = {field: {"$exists": wanted}}
        assert found(filled, condition) == expected(condition)

    @pytest.mark.parametrize(
        "condition",
        [
            {"f": "a"},
            {"f": 1},
            {"f": True},
            {"f": "a", "g": 2},
            {"f": {"$gt": 0, "$lt": 1.5}},
            {"f": {"$gte": 0, "$ne": 1}},
            {"$and": [{"f": "a"}, {"f": "b"}]},
            {"$or": [{"f": "b"}, {"f": True}, {"h": 1}]},
            {"$or": [{"$and": [{"f": "a"}, {"g": 2}]}, {"f": {"$lt": 0}}]},
            {"$and": [{"$or": [{"f": 1}, {"f": "1"}]}, {"f": {"$ne": "1"}}]},
            {"f": {"$exists": True}, "$or": [{"f": {"$nin": ["a"]}}, {"g": {"$exists": True}}]},
            {"unheard of": "a"},
            {"unheard of": {"$ne": "a"}},
            {"unheard of": {"$gt": 1}},
            {"unheard of": {"$nin": [1, "a"]}},
        ],
        ids=repr,
    )
    def test_combinations(self, filled: Client, condition: dict[str, Any]) -> None:
        assert found(filled, condition) == expected(condition)

    @pytest.mark.parametrize(
        "name",
        ["a.b", "a[0]", 'quo"te', "sp ace", "ns", "id", "k", "s1", "ünï", "a[].b", "\\", "'"],
    )
    def test_a_field_may_have_any_name(self, client: Client, name: str) -> None:
        namespace = f"names-{uuid.uuid4()}"
        client.upsert(
            {"id": "yes", "values": [1, 0, 0, 0], "metadata": {name: "v", "n": 1}},
            {"id": "no", "values": [1, 0, 0, 0], "metadata": {name: "w", "a": "v"}},
            namespace=namespace,
        )
        assert found(client, {name: "v"}, namespace) == {"yes"}

    def test_ten_thousand_values_are_taken(self, filled: Client) -> None:
        condition = {"f": {"$in": [f"s{i}" for i in range(9_998)] + ["a", "1"]}}
        assert found(filled, condition) == expected(condition)


scalars = st.one_of(
    st.sampled_from(["a", "b", "1", "true", "", "!t", "=a"]),
    st.sampled_from([0, 1, 2, 1.5, -1, -0.0, 2**53, 1e-300]),
    st.booleans(),
)
lists = st.lists(st.sampled_from(["a", "b", "1", "true"]), max_size=3)
fields = st.sampled_from(["p", "q", "r"])
records = st.lists(
    st.dictionaries(fields, st.one_of(scalars, lists), max_size=3), min_size=1, max_size=12
)
numbers = st.sampled_from([0, 1, 1.5, 2, -1, 2**53])
conditions = st.one_of(
    scalars,
    scalars.map(lambda value: {"$eq": value}),
    scalars.map(lambda value: {"$ne": value}),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers).map(
        lambda pair: dict([pair])
    ),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=4)).map(
        lambda pair: dict([pair])
    ),
    st.booleans().map(lambda wanted: {"$exists": wanted}),
)
queries = st.recursive(
    st.dictionaries(fields, conditions, min_size=1, max_size=2),
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda pair: dict([pair])),
    max_leaves=6,
)


class FilterPropertyTests:
    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(records=records, filters=st.lists(queries, min_size=1, max_size=5))
    def test_every_way_to_filter_agrees_with_the_oracle(
        self, client: Client, records: list[dict[str, Any]], filters: list[dict[str, Any]]
    ) -> None:
        namespace = f"property-{uuid.uuid4()}"
        rows = {f"v{i}": metadata for i, metadata in enumerate(records)}
        client.upsert(
            *({"id": id, "values": [1, 0, 0, 0], "metadata": meta} for id, meta in rows.items()),
            namespace=namespace,
        )
        for condition in filters:
            wanted = {id for id, meta in rows.items() if oracle.matches(condition, meta)}
            assert found(client, condition, namespace) == wanted
            page = client.fetch_by_metadata(condition, namespace=namespace)
            assert set(page.vectors) == wanted
            counted = client.update(filter=condition, dry_run=True, namespace=namespace)
            assert counted.matched_records == len(wanted)
        client.delete(filter=filters[0], namespace=namespace)
        left = {id for id, meta in rows.items() if not oracle.matches(filters[0], meta)}
        assert set(client.list_ids(namespace=namespace)) == left
        client.delete(delete_all=True, namespace=namespace)

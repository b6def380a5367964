"""Request bodies about indexes, in both of Pinecone's shapes.

Until 2026-04: `dimension`, `metric`, `vector_type`, `spec`. Since 2026-07: `schema`, `deployment`,
`read_capacity`. The keys decide which one a body has, not the version header: official clients of
either age then work whatever they announce. A body of the wrong form (types, unknown or missing
keys) is 422; a value that breaks a rule, or asks for what this installation does not offer, is 400.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from indexes.rules import DEFAULT_CLOUD, DEFAULT_REGION, MAX_NAME, IndexSpec
from orgs.errors import Code, InvalidArgument, Refused
from rest.wording import shown

DENSE_FIELD, SPARSE_FIELD = "_values", "_sparse_values"

_COMMON = frozenset({"name", "tags", "deletion_protection"})
_OLD = frozenset({"dimension", "metric", "vector_type", "spec", "embed"})
_NEW = frozenset(
    {"schema", "deployment", "read_capacity", "cmek_id", "source_collection", "source_backup_id"}
)
_NOT_OFFERED = {
    "embed": "Embedding models are not offered here: embed on your side and create the index with"
    " dimension and metric.",
    "cmek_id": "A key of one's own per index is not offered here: every index already has a data"
    " key of its own under its project's key. Leave cmek_id out.",
    "source_collection": "Collections are not offered here. Leave source_collection out and upsert"
    " the records.",
    "source_backup_id": "An index is not created from a backup this way. Leave source_backup_id"
    " out and upsert the records.",
}


class Malformed(Refused):
    """The body has not the form that it has to have."""

    code = Code.UNPROCESSABLE_ENTITY


@dataclass(frozen=True, slots=True)
class Changes:
    """What a PATCH asks for; None leaves it as it is."""

    tags: Mapping[str, str] | None
    deletion_protection: bool | None


def parse_create(body: object) -> IndexSpec:
    """What `POST /indexes` asks for. Rules on the values themselves are `indexes.rules`' business.

    Raises:
        Malformed: the body has not the form of either shape.
        InvalidArgument: it asks for what is not offered here.
    """
    fields = _object("The body", body, _COMMON | _OLD | _NEW)
    new, old = sorted(_NEW & fields.keys()), sorted(_OLD & fields.keys())
    if new and old:
        raise Malformed(
            f"{old[0]} and {new[0]} belong to different API versions. Send either schema and"
            " deployment (2026-07) or dimension, metric and spec (before)."
        )
    for name, reason in _NOT_OFFERED.items():
        if name in fields:
            raise InvalidArgument(reason)
    if old:
        name = _text(fields, "name", where="The body")
        vectors, (cloud, region) = _old_vectors(fields), _old_place(fields)
    elif "schema" in fields:
        name = _optional_text(fields, "name") or f"index-{secrets.token_hex(6)}"
        vectors, (cloud, region) = _schema_vectors(fields["schema"]), _place(fields)
        _read_capacity(fields.get("read_capacity"))
    else:
        raise Malformed(
            'schema is missing: send it with one field, for example {"fields": {"_values":'
            ' {"type": "dense_vector", "dimension": 3, "metric": "cosine"}}}.'
        )
    return IndexSpec(
        name=name,
        cloud=cloud,
        region=region,
        tags=_tags(fields) or {},
        deletion_protection=_deletion_protection(fields) or False,
        **vectors,
    )


def parse_configure(body: object) -> Changes:
    """What `PATCH /indexes/{name}` asks for.

    Raises:
        Malformed: the body has not the form that it has to have.
        InvalidArgument: it asks for what is not offered here.
    """
    known = (_COMMON - {"name"}) | {"spec", "embed", "schema", "deployment", "read_capacity"}
    fields = _object("The body", body, known)
    if "embed" in fields:
        raise InvalidArgument(_NOT_OFFERED["embed"])
    if "schema" in fields:
        raise InvalidArgument(
            "schema can't be changed after creation. Create another index with the schema you need."
        )
    if "deployment" in fields:
        raise InvalidArgument(
            "deployment can't be changed: it resizes pods, and there are none here. Leave it out."
        )
    if "spec" in fields:
        spec = _object("spec", fields["spec"], {"serverless", "pod", "byoc"})
        _refuse_other_specs(spec)
        serverless = _object("spec.serverless", spec.get("serverless", {}), {"read_capacity"})
        _read_capacity(serverless.get("read_capacity"))
    _read_capacity(fields.get("read_capacity"))
    return Changes(tags=_tags(fields), deletion_protection=_deletion_protection(fields))


def _old_vectors(fields: Mapping[str, Any]) -> dict[str, Any]:
    vector_type = _optional_text(fields, "vector_type") or "dense"
    default_metric = "dotproduct" if vector_type == "sparse" else "cosine"
    return {
        "vector_type": vector_type,
        "dimension": _optional_integer(fields, "dimension"),
        "metric": _optional_text(fields, "metric") or default_metric,
    }


def _old_place(fields: Mapping[str, Any]) -> tuple[str, str]:
    if "spec" not in fields:
        raise Malformed(
            'spec is missing: send {"serverless": {"cloud": "aws", "region": "us-east-1"}}; any'
            " cloud and region will do here."
        )
    spec = _object("spec", fields["spec"], {"serverless", "pod", "byoc"})
    _refuse_other_specs(spec)
    known = {"cloud", "region", "read_capacity", "source_collection", "schema"}
    serverless = _object("spec.serverless", spec.get("serverless"), known)
    if "source_collection" in serverless:
        raise InvalidArgument(_NOT_OFFERED["source_collection"])
    if "schema" in serverless:
        _metadata_schema(serverless["schema"])
    _read_capacity(serverless.get("read_capacity"))
    where = "spec.serverless"
    return _text(serverless, "cloud", where=where), _text(serverless, "region", where=where)


def _refuse_other_specs(spec: Mapping[str, Any]) -> None:
    for kind in ("pod", "byoc"):
        if kind in spec:
            raise InvalidArgument(
                f"spec.{kind} is not offered here: every index runs on this installation's own"
                " machines. Send spec.serverless with any cloud and region."
            )


def _metadata_schema(value: object) -> None:
    """Every metadata field can be filtered by here, so any well-formed list holds already."""
    declared = _object("spec.serverless.schema", value, {"fields"})
    named = _object("spec.serverless.schema.fields", declared.get("fields"), None)
    for name, properties in named.items():
        where = f"spec.serverless.schema.fields[{shown(name)}]"
        if _object(where, properties, {"filterable"}).get("filterable") is not True:
            raise InvalidArgument(f"{where}: filterable has to be true. Leave other fields out.")


def _schema_vectors(value: object) -> dict[str, Any]:
    schema = _object("schema", value, {"fields"})
    fields = _object("schema.fields", schema.get("fields"), None)
    if not fields:
        raise InvalidArgument(f"schema.fields is empty: declare {DENSE_FIELD} or {SPARSE_FIELD}.")
    for name, declared in fields.items():
        _check_field(name, declared)
    if SPARSE_FIELD in fields:
        sparse = f"schema.fields.{SPARSE_FIELD}"
        _object(sparse, fields[SPARSE_FIELD], {"type"})
    if DENSE_FIELD not in fields:
        return {"vector_type": "sparse", "dimension": None, "metric": "dotproduct"}
    where = f"schema.fields.{DENSE_FIELD}"
    dense = _object(where, fields[DENSE_FIELD], {"type", "dimension", "metric"})
    if "dimension" not in dense:
        raise Malformed(f"{where}.dimension is missing: a dense vector field needs one.")
    return {
        "vector_type": "dense",
        "dimension": _optional_integer(dense, "dimension"),
        "metric": _text(dense, "metric", where=where),
    }


def _check_field(name: str, declared: object) -> None:
    where = f"schema.fields[{shown(name)}]"
    kind = _text(_object(where, declared, None), "type", where=where)
    expected = {DENSE_FIELD: "dense_vector", SPARSE_FIELD: "sparse_vector"}
    if kind in {"string", "semantic_text"}:
        raise InvalidArgument(
            f"{where}: fields of type {kind} (full-text and semantic search) are not offered by"
            f" this installation. Declare {DENSE_FIELD} as dense_vector or {SPARSE_FIELD} as"
            " sparse_vector, and keep text in metadata."
        )
    if name not in expected:
        raise InvalidArgument(
            f"{where} can't be declared: this installation offers the vectors API, whose fields are"
            f" {DENSE_FIELD} (dense_vector) and {SPARSE_FIELD} (sparse_vector). Metadata needs no"
            " declaration; every field of it can be filtered by."
        )
    if kind != expected[name]:
        raise InvalidArgument(
            f"{where}.type {shown(kind)} can't be used: {name} is a {expected[name]}."
        )


def _place(fields: Mapping[str, Any]) -> tuple[str, str]:
    if "deployment" not in fields:
        return DEFAULT_CLOUD, DEFAULT_REGION
    deployment = _object("deployment", fields["deployment"], None)
    kind = _text(deployment, "deployment_type", where="deployment")
    if kind in {"pod", "byoc"}:
        raise InvalidArgument(
            f"deployment_type {kind} is not offered here: every index runs on this installation's"
            " own machines. Send managed with any cloud and region."
        )
    if kind != "managed":
        raise InvalidArgument(f"deployment_type {shown(kind)} is not known: use managed.")
    _object("deployment", deployment, {"deployment_type", "cloud", "region"})
    return (
        _text(deployment, "cloud", where="deployment"),
        _text(deployment, "region", where="deployment"),
    )


def _read_capacity(value: object) -> None:
    if value is None:
        return
    mode = _text(_object("read_capacity", value, None), "mode", where="read_capacity")
    if mode == "Dedicated":
        raise InvalidArgument(
            "read_capacity.mode Dedicated is not offered here: every index has a process of its own"
            " on this installation's machines. Use OnDemand or leave read_capacity out."
        )
    if mode != "OnDemand":
        raise InvalidArgument(f"read_capacity.mode {shown(mode)} is not known: use OnDemand.")
    _object("read_capacity", value, {"mode"})


def _tags(fields: Mapping[str, Any]) -> dict[str, str] | None:
    if "tags" not in fields:
        return None
    tags = _object("tags", fields["tags"], None, keep_nulls=True)
    for key, value in tags.items():
        if not isinstance(value, str):
            raise Malformed(
                f"The value of tag {shown(key)} has to be a string, not {shown(value)}."
                " An empty string deletes a tag."
            )
    return tags


def _deletion_protection(fields: Mapping[str, Any]) -> bool | None:
    value = _optional_text(fields, "deletion_protection")
    if value not in {None, "enabled", "disabled"}:
        raise InvalidArgument(
            f"deletion_protection {shown(value)} is not known: use enabled or disabled."
        )
    return None if value is None else value == "enabled"


def _object(
    where: str, value: object, known: Collection[str] | None, *, keep_nulls: bool = False
) -> dict[str, Any]:
    """The object without the keys that are null, which count as left out. `known` None: any key."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} has to be a JSON object, not {shown(value)}.")
    if known is not None and (unknown := sorted(value.keys() - known)):
        raise Malformed(
            f"{where} has an unknown key {shown(unknown[0])}."
            f" Known are: {', '.join(sorted(known))}."
        )
    if keep_nulls:
        return value
    return {key: item for key, item in value.items() if item is not None}


def _text(fields: Mapping[str, Any], key: str, *, where: str) -> str:
    value = _optional_text(fields, key)
    if value is None:
        example = f" (1 to {MAX_NAME} characters)" if key == "name" else ""
        raise Malformed(f"{where} lacks {key}: send it as a string{example}.")
    return value


def _optional_text(fields: Mapping[str, Any], key: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"{key} has to be a string, not {shown(value)}.")
    return value


def _optional_integer(fields: Mapping[str, Any], key: str) -> int | None:
    value = fields.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise Malformed(f"{key} has to be a whole number, not {shown(value)}.")
    return value

"""What the OpenAPI document says of the index operations: both shapes in, one superset out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from indexes.models import Index
from indexes.rules import MAX_DIMENSION, MAX_NAME, METRICS, VECTOR_TYPES
from rest.schema import ERRORS, ErrorBody

_TAGS = {
    "type": ["object", "null"],
    "maxProperties": 20,
    "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,80}$"},
    "additionalProperties": {"type": "string", "pattern": "^[ -~]{0,120}$"},
}
_PLACE = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}
_READ_CAPACITY = {
    "type": "object",
    "required": ["mode"],
    "properties": {"mode": {"const": "OnDemand"}},
    "additionalProperties": False,
}
_COMMON: dict[str, Any] = {
    "name": {"type": "string", "pattern": f"^[a-z0-9]([a-z0-9-]{{0,{MAX_NAME - 2}}}[a-z0-9])?$"},
    "tags": _TAGS,
    "deletion_protection": {"enum": ["enabled", "disabled"]},
}
_DIMENSION = {"type": "integer", "minimum": 1, "maximum": MAX_DIMENSION}
_TYPED = {
    "type": "object",
    "title": "Since 2026-07",
    "required": ["schema"],
    "additionalProperties": False,
    "properties": {
        **_COMMON,
        "schema": {
            "type": "object",
            "required": ["fields"],
            "additionalProperties": False,
            "properties": {
                "fields": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "properties": {
                        "_values": {
                            "type": "object",
                            "required": ["type", "dimension", "metric"],
                            "additionalProperties": False,
                            "properties": {
                                "type": {"const": "dense_vector"},
                                "dimension": _DIMENSION,
                                "metric": {"enum": list(METRICS)},
                            },
                        },
                        "_sparse_values": {
                            "type": "object",
                            "required": ["type"],
                            "additionalProperties": False,
                            "properties": {"type": {"const": "sparse_vector"}},
                        },
                    },
                }
            },
        },
        "deployment": {
            "type": "object",
            "required": ["deployment_type", "cloud", "region"],
            "additionalProperties": False,
            "properties": {
                "deployment_type": {"const": "managed"},
                "cloud": _PLACE,
                "region": _PLACE,
            },
        },
        "read_capacity": _READ_CAPACITY,
    },
}
_UNTYPED = {
    "type": "object",
    "title": "Until 2026-04",
    "required": ["name", "spec"],
    "additionalProperties": False,
    "properties": {
        **_COMMON,
        "dimension": {**_DIMENSION, "description": "Dense indexes only."},
        "metric": {"enum": list(METRICS), "description": "Sparse indexes: dotproduct."},
        "vector_type": {"enum": list(VECTOR_TYPES), "default": "dense"},
        "spec": {
            "type": "object",
            "required": ["serverless"],
            "additionalProperties": False,
            "properties": {
                "serverless": {
                    "type": "object",
                    "required": ["cloud", "region"],
                    "additionalProperties": False,
                    "properties": {
                        "cloud": _PLACE,
                        "region": _PLACE,
                        "read_capacity": _READ_CAPACITY,
                    },
                }
            },
        },
    },
}
CREATE = {"application/json": {"oneOf": [_TYPED, _UNTYPED]}}
CONFIGURE = {
    "application/json": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "tags": {**_TAGS, "description": "An empty string deletes a tag."},
            "deletion_protection": _COMMON["deletion_protection"],
            "read_capacity": _READ_CAPACITY,
        },
    }
}
NOT_OFFERED = {"application/json": {"type": "object"}}


class IndexStatusSerializer(serializers.Serializer[Any]):
    """Whether it serves; `message` says what is wrong and what helps."""

    ready = serializers.BooleanField()
    state = serializers.ChoiceField(choices=Index.State.values)
    message = serializers.CharField(required=False)


class IndexSerializer(serializers.Serializer[Any]):
    """An index in the shape until 2026-04 and the one since, in one object."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    host = serializers.CharField()
    status = IndexStatusSerializer()
    deletion_protection = serializers.ChoiceField(choices=["enabled", "disabled"])
    tags = serializers.DictField(child=serializers.CharField(), allow_null=True)
    schema = serializers.DictField()
    deployment = serializers.DictField()
    read_capacity = serializers.DictField()
    dimension = serializers.IntegerField(allow_null=True)
    metric = serializers.ChoiceField(choices=METRICS)
    vector_type = serializers.ChoiceField(choices=VECTOR_TYPES)
    spec = serializers.DictField()


class IndexListSerializer(serializers.Serializer[Any]):
    """All indexes of a project."""

    indexes = IndexSerializer(many=True)


_EMPTY = {"type": "array", "maxItems": 0}


def empty_list(name: str) -> dict[str, Any]:
    """The answer where there is nothing of a kind: `{name: []}`."""
    return {"type": "object", "required": [name], "properties": {name: _EMPTY}}


REFUSED_CREDENTIAL = {
    (401, "application/json"): OpenApiResponse(ErrorBody, ERRORS[401]),
    (401, "text/plain"): OpenApiResponse(OpenApiTypes.STR, ERRORS[401]),
}
"""Since 2026-07 a refused credential is answered in plain text, to clients that announce it."""

VERSION = OpenApiParameter(
    "X-Pinecone-Api-Version",
    {"type": "string", "examples": ["2026-07"]},
    OpenApiParameter.HEADER,
    description="The API version that the client speaks; without it: the newest.",
)
PROJECT = OpenApiParameter(
    "X-Project-Id",
    OpenApiTypes.UUID,
    OpenApiParameter.HEADER,
    description="Which project is meant, for service accounts; an API key has one of its own.",
)
DRY_RUN_HEADER = OpenApiParameter(
    "X-Dry-Run",
    {"type": "string", "enum": ["true", "false"]},
    OpenApiParameter.HEADER,
    description="As the query parameter `dry_run`.",
)

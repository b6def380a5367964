"""An index as clients read it: the shape before 2026-07 and the one since, in one object.

Every official client decodes the superset; each one alone fails on the other's shape. `host` is a
string from the first answer on, and `read_capacity` stands inside `spec.serverless` too.
"""

from __future__ import annotations

from indexes.api.shapes import DENSE_FIELD, SPARSE_FIELD
from indexes.models import Index
from indexes.selectors import host_of


def index_json(index: Index) -> dict[str, object]:
    """The answer to creating, describing and configuring, and an element of the list."""
    status: dict[str, object] = {"ready": index.is_ready, "state": index.state}
    if index.cause:
        status["message"] = f"{index.cause} {index.remedy}".strip()
    sparse_field = {"type": "sparse_vector", "description": None}
    fields: dict[str, object] = {SPARSE_FIELD: sparse_field}
    if index.vector_type == Index.VectorType.DENSE:
        dense_field = {
            "type": "dense_vector",
            "dimension": index.dimension,
            "metric": index.metric,
            "description": None,
        }
        fields = {DENSE_FIELD: dense_field, SPARSE_FIELD: sparse_field}
    place = {"cloud": index.cloud, "region": index.region}
    read_capacity = {"mode": "OnDemand", "status": {"state": "Ready"}}
    return {
        # Ours: what a key's scope and a role on one index name.
        "id": str(index.pk),
        "name": index.name,
        "host": host_of(index),
        "status": status,
        "deletion_protection": "enabled" if index.deletion_protection else "disabled",
        "tags": index.tags or None,
        "schema": {"fields": fields},
        "deployment": {"deployment_type": "managed", **place},
        "read_capacity": read_capacity,
        "dimension": index.dimension,
        "metric": index.metric,
        "vector_type": index.vector_type,
        "spec": {"serverless": {**place, "read_capacity": read_capacity}},
    }

"""Indexes and what is known of them."""

from indexes.models.deployments import DataKey, Deployment, Index, Operation
from indexes.models.usage import IndexStatistics, IndexTraffic, ProjectTraffic

__all__ = [
    "DataKey",
    "Deployment",
    "Index",
    "IndexStatistics",
    "IndexTraffic",
    "Operation",
    "ProjectTraffic",
]

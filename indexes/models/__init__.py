"""Indexes and what is known of them."""

from indexes.models.deployments import DataKey, Deployment, Index, Operation

__all__ = ["DataKey", "Deployment", "Index", "Operation"]

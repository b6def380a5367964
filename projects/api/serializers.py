"""Projects and quotas as the Admin API reads and shows them."""

from __future__ import annotations

from typing import Any, cast, get_args

from rest_framework import serializers

from orgs.services.checks import NAME_LENGTH
from projects.quotas import Quota, Scope, Source
from projects.services import MAX_LIMIT
from rest.serializers import Input

_PODS = "There are no pods here: 0 or nothing."
_CMEK = "One-way: it can be switched on, never off. Needs customer-managed keys in the plan."


class ProjectInput(Input):
    """A new project."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    max_pods = serializers.IntegerField(required=False, help_text=_PODS)
    force_encryption_with_cmek = serializers.BooleanField(required=False, help_text=_CMEK)


class ProjectChange(Input):
    """What is to be changed; what is left out stays."""

    name = serializers.CharField(required=False, max_length=NAME_LENGTH)
    max_pods = serializers.IntegerField(required=False, help_text=_PODS)
    force_encryption_with_cmek = serializers.BooleanField(required=False, help_text=_CMEK)
    max_indexes = serializers.IntegerField(required=False, help_text=f"0 to {MAX_LIMIT}.")
    max_api_keys = serializers.IntegerField(required=False, help_text=f"0 to {MAX_LIMIT}.")


class ProjectSerializer(serializers.Serializer[Any]):
    """A project: what Pinecone's clients read, and our additions."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    max_pods = serializers.IntegerField()
    force_encryption_with_cmek = serializers.BooleanField()
    organization_id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    max_indexes = serializers.IntegerField()
    max_api_keys = serializers.IntegerField()
    archived_at = serializers.DateTimeField(allow_null=True)


class QuotaSerializer(serializers.Serializer[Any]):
    """A limit and what of it is taken."""

    name = serializers.CharField()
    scope = serializers.ChoiceField(choices=list(get_args(Scope)))
    used = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True, help_text="null: as many as wanted.")
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field of that name
        choices=list(get_args(Source))
    )
    reason = serializers.CharField()
    is_full = serializers.BooleanField()


class QuotasSerializer(serializers.Serializer[Any]):
    """Every quota of a project or an organization."""

    data = QuotaSerializer(many=True)  # type: ignore[assignment]  # a field of that name


class PreviewSerializer(serializers.Serializer[Any]):
    """What a creation would come to: nothing was written."""

    dry_run = serializers.BooleanField()
    allowed = serializers.BooleanField(help_text="Whether there is room under every quota.")
    quotas = QuotaSerializer(many=True)


def quotas_json(quotas: list[Quota]) -> dict[str, Any]:
    """The answer to a question for quotas."""
    return {"data": QuotaSerializer(cast("Any", quotas), many=True).data}


def preview_json(quotas: list[Quota]) -> dict[str, Any]:
    """The answer to a dry run of a creation."""
    allowed = not any(quota.is_full for quota in quotas)
    return dict(PreviewSerializer({"dry_run": True, "allowed": allowed, "quotas": quotas}).data)

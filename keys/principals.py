"""How role bindings find API keys and service accounts."""

from __future__ import annotations

from uuid import UUID

from keys.models import ApiKey, ServiceAccount
from orgs import registry
from orgs.models import PrincipalType
from orgs.registry import Found


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_principal(PrincipalType.API_KEY, _api_key)
    registry.register_principal(PrincipalType.SERVICE_ACCOUNT, _service_account)


def _api_key(pk: UUID) -> Found | None:
    row = ApiKey.objects.select_related("project").filter(pk=pk).first()
    return Found(row.pk, row.project.organization_id, row.project_id, row.name) if row else None


def _service_account(pk: UUID) -> Found | None:
    row = ServiceAccount.objects.filter(pk=pk).first()
    return Found(row.pk, row.organization_id, None, row.name) if row else None

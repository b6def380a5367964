"""How role bindings find API keys and service accounts, and how quotas count them."""

from __future__ import annotations

from uuid import UUID

from keys.models import ApiKey, ServiceAccount
from orgs import registry
from orgs.models import PrincipalType
from orgs.plans import Entitlement
from orgs.registry import Found
from projects.contents import register_usage


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_principal(PrincipalType.API_KEY, _api_key)
    registry.register_principal(PrincipalType.SERVICE_ACCOUNT, _service_account)
    register_usage(Entitlement.MAX_KEYS_PER_PROJECT, _keys_in)
    register_usage(Entitlement.MAX_SERVICE_ACCOUNTS, _accounts_of)


def _api_key(pk: UUID) -> Found | None:
    row = ApiKey.objects.select_related("project").filter(pk=pk, revoked_at=None).first()
    return Found(row.pk, row.project.organization_id, row.project_id, row.name) if row else None


def _service_account(pk: UUID) -> Found | None:
    row = ServiceAccount.objects.filter(pk=pk).first()
    return Found(row.pk, row.organization_id, None, row.name) if row else None


def _keys_in(project_id: UUID) -> int:
    """The project's keys that are not deleted."""
    return ApiKey.objects.filter(project_id=project_id, revoked_at=None).count()


def _accounts_of(organization_id: UUID) -> int:
    return ServiceAccount.objects.filter(organization_id=organization_id).count()

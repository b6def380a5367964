"""How role bindings find organizations, and the groups and invitations that hold roles."""

from __future__ import annotations

from uuid import UUID

from orgs import registry
from orgs.models import Group, Invitation, Organization, PrincipalType, ResourceType
from orgs.registry import Found


def register() -> None:
    """Called once, when the app is ready."""
    registry.register_resource(ResourceType.ORGANIZATION, _organization)
    registry.register_principal(PrincipalType.GROUP, _group)
    registry.register_principal(PrincipalType.INVITE, _invitation)


def _organization(pk: UUID) -> Found | None:
    row = Organization.objects.filter(pk=pk).first()
    return Found(row.pk, row.pk, None, row.name) if row else None


def _group(pk: UUID) -> Found | None:
    row = Group.objects.filter(pk=pk).first()
    return Found(row.pk, row.organization_id, None, row.name) if row else None


def _invitation(pk: UUID) -> Found | None:
    row = Invitation.objects.filter(pk=pk).first()
    return Found(row.pk, row.organization_id, None, row.email) if row else None

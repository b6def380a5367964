"""What time itself does to roles and decisions. Safe to repeat and to interrupt anywhere."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from orgs.actors import system
from orgs.models import Decision, Membership, Organization, PrincipalType, ResourceType, RoleBinding
from orgs.removal import remove_binding, remove_member
from orgs.selectors.bindings import not_over

DECISION_DAYS = 30


def remove_expired_bindings() -> int:
    """Remove the role bindings that are over, each in a transaction of its own; how many.

    They stopped to count when their time was over. A person whose last role on the organization
    ends leaves it, with whatever else they hold there.
    """
    over = RoleBinding.objects.filter(expires_at__lte=timezone.now())
    rows = list(over.order_by("expires_at").values_list("pk", "organization_id"))
    return sum(_remove_expired(pk, organization_id) for pk, organization_id in rows)


@transaction.atomic
def _remove_expired(pk: UUID, organization_id: UUID) -> int:
    Organization.objects.select_for_update().filter(pk=organization_id).first()
    row = RoleBinding.objects.select_related("custom_role").filter(pk=pk).first()
    if row is None:
        return 0
    actor = system("expiry of roles")
    remove_binding(actor=actor, row=row, reason="Expired")
    is_membership = (
        row.principal_type == PrincipalType.USER and row.resource_type == ResourceType.ORGANIZATION
    )
    left = not_over().filter(
        organization_id=organization_id,
        principal_type=PrincipalType.USER,
        principal_id=row.principal_id,
        resource_type=ResourceType.ORGANIZATION,
    )
    member = Membership.objects.filter(user_id=row.principal_id, organization_id=organization_id)
    if is_membership and not left.exists() and member.exists():
        remove_member(
            actor=actor,
            organization_id=organization_id,
            user_id=row.principal_id,
            reason="Last role expired",
        )
    return 1


def forget_old_decisions() -> int:
    """Delete denials that nobody will ask about any more; the audit trail keeps its own record."""
    cutoff = timezone.now() - timedelta(days=DECISION_DAYS)
    count, _ = Decision.objects.filter(created_at__lt=cutoff).delete()
    return count

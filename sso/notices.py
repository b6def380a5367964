"""Mail to an organization's owners."""

from __future__ import annotations

from uuid import UUID

from orgs import mail
from orgs.models import User
from orgs.selectors.owners import owners_in_force


def mail_owners(organization_id: UUID, *, subject: str, text: str) -> None:
    """Tell every owner, in the transaction at hand."""
    owners = User.objects.filter(pk__in=owners_in_force(organization_id), is_active=True)
    for email in owners.order_by("email").values_list("email", flat=True):
        mail.send(to=email, subject=subject, text=text)

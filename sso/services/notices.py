"""Telling an organization's owners what happened to its single sign-on."""

from __future__ import annotations

from orgs import mail
from orgs.models import Organization, User
from orgs.selectors.owners import owners_in_force


def tell_owners(organization: Organization, subject: str, text: str) -> None:
    """One message to each owner, sent when the transaction at hand is committed."""
    owners = User.objects.filter(pk__in=owners_in_force(organization.pk), is_active=True)
    for email in owners.values_list("email", flat=True):
        mail.send(to=email, subject=subject, text=text)

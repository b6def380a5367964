"""Reading domains."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from orgs.actors import Actor
from orgs.errors import no_such
from sso.identity_providers import domain_of
from sso.models import Connection, Domain
from sso.selectors.connections import authorize_reading


def label_of(domain_id: UUID) -> str:
    """How messages name a domain, whether there is one or not."""
    return f"domain {domain_id}"


def domains_of(actor: Actor, organization_id: UUID) -> QuerySet[Domain]:
    """The organization's domains by name, proven or not, each with its connection.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there.
    """
    authorize_reading(actor, organization_id, f"organization {organization_id}")
    return Domain.objects.filter(organization_id=organization_id).select_related("connection")


def get_domain(actor: Actor, domain_id: UUID) -> Domain:
    """The domain with its organization and connection.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied: the actor may not configure single sign-on there.
    """
    found = Domain.objects.select_related("organization", "connection").filter(pk=domain_id).first()
    if found is None:
        raise no_such(label_of(domain_id))
    authorize_reading(actor, found.organization_id, label_of(domain_id))
    return found


def owns_domain_of(
    organization_id: UUID, email: str, *, served_by: Connection | None = None
) -> bool:
    """Whether the address is in a domain that the organization has proven to own and, where a
    connection is given, whose people sign in by that one.
    """
    name = domain_of(email)
    if not name:
        return False
    found = Domain.objects.filter(
        organization_id=organization_id, name=name, verified_at__isnull=False
    )
    return (found.filter(connection=served_by) if served_by else found).exists()

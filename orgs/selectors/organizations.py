"""Reading organizations and their people."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import Organization, PrincipalType, User
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.bindings import roles_of


def organizations_visible_to(actor: Actor) -> QuerySet[Organization]:
    """The organizations that the actor holds an organization role in. One query."""
    ids = {
        binding.organization_id
        for binding in actor.bindings
        if Permission.ORGANIZATION_READ
        in permissions_of(actor, organization_id=binding.organization_id)
    }
    return Organization.objects.filter(pk__in=ids)


def get_organization(actor: Actor, organization_id: UUID) -> Organization:
    """The organization.

    Raises:
        NotFound: no such organization, or none that the actor may see.
        PermissionDenied: the actor belongs to it, but does not meet its security baseline.
    """
    what = f"organization {organization_id}"
    organization = Organization.objects.filter(pk=organization_id).first()
    if organization is None:
        raise no_such(what)
    authorize(actor, Permission.ORGANIZATION_READ, organization_id=organization.pk, what=what)
    return organization


@dataclass(frozen=True, slots=True)
class Member:
    """A person in an organization, with the organization roles in force."""

    user: User
    roles: list[str]


def members_of(organization: Organization) -> list[Member]:
    """The organization's people by e-mail address. Two queries."""
    users = list(User.objects.filter(memberships__organization=organization).order_by("email"))
    roles = roles_of(
        PrincipalType.USER,
        [user.pk for user in users],
        resource_id=organization.pk,
    )
    return [Member(user=user, roles=roles.get(user.pk, [])) for user in users]

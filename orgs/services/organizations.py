"""Making organizations."""

from __future__ import annotations

from django.db import transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.errors import PermissionDenied
from orgs.models import Membership, Organization, PrincipalType, User
from orgs.permissions import OWNER_ROLE
from orgs.services.bindings import bind_role
from orgs.services.checks import check_name


@transaction.atomic
def create_organization(*, actor: Actor, name: str, owner: User) -> Organization:
    """An organization with its first owner.

    Raises:
        PermissionDenied: a person asks for somebody else, or a key asks.
        InvalidArgument: the name is empty, too long or not printable.
    """
    if not actor.is_system and (actor.kind != "user" or actor.id != str(owner.pk)):
        raise PermissionDenied("People create organizations of their own only.")
    organization = Organization.objects.create(name=check_name(name, "organization"))
    record(
        EventType.ORGANIZATION_CREATED,
        actor=actor,
        organization_id=organization.pk,
        resource=("organization", organization.pk, organization.name),
        detail={"plan": organization.plan},
    )
    Membership.objects.create(user=owner, organization=organization)
    record(
        EventType.MEMBER_ADDED,
        actor=actor,
        organization_id=organization.pk,
        resource=("user", owner.pk, owner.email),
    )
    bind_role(
        actor=actor,
        organization_id=organization.pk,
        principal=(PrincipalType.USER, owner.pk),
        role=OWNER_ROLE,
        resource_id=organization.pk,
        reason="First owner",
    )
    return organization

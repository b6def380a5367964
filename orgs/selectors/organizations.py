"""Reading organizations and their people."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from orgs.actors import Actor, Bar
from orgs.errors import no_such
from orgs.models import Membership, Organization, PrincipalType, User
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.bindings import roles_of
from orgs.selectors.invitations import pending


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


def organizations_barring(actor: Actor) -> list[tuple[Organization, Bar]]:
    """The organizations that don't let the actor in as it came, by name, with the reason and the
    way out. One query, none where there are none.
    """
    bars = {bar.organization_id: bar for bar in actor.bars}
    found = Organization.objects.filter(pk__in=bars) if bars else []
    return [(organization, bars[organization.pk]) for organization in found]


def seats_taken(organization_id: UUID) -> int:
    """Members and pending invitations. Two queries."""
    members = Membership.objects.filter(organization_id=organization_id).count()
    return members + pending(organization_id).count()


def list_members(actor: Actor, organization_id: UUID, email: str = "") -> QuerySet[User]:
    """The organization's people; with `email` the one who has it, in whatever case.

    Raises:
        NotFound, PermissionDenied: the actor may not see them.
    """
    authorize(
        actor,
        Permission.MEMBER_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    people = User.objects.filter(memberships__organization=organization_id)
    return people.filter(email=email.lower()) if email else people


def get_member(actor: Actor, organization_id: UUID, user_id: UUID) -> User:
    """One of the organization's people.

    Raises:
        NotFound: no such member, or none that the actor may see.
        PermissionDenied: the actor does not meet the organization's security baseline.
    """
    found = list_members(actor, organization_id).filter(pk=user_id).first()
    if found is None:
        raise no_such(f"user {user_id}")
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """A person in an organization, with the organization roles in force.

    Attributes:
        is_suspended: the directory took the place away for the time being: the roles don't count.
    """

    user: User
    roles: list[str]
    is_suspended: bool = False


def members_of(organization: Organization) -> list[Member]:
    """The organization's people by e-mail address. Two queries."""
    places = list(
        Membership.objects.filter(organization=organization)
        .select_related("user")
        .order_by("user__email")
    )
    roles = roles_of(
        PrincipalType.USER,
        [place.user_id for place in places],
        resource_id=organization.pk,
    )
    return [
        Member(
            user=place.user,
            roles=roles.get(place.user_id, []),
            is_suspended=place.suspended_at is not None,
        )
        for place in places
    ]


def may_found(actor: Actor) -> bool:
    """Whether the actor may make organizations of its own: who owns one already. No query."""
    return actor.kind == "user" and any(
        Permission.ORGANIZATION_DELETE
        in permissions_of(actor, organization_id=binding.organization_id)
        for binding in actor.bindings
    )

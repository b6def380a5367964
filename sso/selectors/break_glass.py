"""Who comes in where single sign-on is required and the identity provider is not to be had."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from orgs.actors import Actor
from orgs.baseline import Facts
from orgs.errors import no_such
from orgs.models import Membership, Organization, SecurityBaseline, User
from orgs.selectors.baseline import FACTORS
from orgs.selectors.bindings import actor_for
from orgs.selectors.owners import owners_in_force
from sso.models import BreakGlassAccess, BreakGlassOwner, Connection
from sso.selectors.connections import authorize_reading

EXERCISE_HOLDS = timedelta(days=90)


def with_second_factor(people: QuerySet[User]) -> QuerySet[User]:
    """Those who have an authenticator app or a passkey."""
    factors = Authenticator.objects.filter(user_id=OuterRef("pk"), type__in=FACTORS)
    return people.filter(Exists(factors), is_active=True)


def able_owners(organization_id: UUID) -> QuerySet[User]:
    """The owners who could prove who they are without the identity provider: by a password and a
    second factor. Two queries before its own.
    """
    suspended = Membership.objects.filter(
        user_id=OuterRef("pk"), organization_id=organization_id, suspended_at__isnull=False
    )
    has_password = ~Q(password="") & ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    owners = User.objects.filter(has_password, ~Exists(suspended))
    return with_second_factor(owners.filter(pk__in=owners_in_force(organization_id)))


def named(organization_id: UUID) -> frozenset[UUID]:
    """The people who are named, able or not. One query."""
    rows = BreakGlassOwner.objects.filter(organization_id=organization_id)
    return frozenset(rows.values_list("user_id", flat=True))


def named_and_able(organization_id: UUID) -> frozenset[UUID]:
    """The named owners who could come in at once. Four queries."""
    found = able_owners(organization_id).filter(pk__in=named(organization_id))
    return frozenset(found.values_list("pk", flat=True))


def owners_of(actor: Actor, organization_id: UUID) -> QuerySet[BreakGlassOwner]:
    """The owners who are named, oldest first.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there.
    """
    authorize_reading(actor, organization_id, f"organization {organization_id}")
    rows = BreakGlassOwner.objects.filter(organization_id=organization_id)
    return rows.select_related("user").order_by("created_at", "pk")


def accesses_of(actor: Actor, organization_id: UUID) -> QuerySet[BreakGlassAccess]:
    """All accesses that were asked for, exercises too, latest first.

    Raises:
        NotFound, PermissionDenied: the actor may not configure single sign-on there.
    """
    authorize_reading(actor, organization_id, f"organization {organization_id}")
    rows = BreakGlassAccess.objects.filter(organization_id=organization_id)
    return rows.select_related("user", "approved_by")


def get_access(actor: Actor, access_id: UUID) -> BreakGlassAccess:
    """The access, with its person and its organization.

    Raises:
        NotFound: there is none of that id.
        PermissionDenied: the actor may not configure single sign-on there.
    """
    what = f"access {access_id}"
    rows = BreakGlassAccess.objects.select_related("user", "organization", "approved_by")
    found = rows.filter(pk=access_id).first()
    if found is None:
        raise no_such(what)
    authorize_reading(actor, found.organization_id, what)
    return found


def is_backed(access: BreakGlassAccess) -> bool:
    """Whether nobody has to approve the access: the person is named, or another owner, who is one
    still, has approved it. Some queries.
    """
    return access.user_id in named(
        access.organization_id
    ) or access.approved_by_id in owners_in_force(access.organization_id)


def lasts(access_id: UUID, user_id: UUID) -> bool:
    """Whether the person is in by that access and still has the right to be.

    The right ends with the role of an owner, the password, the second factor, and with what backs
    the access. An exercise is over when it begins.
    """
    access = BreakGlassAccess.objects.filter(
        pk=access_id,
        user_id=user_id,
        began_at__isnull=False,
        ended_at=None,
        expires_at__gt=timezone.now(),
    ).first()
    if access is None or not is_backed(access):
        return False
    return able_owners(access.organization_id).filter(pk=user_id).exists()


def is_required(organization_id: UUID) -> bool:
    """Whether the organization lets nobody in without its single sign-on. One query."""
    return SecurityBaseline.objects.filter(pk=organization_id, sso_required=True).exists()


def organizations_to_enter(user: User) -> list[Organization]:
    """The organizations with single sign-on that the person owns and is able to enter without.

    A few queries for each of the person's organizations that has a connection.
    """
    connections = Connection.objects.filter(organization_id=OuterRef("pk"))
    own = Organization.objects.filter(Exists(connections), memberships__user=user)
    return [each for each in own if able_owners(each.pk).filter(pk=user.pk).exists()]


def proven_actor(user: User, organization_id: UUID, *, ip: str, request_id: str) -> Actor:
    """The person as the actor who just showed password and second factor, and for whom the
    organization's single sign-on is no bar. Everything else that it demands still is.
    """
    now = timezone.now()
    facts = Facts(
        ip=ip,
        has_mfa=True,
        session_started_at=now,
        sso_organizations=frozenset({organization_id}),
    )
    return actor_for(user, facts=facts, authenticated_at=now, request_id=request_id)


def is_exercised(organization_id: UUID) -> bool:
    """Whether somebody who could still come in that way did so, or exercised it, within 90 days.

    Seven queries at most.
    """
    since = timezone.now() - EXERCISE_HOLDS
    able = frozenset(able_owners(organization_id).values_list("pk", flat=True))
    alone = named(organization_id) & able
    used = BreakGlassAccess.objects.filter(organization_id=organization_id, began_at__gte=since)
    by_two = Q(user_id__in=able, approved_by_id__in=able)
    return used.filter(Q(user_id__in=alone) | by_two).exists()


def has_a_way(organization_id: UUID) -> bool:
    """Whether somebody could come in without the identity provider: a named owner alone, or two
    others together.
    """
    able = frozenset(able_owners(organization_id).values_list("pk", flat=True))
    return bool(able & named(organization_id)) or len(able) > 1

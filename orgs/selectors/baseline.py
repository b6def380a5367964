"""Reading an organization's security baseline, and which people it would lock out."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Exists, OuterRef

from orgs.actors import Actor
from orgs.baseline import Demands, LockedOut, is_inside, register_baseline_probe
from orgs.models import SecurityBaseline, User
from orgs.permissions import Permission, authorize

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def get_baseline(actor: Actor, organization_id: UUID) -> SecurityBaseline:
    """The organization's baseline; one of version 0, in no database, where nothing was ever set.

    Every member may read what is demanded of them.

    Raises:
        NotFound, PermissionDenied: the actor may not see the organization.
    """
    authorize(
        actor,
        Permission.ORGANIZATION_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    return baseline_of(organization_id)


def baseline_of(organization_id: UUID) -> SecurityBaseline:
    """The same without asking who wants to know."""
    found = SecurityBaseline.objects.filter(pk=organization_id).first()
    return found or SecurityBaseline(organization_id=organization_id, version=0)


def demands_of(baseline: SecurityBaseline) -> Demands:
    """The row as values."""
    return Demands(
        mfa_required=baseline.mfa_required,
        session_hours=baseline.session_hours,
        max_key_age_days=baseline.max_key_age_days,
        ip_ranges=tuple(baseline.ip_ranges),
    )


def register() -> None:
    """Called once, when the app is ready."""
    register_baseline_probe("people", people_locked_out)


def people_locked_out(organization_id: UUID, demands: Demands) -> Iterator[LockedOut]:
    """Members without a second factor, and those who are signed in from other networks. Two
    queries.
    """
    has_factor = Authenticator.objects.filter(user_id=OuterRef("pk"), type__in=FACTORS)
    members = User.objects.filter(memberships__organization=organization_id, is_active=True)
    people = {user.pk: user for user in members.annotate(has_factor=Exists(has_factor))}
    if demands.mfa_required:
        for user in people.values():
            if not user.has_factor:
                yield _person(user, "has no second factor yet")
    if demands.ip_ranges:
        sessions = UserSession.objects.filter(user_id__in=people).order_by("user_id", "ip")
        for user_id, ip in sessions.values_list("user_id", "ip").distinct():
            if not is_inside(ip, demands.ip_ranges):
                yield _person(people[user_id], f"is signed in from {ip}, outside of the ranges")


def _person(user: User, reason: str) -> LockedOut:
    return LockedOut(kind="user", id=user.pk, label=user.email, reason=reason)

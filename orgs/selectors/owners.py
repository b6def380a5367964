"""Who owns an organization, and which of them could come in and act."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Exists, OuterRef, Q

from orgs.identity_providers import identity_providers
from orgs.models import (
    GroupMembership,
    Membership,
    PrincipalType,
    RoleBinding,
    SecurityBaseline,
    User,
)
from orgs.permissions import OWNER_ROLE
from orgs.selectors.bindings import in_force


@dataclass(frozen=True, slots=True)
class Owners:
    """An organization's owners, as ids of people.

    Attributes:
        everybody: all that a role binding makes owners, in force or not.
        reachable: those who are switched on, can sign in, and own it now and for good.
    """

    everybody: frozenset[UUID]
    reachable: frozenset[UUID]


def owners_of(organization_id: UUID) -> Owners:
    """The organization's owners, by a binding of their own or of a group of theirs.

    Owning for good is a binding in force that does not expire; signing in takes a password, a
    passkey, or the organization's identity provider. Where its single sign-on is required, it takes
    that, or a password of somebody who is named for emergencies. A suspended place lets nobody in.
    At most seven queries, and those of single sign-on.
    """
    bindings = RoleBinding.objects.filter(organization_id=organization_id, role=OWNER_ROLE)
    lasting = in_force().filter(organization_id=organization_id, role=OWNER_ROLE, expires_at=None)
    passkeys = Authenticator.objects.filter(
        user_id=OuterRef("pk"), type=Authenticator.Type.WEBAUTHN
    )
    has_password = ~Q(password="") & ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    through_sso = Q(pk__in=identity_providers().people_with_a_way_in(organization_id))
    if SecurityBaseline.objects.filter(pk=organization_id, sso_required=True).exists():
        named = identity_providers().people_for_emergencies(organization_id)
        can_sign_in = through_sso | has_password & Q(pk__in=named)
    else:
        can_sign_in = through_sso | has_password | Q(Exists(passkeys))
    suspended = Membership.objects.filter(
        user_id=OuterRef("pk"), organization_id=organization_id, suspended_at__isnull=False
    )
    reachable = User.objects.filter(
        can_sign_in,
        ~Exists(suspended),
        pk__in=_people(lasting),
        is_active=True,
    )
    return Owners(
        everybody=frozenset(_people(bindings)),
        reachable=frozenset(reachable.values_list("pk", flat=True)),
    )


def owners_in_force(organization_id: UUID) -> frozenset[UUID]:
    """Who owns the organization now, for good or for a time. At most two queries."""
    return frozenset(_people(in_force().filter(organization_id=organization_id, role=OWNER_ROLE)))


def _people(bindings: Iterable[RoleBinding]) -> set[UUID]:
    rows = list(bindings)
    groups = [row.principal_id for row in rows if row.principal_type == PrincipalType.GROUP]
    through = GroupMembership.objects.filter(group_id__in=groups).values_list("user_id", flat=True)
    return {
        *(row.principal_id for row in rows if row.principal_type == PrincipalType.USER),
        *(through if groups else ()),
    }

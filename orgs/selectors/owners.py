"""Who owns an organization, and which of them could come in and act."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Exists, OuterRef, Q

from orgs.identity_providers import identity_providers
from orgs.models import GroupMembership, Membership, PrincipalType, RoleBinding, User
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
    passkey, or the organization's identity provider. A suspended place lets nobody in. At most six
    queries, and those of single sign-on.
    """
    bindings = RoleBinding.objects.filter(organization_id=organization_id, role=OWNER_ROLE)
    lasting = in_force().filter(organization_id=organization_id, role=OWNER_ROLE, expires_at=None)
    passkeys = Authenticator.objects.filter(
        user_id=OuterRef("pk"), type=Authenticator.Type.WEBAUTHN
    )
    unusable = Q(password="") | Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    through_sso = identity_providers().people_with_a_way_in(organization_id)
    suspended = Membership.objects.filter(
        user_id=OuterRef("pk"), organization_id=organization_id, suspended_at__isnull=False
    )
    reachable = User.objects.filter(
        ~unusable | Exists(passkeys) | Q(pk__in=through_sso),
        ~Exists(suspended),
        pk__in=_people(lasting),
        is_active=True,
    )
    return Owners(
        everybody=frozenset(_people(bindings)),
        reachable=frozenset(reachable.values_list("pk", flat=True)),
    )


def _people(bindings: Iterable[RoleBinding]) -> set[UUID]:
    rows = list(bindings)
    groups = [row.principal_id for row in rows if row.principal_type == PrincipalType.GROUP]
    through = GroupMembership.objects.filter(group_id__in=groups).values_list("user_id", flat=True)
    return {
        *(row.principal_id for row in rows if row.principal_type == PrincipalType.USER),
        *(through if groups else ()),
    }

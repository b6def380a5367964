"""Organizations: making, renaming and deleting them, and what their plan is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import ProtectedError

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.errors import FailedPrecondition, InvalidArgument, PermissionDenied, no_such
from orgs.models import (
    CustomRole,
    Membership,
    Organization,
    PrincipalType,
    RoleBinding,
    User,
)
from orgs.permissions import (
    OWNER_ROLE,
    Permission,
    authorize,
    require_fresh,
    require_operator,
)
from orgs.plans import LIMITS, Entitlement, Plan, Value
from orgs.selectors.organizations import may_found
from orgs.services.bindings import bind_role
from orgs.services.checks import VersionCheck, any_version, check_name
from orgs.services.owners import lock_organization

LARGEST_LIMIT = 1_000_000_000


@transaction.atomic
def create_organization(*, actor: Actor, name: str, owner: User) -> Organization:
    """An organization with its first owner, under the installation's plan for new ones.

    Raises:
        PermissionDenied: a person asks for somebody else, a machine asks, or the person owns no
            organization yet: the first one is the operator's to make.
        InvalidArgument: the name is empty, too long or not printable.
    """
    if not actor.is_system:
        check_founder(actor, owner)
    organization = Organization.objects.create(
        name=check_name(name, "organization"), plan=settings.TAMARACK_DEFAULT_PLAN
    )
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


def check_founder(actor: Actor, owner: User) -> None:
    """Let people pass who may make an organization of their own.

    Raises:
        PermissionDenied: somebody else's, a machine, or who owns none yet.
    """
    if actor.kind != "user" or actor.id != str(owner.pk):
        raise PermissionDenied("People create organizations of their own only.")
    if not may_found(actor):
        raise PermissionDenied(
            "Only who owns an organization already makes another one. The operator of this"
            " installation makes the first: manage.py create_owner."
        )


@transaction.atomic
def rename_organization(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    check: VersionCheck = any_version,
) -> Organization:
    """Give it another name.

    Args:
        check: raises where the version is not the one that the actor has seen; asked under a lock.

    Raises:
        NotFound, PermissionDenied: the actor may not.
        InvalidArgument: the name is empty, too long or not printable.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.ORGANIZATION_UPDATE, organization_id=organization_id, what=what)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    check(organization.version)
    before, organization.name = organization.name, check_name(name, "organization")
    if organization.name == before:
        return organization
    organization.version += 1
    organization.save(update_fields=["name", "version"])
    record(
        EventType.ORGANIZATION_UPDATED,
        actor=actor,
        organization_id=organization.pk,
        resource=("organization", organization.pk, organization.name),
        permission=Permission.ORGANIZATION_UPDATE,
        changes={"name": (before, organization.name)},
    )
    return organization


@transaction.atomic
def delete_organization(
    *, actor: Actor, organization_id: UUID, check: VersionCheck = any_version
) -> None:
    """Delete it with everything that belongs to it alone: people's places in it, roles, groups,
    invitations, service accounts, the caller's own included. Accounts of people and the audit trail
    stay.

    Raises:
        NotFound, PermissionDenied, ReauthenticationRequired: the actor may not.
        FailedPrecondition: it still has projects, or its account is not settled.
    """
    what = f"organization {organization_id}"
    authorize(actor, Permission.ORGANIZATION_DELETE, organization_id=organization_id, what=what)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(what)
    check(organization.version)
    if organization.payment_status != Organization.PaymentStatus.ACTIVE:
        raise FailedPrecondition(
            f"The organization's payment status is {organization.payment_status}. Settle its"
            " account with the operator of this installation before you delete it."
        )
    record(
        EventType.ORGANIZATION_DELETED,
        actor=actor,
        organization_id=organization.pk,
        resource=("organization", organization.pk, organization.name),
        permission=Permission.ORGANIZATION_DELETE,
    )
    # Bindings hold roles in place, so they go first.
    RoleBinding.objects.filter(organization=organization).delete()
    CustomRole.objects.filter(organization=organization).delete()
    try:
        organization.delete()
    except ProtectedError as error:
        kinds = Counter(str(each._meta.verbose_name) for each in error.protected_objects)
        found = ", ".join(
            f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in sorted(kinds.items())
        )
        raise FailedPrecondition(
            f"The organization still has {found}. Delete what is in it first."
        ) from error


@transaction.atomic
def set_plan(
    *,
    actor: Actor,
    organization_id: UUID,
    plan: Plan | None = None,
    payment_status: Organization.PaymentStatus | None = None,
    overrides: Mapping[Entitlement, Value] | None = None,
    reset: Collection[Entitlement] = (),
    check: VersionCheck = any_version,
) -> Organization:
    """What the operator of the installation decides: plan, payment status, exceptions from the plan
    (`overrides`), and which exceptions end (`reset`). What is in use above a lower limit stays.

    Raises:
        PermissionDenied: anyone but an operator asks, or one without a second factor.
        ReauthenticationRequired: an operator without a fresh proof.
        NotFound: there is no such organization.
        InvalidArgument: a switch is no switch, a limit is out of range, or something is both set
            and reset.
    """
    if not (actor.is_system or actor.is_operator):
        raise PermissionDenied("Only the operator of this installation changes plans.")
    require_operator(actor)
    require_fresh(actor)
    organization = lock_organization(organization_id)
    if organization is None:
        raise no_such(f"organization {organization_id}")
    check(organization.version)
    changed = {name: _check_value(name, value) for name, value in (overrides or {}).items()}
    if both := sorted(set(changed) & set(reset)):
        raise InvalidArgument(f"{both[0]} is both set and reset. Choose one.")
    before = organization.plan, organization.payment_status, dict(organization.overrides)
    kept = {name: value for name, value in organization.overrides.items() if name not in reset}
    organization.overrides = {**kept, **{name.value: value for name, value in changed.items()}}
    organization.plan = plan or organization.plan
    organization.payment_status = payment_status or organization.payment_status
    after = organization.plan, organization.payment_status, organization.overrides
    if after == before:
        return organization
    organization.version += 1
    organization.save(update_fields=["plan", "payment_status", "overrides", "version"])
    shown = zip(
        ("plan", "payment_status", "entitlements"),
        (*before[:2], _shown(before[2])),
        (*after[:2], _shown(after[2])),
        strict=True,
    )
    record(
        EventType.ENTITLEMENTS_UPDATED,
        actor=actor,
        organization_id=organization.pk,
        resource=("organization", organization.pk, organization.name),
        changes={name: (old, new) for name, old, new in shown if old != new},
    )
    return organization


def _check_value(name: Entitlement, value: Value) -> Value:
    """The value, fit for the entitlement.

    Raises:
        InvalidArgument: it is not.
    """
    if name not in LIMITS:
        if isinstance(value, bool):
            return value
        raise InvalidArgument(f"{name} is a switch: on or off, not {value!r}.")
    if value is None or (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_LIMIT
    ):
        return value
    raise InvalidArgument(
        f"{name} is a limit: a whole number from 0 to {LARGEST_LIMIT}, or unlimited; not {value!r}."
    )


def _shown(overrides: Mapping[str, Value]) -> list[str]:
    return [f"{name}={_word(value)}" for name, value in sorted(overrides.items())]


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unlimited" if value is None else str(value)

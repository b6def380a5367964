"""Nobody gets further by giving: whatever somebody does with roles, in whatever order.

Mallory holds some permissions and tries everything that gives rights. Afterwards nobody may do
anything that neither they could before nor Mallory could herself, and what she controls, such as
the keys that she made, may do nothing that she may not do herself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, product
from typing import TypeVar
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from keys.models import ApiKey, ServiceAccount
from keys.services.api_keys import create_api_key, update_api_key
from keys.services.rotation import rotate_api_key
from keys.services.service_accounts import NewBinding, create_service_account, rotate_secret
from orgs.actors import Actor
from orgs.errors import Refused
from orgs.models import (
    CustomRole,
    Group,
    Invitation,
    Membership,
    PrincipalType,
    ResourceType,
    RoleBinding,
)
from orgs.permissions import ACCESS_ROLES, GRANTABLE, Permission, Role, permissions_of
from orgs.selectors.reach import Principal, reach_of
from orgs.services.bindings import grant_role, revoke_role
from orgs.services.groups import add_group_member, create_group
from orgs.services.invitations import InvitedRole, create_invitation
from orgs.services.roles import create_role, update_role
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_key, make_member, make_project, make_service_account
from tests.indexes.conftest import make_index

# Without these she could give nothing at all; the others are drawn.
GIVING = (
    *(Permission.MEMBER_UPDATE, Permission.MEMBER_INVITE, Permission.PROJECT_MEMBER_UPDATE),
    *(Permission.ROLE_MANAGE, Permission.GROUP_MANAGE, Permission.SERVICE_ACCOUNT_MANAGE),
    *(Permission.API_KEY_CREATE, Permission.API_KEY_UPDATE),
)
Option = TypeVar("Option")
Row = TypeVar("Row", bound=Model)
Rights = dict[tuple[Principal, tuple[UUID | None, UUID | None]], frozenset[Permission]]

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("ceiling")]


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside leaves nothing behind."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@dataclass
class World:
    """An organization where others hold more than Mallory, and where all of that can be named."""

    cast: Cast
    scopes: list[tuple[UUID | None, UUID | None]]
    indexes: list[UUID]
    mallory: UUID
    controlled: set[Principal] = field(default_factory=set)

    @property
    def organization_id(self) -> UUID:
        """Where all of it happens."""
        return self.cast.organization.pk

    def principals(self) -> list[Principal]:
        """Everybody and everything that may hold a role there, groups aside, oldest first."""
        of = {"organization_id": self.organization_id}
        order = ("created_at", "pk")
        keys = ApiKey.objects.filter(project__organization_id=self.organization_id)
        accounts = ServiceAccount.objects.filter(**of).order_by(*order)
        return [
            *((PrincipalType.USER, m.user_id) for m in Membership.objects.filter(**of)),
            *((PrincipalType.INVITE, each.pk) for each in Invitation.objects.filter(**of)),
            *((PrincipalType.SERVICE_ACCOUNT, each.pk) for each in accounts),
            *((PrincipalType.API_KEY, each.pk) for each in keys.order_by(*order)),
        ]

    def rights(self, at: datetime | None = None) -> Rights:
        """What each may do on each resource, now or at that time."""
        reach = reach_of(self.organization_id, self.principals(), at=at)
        return {
            (principal, scope): permissions_of(
                Actor(kind="user", id="", label="", bindings=bindings),
                organization_id=self.organization_id,
                project_id=scope[0],
                index_id=scope[1],
            )
            for principal, bindings in reach.items()
            for scope in self.scopes
        }

    def actor(self) -> Actor:
        """Mallory, as she stands now, just signed in."""
        me = (PrincipalType.USER, self.mallory)
        return Actor(
            kind="user",
            id=str(self.mallory),
            label="mallory@example.com",
            bindings=reach_of(self.organization_id, [me])[me],
            authenticated_at=timezone.now(),
        )


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Made once for all examples."""
    with django_db_blocker.unblock(), undone():
        yield make_world()


def make_world() -> World:
    """Owners by role, by group, by a role that begins later; accounts and keys that can do much."""
    cast = make_cast()
    organization, project = cast.organization, cast.project
    other = make_project(organization, "Other")
    indexes = [make_index(project).pk, make_index(other).pk]
    mallory = make_member(organization, "mallory@example.com")
    make_service_account(organization, [Role.ORG_OWNER], name="powerful")
    make_service_account(organization, [Role.DATA_PLANE_VIEWER], project=project, name="weak")
    make_key(project, [Role.PROJECT_EDITOR], "powerful")
    make_key(project, [Role.DATA_PLANE_VIEWER], "weak")
    later = timezone.now() + timedelta(days=30)
    for name, role, begins in (
        ("owners", Role.ORG_OWNER, None),
        ("owners to be", Role.ORG_OWNER, later),
        ("billing", Role.ORG_BILLING_ADMIN, None),
    ):
        group = Group.objects.create(organization=organization, name=name)
        grant_role(
            actor=SYSTEM,
            organization_id=organization.pk,
            principal=(PrincipalType.GROUP, group.pk),
            role=role.value,
            resource=(ResourceType.ORGANIZATION, None),
            period=(begins, None),
        )
    for kind, resource_id in (
        (ResourceType.ORGANIZATION, organization.pk),
        (ResourceType.PROJECT, project.pk),
        (ResourceType.INDEX, indexes[0]),
    ):
        own = CustomRole.objects.create(
            organization=organization,
            name=f"of {kind.value}",
            resource_type=kind,
            permissions=["data:read"],
        )
        # Mallory holds some roles that she may try to widen.
        for user in (cast.bob, mallory):
            grant_role(
                actor=SYSTEM,
                organization_id=organization.pk,
                principal=(PrincipalType.USER, user.pk),
                role=own.name,
                resource=(kind, resource_id),
            )
    scopes: list[tuple[UUID | None, UUID | None]] = [
        (None, None),
        (project.pk, None),
        (other.pk, None),
        (project.pk, indexes[0]),
        (other.pk, indexes[1]),
    ]
    return World(cast, scopes, indexes, mallory.pk)


def arm(world: World, kind: ResourceType, permissions: set[Permission]) -> None:
    """Give Mallory a role on the organization or the project."""
    if not permissions:
        return
    role = CustomRole.objects.create(
        organization_id=world.organization_id,
        name=f"mallory's on {kind.value}",
        resource_type=kind,
        permissions=sorted(permissions),
    )
    on_organization = kind == ResourceType.ORGANIZATION
    grant_role(
        actor=SYSTEM,
        organization_id=world.organization_id,
        principal=(PrincipalType.USER, world.mallory),
        role=role.name,
        resource=(kind, world.organization_id if on_organization else world.cast.project.pk),
    )


@dataclass
class Dice:
    """Numbers drawn beforehand: how many there are does not depend on the world."""

    numbers: Iterator[int]

    def pick(self, options: Iterable[Option]) -> Option:
        """One of them."""
        found = list(options)
        return found[next(self.numbers) % len(found)]

    def row(self, model: type[Row], **of: object) -> Row:
        """One of the organization's, oldest first."""
        return self.pick(model._default_manager.filter(**of).order_by("created_at", "pk"))


def draw_resource(world: World, dice: Dice) -> tuple[ResourceType, UUID]:
    """The organization, a project or an index."""
    project_id, index_id = dice.pick(world.scopes)
    if index_id is not None:
        return ResourceType.INDEX, index_id
    if project_id is not None:
        return ResourceType.PROJECT, project_id
    return ResourceType.ORGANIZATION, world.organization_id


def draw_role(world: World, dice: Dice) -> str:
    """A predefined role or one of the organization's own."""
    own = CustomRole.objects.order_by("created_at", "pk").values_list("name", flat=True)
    return dice.pick([*(role.value for role in Role), *own])


def give(world: World, dice: Dice) -> None:
    """A role for anybody, herself and groups included, now or later."""
    groups: list[Principal] = [
        (PrincipalType.GROUP, each.pk) for each in Group.objects.order_by("created_at", "pk")
    ]
    begins = timezone.now() + timedelta(days=7) if dice.pick([True, False]) else None
    grant_role(
        actor=world.actor(),
        organization_id=world.organization_id,
        principal=dice.pick(world.principals() + groups),
        role=draw_role(world, dice),
        resource=draw_resource(world, dice),
        period=(begins, None),
    )


def take(world: World, dice: Dice) -> None:
    """A role away from anybody."""
    row = dice.row(RoleBinding, organization_id=world.organization_id)
    revoke_role(actor=world.actor(), organization_id=world.organization_id, binding_id=row.pk)


def invite(world: World, dice: Dice) -> None:
    """Somebody who is Mallory, too."""
    kind, resource_id = draw_resource(world, dice)
    made = create_invitation(
        actor=world.actor(),
        organization_id=world.organization_id,
        email=f"m{Invitation.objects.count()}@example.com",
        roles=[
            InvitedRole(Role.ORG_MEMBER.value, ResourceType.ORGANIZATION, None),
            InvitedRole(draw_role(world, dice), kind, resource_id),
        ],
    )
    world.controlled.add((PrincipalType.INVITE, made.pk))


def join(world: World, dice: Dice) -> None:
    """Herself or somebody else into a group."""
    group = dice.row(Group, organization_id=world.organization_id)
    member = dice.row(Membership, organization_id=world.organization_id)
    add_group_member(
        actor=world.actor(),
        organization_id=world.organization_id,
        group_id=group.pk,
        user_id=dice.pick([world.mallory, member.user_id]),
    )


def make_group(world: World, dice: Dice) -> None:
    """A group of her own."""
    create_group(
        actor=world.actor(),
        organization_id=world.organization_id,
        name=f"g{Group.objects.count()}",
    )


def make_role(world: World, dice: Dice) -> None:
    """A role of her own."""
    kind = dice.pick(ResourceType)
    create_role(
        actor=world.actor(),
        organization_id=world.organization_id,
        name=f"r{CustomRole.objects.count()}",
        resource_type=kind,
        permissions=[dice.pick(sorted(GRANTABLE[kind])) for _ in range(2)],
    )


def widen(world: World, dice: Dice) -> None:
    """More in a role that she or others hold."""
    role = dice.row(CustomRole, organization_id=world.organization_id)
    more = dice.pick(sorted(GRANTABLE[role.resource_type]))
    update_role(
        actor=world.actor(),
        organization_id=world.organization_id,
        role_id=role.pk,
        permissions=[*role.permissions, more.value],
    )


def make_api_key(world: World, dice: Dice) -> None:
    """A key of her own."""
    key, _ = create_api_key(
        actor=world.actor(),
        project=world.cast.project,
        name="mallory's",
        roles=[dice.pick(sorted(ACCESS_ROLES))],
    )
    world.controlled.add((PrincipalType.API_KEY, key.pk))


def change_api_key(world: World, dice: Dice) -> None:
    """More for a key, hers or another."""
    key = dice.row(ApiKey, project=world.cast.project)
    roles = [dice.pick(sorted(ACCESS_ROLES))]
    update_api_key(actor=world.actor(), key_id=key.pk, roles=roles)


def take_over_key(world: World, dice: Dice) -> None:
    """The new secret of a key that others made."""
    key = dice.row(ApiKey, project=world.cast.project)
    rotate_api_key(actor=world.actor(), key_id=key.pk)
    world.controlled.add((PrincipalType.API_KEY, key.pk))


def make_account(world: World, dice: Dice) -> None:
    """A service account of her own."""
    kind, resource_id = draw_resource(world, dice)
    account, _ = create_service_account(
        actor=world.actor(),
        organization_id=world.organization_id,
        name="mallory's",
        role_bindings=[NewBinding(draw_role(world, dice), kind, resource_id)],
    )
    world.controlled.add((PrincipalType.SERVICE_ACCOUNT, account.pk))


def take_over_account(world: World, dice: Dice) -> None:
    """The new secret of a service account that others made."""
    account = dice.row(ServiceAccount, organization_id=world.organization_id)
    rotate_secret(actor=world.actor(), account_id=account.pk)
    world.controlled.add((PrincipalType.SERVICE_ACCOUNT, account.pk))


Act = Callable[[World, Dice], None]
ACTS: tuple[Act, ...] = (
    *(give, give, take, invite, join, join, join, make_group, make_role, widen),
    *(make_api_key, change_api_key, take_over_key, make_account, take_over_account),
)

NUMBERS = st.lists(st.integers(0, 9999), min_size=8, max_size=8)


class CeilingTests:
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        gives=st.sets(st.sampled_from(GIVING), min_size=3),
        more=st.sets(st.sampled_from(list(Permission)), max_size=6),
        in_project=st.sets(st.sampled_from(sorted(GRANTABLE["project"])), max_size=8),
        plan=st.lists(st.tuples(st.sampled_from(ACTS), NUMBERS), min_size=3, max_size=8),
    )
    def test_no_sequence_of_acts_gives_anybody_more_than_who_acts_has(
        self,
        world: World,
        gives: set[Permission],
        more: set[Permission],
        in_project: set[Permission],
        plan: list[tuple[Act, list[int]]],
    ) -> None:
        with undone():
            world.controlled.clear()
            arm(world, ResourceType.ORGANIZATION, gives | more)
            arm(world, ResourceType.PROJECT, in_project)
            times = (None, timezone.now() + timedelta(days=365))
            before = {at: world.rights(at) for at in times}
            me = (PrincipalType.USER, world.mallory)
            mine = {scope: before[None][me, scope] for scope in world.scopes}
            for act, numbers in plan:
                try:
                    with transaction.atomic():
                        act(world, Dice(iter(numbers)))
                except Refused:
                    continue
                self.check(world, times, before, mine, act.__name__)

    def check(
        self,
        world: World,
        times: tuple[datetime | None, ...],
        before: dict[datetime | None, Rights],
        mine: dict[tuple[UUID | None, UUID | None], frozenset[Permission]],
        act: str,
    ) -> None:
        """Nobody beyond what they or Mallory had, nothing of hers beyond what she had."""
        for at in times:
            for (principal, scope), held in world.rights(at).items():
                had = before[at].get((principal, scope), frozenset())
                assert held <= had | mine[scope], f"{act}: {principal} gained too much"
                if principal in world.controlled:
                    assert held <= mine[scope], f"{act}: {principal} is hers and can do more"

    def test_every_act_succeeds_for_who_may_do_everything(self, world: World) -> None:
        """Else the property above would hold because nothing ever happens."""
        done: set[str] = set()
        with undone():
            grant_role(
                actor=SYSTEM,
                organization_id=world.organization_id,
                principal=(PrincipalType.USER, world.mallory),
                role=Role.ORG_OWNER.value,
                resource=(ResourceType.ORGANIZATION, None),
            )
            for act, start in product(dict.fromkeys(ACTS), range(40)):
                if act.__name__ not in done:
                    with suppress(Refused), undone():
                        act(world, Dice(count(start, 7)))
                        done.add(act.__name__)
        assert done == {act.__name__ for act in ACTS}

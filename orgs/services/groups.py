"""Groups: people who hold roles together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.errors import AlreadyExists, no_such
from orgs.models import Group, GroupMembership, Membership, PrincipalType, RoleBinding, User
from orgs.permissions import Permission, authorize
from orgs.removal import remove_binding
from orgs.selectors.bindings import not_over
from orgs.services.bindings import check_bindings_ceiling
from orgs.services.checks import VersionCheck, any_version, check_name, check_text
from orgs.services.managed import check_unmanaged_group
from orgs.services.owners import keeping_an_owner, lock_organization

NAME_LENGTH = 80
DESCRIPTION_LENGTH = 500


@transaction.atomic
def create_group(*, actor: Actor, organization_id: UUID, name: str, description: str = "") -> Group:
    """A group without people and roles.

    Raises:
        NotFound, PermissionDenied: the actor may not make groups there.
        InvalidArgument: a name or description that breaks its rule.
        AlreadyExists: the name is taken, in whatever case.
    """
    _authorize(actor, organization_id)
    lock_organization(organization_id)
    group = Group(
        organization_id=organization_id,
        name=check_name(name, "group", limit=NAME_LENGTH),
        description=check_text(description, "description", limit=DESCRIPTION_LENGTH),
    )
    _save(group)
    _record(EventType.GROUP_CREATED, actor, group, detail={"description": group.description})
    return group


@transaction.atomic
def update_group(
    *,
    actor: Actor,
    organization_id: UUID,
    group_id: UUID,
    name: str | None = None,
    description: str | None = None,
    check: VersionCheck = any_version,
) -> Group:
    """Rename or describe a group.

    Args:
        check: raises where the version is not the one that the actor has seen; asked under a lock.

    Raises:
        NotFound: there is no such group.
        PermissionDenied: the actor may not change groups there.
        InvalidArgument: a name or description that breaks its rule.
        AlreadyExists: the name is taken, in whatever case.
        Aborted: a directory decides on the name.
    """
    _authorize(actor, organization_id)
    lock_organization(organization_id)
    group = _found(organization_id, group_id)
    if name is not None:
        check_unmanaged_group(actor, group.pk)
    check(group.version)
    before = {"name": group.name, "description": group.description}
    if name is not None:
        group.name = check_name(name, "group", limit=NAME_LENGTH)
    if description is not None:
        group.description = check_text(description, "description", limit=DESCRIPTION_LENGTH)
    after = {"name": group.name, "description": group.description}
    changes = {
        field: (before[field], after[field]) for field in before if before[field] != after[field]
    }
    if changes:
        group.version += 1
        _save(group)
        _record(EventType.GROUP_UPDATED, actor, group, changes=changes)
    return group


@transaction.atomic
def delete_group(
    *, actor: Actor, organization_id: UUID, group_id: UUID, check: VersionCheck = any_version
) -> None:
    """Delete a group and its roles; its people stay in the organization.

    Raises:
        NotFound: there is no such group.
        PermissionDenied: the actor may not delete groups there.
        Aborted: the last reachable owner owns the organization through it, or a directory keeps it.
    """
    _authorize(actor, organization_id)
    with keeping_an_owner(organization_id):
        group = _found(organization_id, group_id)
        check_unmanaged_group(actor, group.pk)
        check(group.version)
        for row in _bindings(group):
            remove_binding(
                actor=actor,
                row=row,
                reason="Group deleted",
                permission=Permission.GROUP_MANAGE.value,
            )
        _record(EventType.GROUP_DELETED, actor, group, detail={"count": group.memberships.count()})
        group.delete()


@transaction.atomic
def add_group_member(
    *, actor: Actor, organization_id: UUID, group_id: UUID, user_id: UUID
) -> GroupMembership:
    """Put a person into a group, which gives them all its roles.

    Raises:
        NotFound: there is no such group, or no such person in the organization.
        PermissionDenied: the actor may not change groups there, or the group can do more than the
            actor.
        AlreadyExists: the person is in it.
        Aborted: a directory decides who is in it.
    """
    _authorize(actor, organization_id)
    lock_organization(organization_id)
    group = _found(organization_id, group_id)
    check_unmanaged_group(actor, group.pk)
    membership = (
        Membership.objects.select_related("user")
        .filter(organization_id=organization_id, user_id=user_id)
        .first()
    )
    if membership is None:
        raise no_such(f"user {user_id}")
    check_bindings_ceiling(
        actor,
        list(
            not_over()
            .filter(principal_type=PrincipalType.GROUP, principal_id=group.pk)
            .select_related("custom_role")
        ),
    )
    try:
        with transaction.atomic():
            place = GroupMembership.objects.create(group=group, user=membership.user)
    except IntegrityError as error:
        raise AlreadyExists(f"The user {user_id} is in the group {group.name} already.") from error
    _record_member(EventType.GROUP_MEMBER_ADDED, actor, group, membership.user)
    return place


@transaction.atomic
def remove_group_member(
    *, actor: Actor, organization_id: UUID, group_id: UUID, user_id: UUID
) -> None:
    """Take a person out of a group, and its roles from them.

    Raises:
        NotFound: there is no such group, or the person is not in it.
        PermissionDenied: the actor may not change groups there.
        Aborted: the person is the last reachable owner, by this group, or a directory decides who
            is in it.
    """
    _authorize(actor, organization_id)
    with keeping_an_owner(organization_id):
        group = _found(organization_id, group_id)
        check_unmanaged_group(actor, group.pk)
        place = group.memberships.select_related("user").filter(user_id=user_id).first()
        if place is None:
            raise no_such(f"user {user_id} in the group {group_id}")
        place.delete()
        _record_member(EventType.GROUP_MEMBER_REMOVED, actor, group, place.user)


@transaction.atomic
def change_group_members(
    *,
    actor: Actor,
    organization_id: UUID,
    group_id: UUID,
    add: Collection[UUID],
    remove: Collection[UUID],
) -> None:
    """Put many people into a group and take others out, all or none.

    Who is in it already, is not, or has no place in the organization is passed over. Queries don't
    grow with the number of people, but for one audit event each.

    Raises:
        NotFound: there is no such group.
        PermissionDenied: the actor may not change groups there, or the group can do more than the
            actor.
        Aborted: the last reachable owner would go, by this group.
    """
    _authorize(actor, organization_id)
    with keeping_an_owner(organization_id):
        group = _found(organization_id, group_id)
        if add:
            check_bindings_ceiling(
                actor,
                list(
                    not_over()
                    .filter(principal_type=PrincipalType.GROUP, principal_id=group.pk)
                    .select_related("custom_role")
                ),
            )
        places = group.memberships.select_related("user")
        for place in places.filter(user_id__in=remove):
            _record_member(EventType.GROUP_MEMBER_REMOVED, actor, group, place.user)
        places.filter(user_id__in=remove).delete()
        new = User.objects.filter(pk__in=add, memberships__organization_id=organization_id).exclude(
            pk__in=group.memberships.values("user_id")
        )
        people = list(new.order_by("email"))
        GroupMembership.objects.bulk_create(
            GroupMembership(group=group, user=user) for user in people
        )
        for user in people:
            _record_member(EventType.GROUP_MEMBER_ADDED, actor, group, user)


def _authorize(actor: Actor, organization_id: UUID) -> None:
    authorize(
        actor,
        Permission.GROUP_MANAGE,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )


def _found(organization_id: UUID, group_id: UUID) -> Group:
    group = (
        Group.objects.select_for_update()
        .filter(organization_id=organization_id, pk=group_id)
        .first()
    )
    if group is None:
        raise no_such(f"group {group_id}")
    return group


def _bindings(group: Group) -> list[RoleBinding]:
    return list(
        RoleBinding.objects.filter(
            principal_type=PrincipalType.GROUP, principal_id=group.pk
        ).select_related("custom_role")
    )


def _save(group: Group) -> None:
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError as error:
        raise AlreadyExists(
            f"There is a group {group.name!r} already. Choose another name."
        ) from error


def _record(
    event: EventType,
    actor: Actor,
    group: Group,
    *,
    detail: Mapping[str, object] | None = None,
    changes: Mapping[str, tuple[object, object]] | None = None,
) -> None:
    record(
        event,
        actor=actor,
        organization_id=group.organization_id,
        resource=("group", group.pk, group.name),
        permission=Permission.GROUP_MANAGE.value,
        detail=detail,
        changes=changes,
    )


def _record_member(event: EventType, actor: Actor, group: Group, user: User) -> None:
    _record(event, actor, group, detail={"user_id": str(user.pk), "email": user.email})

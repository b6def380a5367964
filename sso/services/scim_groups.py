"""What a directory does to groups.

A group of the directory is a group of the organization. The directory decides on its name and its
members; what roles it holds its organization's owners decide.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import AlreadyExists, InvalidArgument, no_such
from orgs.models import GroupMembership
from orgs.permissions import Permission, authorize
from orgs.plans import Entitlement
from orgs.services.groups import change_group_members, create_group, delete_group, update_group
from orgs.services.owners import lock_organization
from sso.models import Connection, ScimGroup, ScimUser

EXTERNAL_ID_LENGTH = 255
MAX_CHANGES = 5000
"""So many people come into or out of a group by one request at most: each is an audit event."""


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group as the directory knows it.

    Attributes:
        external_id: the directory's own id; empty: it sent none.
        members: SCIM ids of people; not every one has to exist.
    """

    name: str
    external_id: str
    members: Collection[str]


@transaction.atomic
def create_scim_group(*, actor: Actor, connection: Connection, entry: GroupEntry) -> ScimGroup:
    """Make a group with its people.

    Raises:
        PermissionDenied: the plan has no directories.
        InvalidArgument: a name that breaks its rule, or members that the directory does not keep.
        AlreadyExists: the organization has a group of that name, or the directory one of that
            externalId.
    """
    _lock(actor, connection)
    organization_id = connection.organization_id
    try:
        group = create_group(actor=actor, organization_id=organization_id, name=entry.name)
    except AlreadyExists as error:
        raise _taken(entry) from error
    row = ScimGroup(connection=connection, group=group, external_id=entry.external_id)
    _save(row)
    _set_members(actor, row, entry.members)
    _record(EventType.SCIM_GROUP_CREATED, actor, row)
    return row


@transaction.atomic
def update_scim_group(
    *, actor: Actor, connection: Connection, scim_group_id: UUID, entry: GroupEntry
) -> ScimGroup:
    """Have the group be as the entry says.

    Raises:
        NotFound: the directory keeps no group of that id.
        PermissionDenied, InvalidArgument, AlreadyExists: as `create_scim_group`.
        Aborted: the last reachable owner would go, by this group.
    """
    _lock(actor, connection)
    row = _found(connection, scim_group_id)
    before = (row.group.name, row.external_id)
    try:
        row.group = update_group(
            actor=actor,
            organization_id=connection.organization_id,
            group_id=row.group_id,
            name=entry.name,
        )
    except AlreadyExists as error:
        raise _taken(entry) from error
    row.external_id = entry.external_id
    changed = _set_members(actor, row, entry.members)
    if changed or before != (row.group.name, row.external_id):
        row.version += 1
        _save(row)
        _record(EventType.SCIM_GROUP_UPDATED, actor, row)
    return row


@transaction.atomic
def delete_scim_group(*, actor: Actor, connection: Connection, scim_group_id: UUID) -> None:
    """Delete the group and its roles; its people stay.

    Raises:
        NotFound: the directory keeps no group of that id.
        PermissionDenied: the plan has no directories.
        Aborted: the last reachable owner owns the organization through it.
    """
    _lock(actor, connection)
    row = _found(connection, scim_group_id)
    _record(EventType.SCIM_GROUP_DELETED, actor, row)
    delete_group(actor=actor, organization_id=connection.organization_id, group_id=row.group_id)


def _lock(actor: Actor, connection: Connection) -> None:
    what = f"connection {connection.pk}"
    pk = connection.organization_id
    authorize(actor, Permission.GROUP_MANAGE, organization_id=pk, what=what)
    organization = lock_organization(pk)
    if organization is None:
        raise no_such(what)
    require(organization, Entitlement.SCIM)


def _found(connection: Connection, scim_group_id: UUID) -> ScimGroup:
    rows = ScimGroup.objects.select_for_update(of=("self",)).select_related("group")
    row = rows.filter(connection=connection, pk=scim_group_id).first()
    if row is None:
        raise no_such(f"Group {scim_group_id}")
    return row


def _taken(entry: GroupEntry) -> AlreadyExists:
    return AlreadyExists(
        f"The organization has a group {entry.name[:80]!r} already, made here or by another"
        " directory. Rename or delete it there, or send another displayName."
    )


def _save(row: ScimGroup) -> None:
    if len(row.external_id) > EXTERNAL_ID_LENGTH or not row.external_id.isprintable():
        raise InvalidArgument(
            f"externalId {row.external_id[:40]!r} has to have at most {EXTERNAL_ID_LENGTH}"
            " printable characters."
        )
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise AlreadyExists(
            f"There is a Group with the externalId {row.external_id!r} already."
        ) from error


def _set_members(actor: Actor, row: ScimGroup, members: Collection[str]) -> bool:
    """Have the directory's people in the group be these; whether that changed anything.

    People of whom the directory does not know stay.
    """
    wanted = _users(row.connection, members)
    known = ScimUser.objects.filter(connection=row.connection).values("user_id")
    present = set(
        GroupMembership.objects.filter(group_id=row.group_id, user_id__in=known).values_list(
            "user_id", flat=True
        )
    )
    add, remove = wanted - present, present - wanted
    if len(add) + len(remove) > MAX_CHANGES:
        raise InvalidArgument(
            f"The request changes {len(add) + len(remove)} members; at most {MAX_CHANGES} at a"
            " time. Send them in several requests."
        )
    if add or remove:
        change_group_members(
            actor=actor,
            organization_id=row.connection.organization_id,
            group_id=row.group_id,
            add=add,
            remove=remove,
        )
    return bool(add or remove)


def _users(connection: Connection, members: Collection[str]) -> set[UUID]:
    """Our ids of the people.

    Raises:
        InvalidArgument: the directory does not keep all of them.
    """
    found = {}
    for text in members:
        try:
            found[UUID(text)] = text
        except ValueError:
            raise _unknown(text) from None
    users = dict(ScimUser.objects.filter(connection=connection).values_list("pk", "user_id"))
    for pk, text in found.items():
        if pk not in users:
            raise _unknown(text)
    return {users[pk] for pk in found}


def _unknown(text: str) -> InvalidArgument:
    return InvalidArgument(
        f"There is no User {text[:80]!r}, so it can't be a member. Create the User first, and send"
        " its id; groups in groups are not kept."
    )


def _record(event: EventType, actor: Actor, row: ScimGroup) -> None:
    record(
        event,
        actor=actor,
        organization_id=row.connection.organization_id,
        resource=("scim_group", row.pk, row.group.name),
        permission=Permission.GROUP_MANAGE.value,
        detail={
            "connection_id": str(row.connection_id),
            "group_id": str(row.group_id),
            "external_id": row.external_id,
        },
    )

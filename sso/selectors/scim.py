"""Reading what directories keep here, and the tokens that they show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from orgs.actors import Actor
from orgs.models import GroupMembership
from sso.models import Connection, ScimGroup, ScimToken, ScimUser
from sso.selectors.connections import get_connection


def scim_tokens_of(actor: Actor, connection_id: UUID) -> QuerySet[ScimToken]:
    """The tokens of the connection's directory, oldest first, those that are over too.

    Raises:
        NotFound, PermissionDenied: as `get_connection`.
    """
    return get_connection(actor, connection_id).scim_tokens.all()


def token_by_lookup(lookup: str) -> ScimToken | None:
    """The token with its connection and organization, over or not."""
    rows = ScimToken.objects.select_related("connection__organization")
    return rows.filter(lookup=lookup).first()


def not_over() -> Q:
    """Tokens whose time is not over."""
    return Q(expires_at=None) | Q(expires_at__gt=timezone.now())


def users_of(connection: Connection) -> QuerySet[ScimUser]:
    """The people whom the connection's directory keeps here, in the order they came."""
    return ScimUser.objects.filter(connection=connection).select_related("user")


def groups_of(connection: Connection) -> QuerySet[ScimGroup]:
    """The groups that the connection's directory keeps here, in the order they came."""
    return ScimGroup.objects.filter(connection=connection).select_related("group")


@dataclass(frozen=True, slots=True)
class Related:
    """A group as its people show it: SCIM id and name."""

    id: UUID
    name: str


def groups_by_user(
    connection: Connection, users: Collection[ScimUser]
) -> dict[UUID, list[Related]]:
    """Which of the directory's groups each of its people is in, by name. One query."""
    found: dict[UUID, list[Related]] = defaultdict(list)
    rows = (
        GroupMembership.objects.filter(
            group__scim_group__connection=connection,
            user_id__in=[user.user_id for user in users],
        )
        .order_by("group__name", "group_id")
        .values_list("user_id", "group__scim_group__id", "group__name")
    )
    for user_id, group_id, name in rows:
        found[user_id].append(Related(group_id, name))
    return found


def members_by_group(
    connection: Connection, groups: Collection[ScimGroup]
) -> dict[UUID, list[UUID]]:
    """The SCIM ids of the people in each of the directory's groups, in the order they came in.

    People whom owners put there while the directory was switched off it does not know. Two queries.
    """
    places = GroupMembership.objects.filter(group_id__in=[group.group_id for group in groups])
    known = dict(
        ScimUser.objects.filter(
            connection=connection, user_id__in=places.values("user_id")
        ).values_list("user_id", "pk")
    )
    found: dict[UUID, list[UUID]] = defaultdict(list)
    for group_id, user_id in places.order_by("pk").values_list("group_id", "user_id"):
        if user_id in known:
            found[group_id].append(known[user_id])
    return found

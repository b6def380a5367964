"""`/admin/groups`: people who hold roles together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.bindings import ACCEPTED, FlipsSerializer, previewed
from orgs.models import Group, GroupMembership, PrincipalType
from orgs.selectors.groups import get_group, groups_of, members_of_group
from orgs.services import groups as services
from orgs.services.preview import preview
from rest.schema import DRY_RUN, IF_MATCH, PAGING, errors, page_of
from rest.serializers import Input


class NoFilter(Input):
    """Nothing to narrow the list to."""


class CreateGroup(Input):
    """A group to make."""

    name = serializers.CharField(max_length=services.NAME_LENGTH)
    description = serializers.CharField(
        max_length=services.DESCRIPTION_LENGTH, required=False, allow_blank=True
    )


class UpdateGroup(Input):
    """What to change; what is left out stays."""

    name = serializers.CharField(max_length=services.NAME_LENGTH, required=False)
    description = serializers.CharField(
        max_length=services.DESCRIPTION_LENGTH, required=False, allow_blank=True
    )


class AddGroupMember(Input):
    """The person to add."""

    user_id = serializers.UUIDField()


class GroupSerializer(serializers.Serializer[Group]):
    """A group; `version` is its `ETag`."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    member_count = serializers.IntegerField(source="size")
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class GroupMemberSerializer(serializers.Serializer[GroupMembership]):
    """A person in a group."""

    user_id = serializers.UUIDField()
    email = serializers.EmailField(source="user.email")
    added_at = serializers.DateTimeField(source="created_at")


class GroupsView(OrganizationView):
    """All groups."""

    @extend_schema(
        operation_id="list_groups",
        parameters=[*PAGING],
        responses={200: page_of(GroupSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's groups, oldest first."""
        self.query(NoFilter)
        return self.page(groups_of(self.actor, self.organization_id), GroupSerializer)

    @extend_schema(
        operation_id="create_group",
        request=CreateGroup,
        responses={201: GroupSerializer, **errors(400, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Make a group without people and roles."""
        group = services.create_group(
            actor=self.actor, organization_id=self.organization_id, **self.body(CreateGroup)
        )
        return self.answer(_shown(self, group.pk), status=201, version=group.version)


class GroupView(OrganizationView):
    """One group."""

    @extend_schema(
        operation_id="get_group",
        responses={200: GroupSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, group_id: UUID) -> Response:
        """The group."""
        found = _shown(self, group_id)
        return self.answer(found, version=found["version"])

    @extend_schema(
        operation_id="update_group",
        parameters=[IF_MATCH],
        request=UpdateGroup,
        responses={200: GroupSerializer, **errors(400, 403, 404, 409, 412)},
    )
    def patch(self, request: Request, group_id: UUID) -> Response:
        """Rename or describe the group."""
        group = services.update_group(
            actor=self.actor,
            organization_id=self.organization_id,
            group_id=group_id,
            check=self.check_version,
            **self.body(UpdateGroup),
        )
        return self.answer(_shown(self, group.pk), version=group.version)

    @extend_schema(
        operation_id="delete_group",
        parameters=[IF_MATCH],
        request=None,
        responses={202: ACCEPTED, **errors(400, 403, 404, 409, 412)},
    )
    def delete(self, request: Request, group_id: UUID) -> Response:
        """Delete the group with its roles; its people stay in the organization."""
        services.delete_group(
            actor=self.actor,
            organization_id=self.organization_id,
            group_id=group_id,
            check=self.check_version,
        )
        return self.answer(status=202)


class GroupMembersView(OrganizationView):
    """The people of one group."""

    @extend_schema(
        operation_id="list_group_members",
        parameters=[*PAGING],
        responses={200: page_of(GroupMemberSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request, group_id: UUID) -> Response:
        """The group's people, who came first first."""
        self.query(NoFilter)
        rows = members_of_group(self.actor, self.organization_id, group_id)
        return self.page(rows, GroupMemberSerializer)

    @extend_schema(
        operation_id="add_group_member",
        parameters=[DRY_RUN],
        request=AddGroupMember,
        responses={
            200: FlipsSerializer,
            201: GroupMemberSerializer,
            **errors(400, 403, 404, 409),
        },
    )
    def post(self, request: Request, group_id: UUID) -> Response:
        """Put a person into the group. With `dry_run` the answer is 200 and a preview."""
        user_id: UUID = self.body(AddGroupMember)["user_id"]

        def change() -> GroupMembership:
            return services.add_group_member(
                actor=self.actor,
                organization_id=self.organization_id,
                group_id=group_id,
                user_id=user_id,
            )

        if self.dry_run:
            return self.answer(_previewed(self, change, user_id))
        return self.answer(GroupMemberSerializer(change()).data, status=201)


class GroupMemberView(OrganizationView):
    """One person's place in a group."""

    @extend_schema(
        operation_id="remove_group_member",
        parameters=[DRY_RUN],
        request=None,
        responses={200: FlipsSerializer, 202: ACCEPTED, **errors(400, 403, 404, 409)},
    )
    def delete(self, request: Request, group_id: UUID, user_id: UUID) -> Response:
        """Take a person out of the group."""

        def change() -> None:
            services.remove_group_member(
                actor=self.actor,
                organization_id=self.organization_id,
                group_id=group_id,
                user_id=user_id,
            )

        if self.dry_run:
            return self.answer(_previewed(self, change, user_id))
        change()
        return self.answer(status=202)


def _shown(view: OrganizationView, group_id: UUID) -> dict[str, Any]:
    group = get_group(view.actor, view.organization_id, group_id)
    found: dict[str, Any] = dict(GroupSerializer(group).data)
    return found


def _previewed(
    view: OrganizationView, change: Callable[[], object], user_id: UUID
) -> dict[str, Any]:
    affected = frozenset({(PrincipalType.USER, user_id)})
    return previewed(
        preview(change, organization_id=view.organization_id, affected=lambda: affected)
    )

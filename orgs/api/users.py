"""`/admin/users`: the people of an organization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE, NoQuery
from orgs.models import User
from orgs.selectors.organizations import get_member, list_members
from orgs.services.checks import EMAIL_LENGTH
from orgs.services.members import remove_member
from rest.schema import PAGING, errors, page_of
from rest.serializers import Input


class UserFilter(Input):
    """What the list is narrowed to."""

    email = serializers.EmailField(
        max_length=EMAIL_LENGTH, required=False, help_text="The whole address, in whatever case."
    )


class UserSerializer(serializers.Serializer[User]):
    """A person. Their roles stand in role bindings."""

    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField(required=False, help_text="Left out where there is none.")

    def to_representation(self, instance: User) -> dict[str, Any]:
        """Without the name where there is none."""
        found: Mapping[str, Any] = super().to_representation(instance)
        return {field: value for field, value in found.items() if field != "name" or value}


class UsersView(OrganizationView):
    """All people."""

    @extend_schema(
        operation_id="list_users",
        parameters=[UserFilter, *PAGING],
        responses={200: page_of(UserSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's members, oldest account first."""
        email = self.query(UserFilter).get("email", "")
        return self.page(list_members(self.actor, self.organization_id, email), UserSerializer)


class UserView(OrganizationView):
    """One person."""

    @extend_schema(
        operation_id="get_user",
        responses={200: UserSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, user_id: UUID) -> Response:
        """The member; 404 also for somebody who has not accepted their invitation."""
        self.query(NoQuery)
        found = get_member(self.actor, self.organization_id, user_id)
        return self.answer(UserSerializer(found).data)

    @extend_schema(
        operation_id="delete_user",
        responses={202: DONE, **errors(400, 403, 404, 409)},
    )
    def delete(self, request: Request, user_id: UUID) -> Response:
        """Take the person out of the organization; the account stays.

        409 for the only owner who can come in.
        """
        remove_member(actor=self.actor, organization_id=self.organization_id, user_id=user_id)
        return self.answer(status=202)

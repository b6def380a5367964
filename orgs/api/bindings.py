"""`/admin/role-bindings`: who holds which role on what."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.models import PrincipalType, ResourceType, RoleBinding
from orgs.selectors.bindings import BindingFilters, get_binding, list_bindings
from orgs.selectors.reach import Flip, behind
from orgs.services.bindings import REASON_LENGTH, grant_role, revoke_role
from orgs.services.preview import preview
from rest.schema import DRY_RUN, PAGING, errors, page_of
from rest.serializers import Input

ROLE_LENGTH = 80


class RoleBindingFilter(Input):
    """What a list is narrowed to; all that are given have to match."""

    principal_type = serializers.ChoiceField(PrincipalType.choices, required=False)
    principal_id = serializers.UUIDField(required=False)
    resource_type = serializers.ChoiceField(ResourceType.choices, required=False)
    resource_id = serializers.UUIDField(required=False)
    role = serializers.CharField(max_length=ROLE_LENGTH, required=False)


class CreateRoleBinding(Input):
    """A role to give. `resource_id` may be left out for the organization."""

    principal_type = serializers.ChoiceField(PrincipalType.choices)
    principal_id = serializers.UUIDField()
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField(required=False, allow_null=True)
    role = serializers.CharField(
        max_length=ROLE_LENGTH,
        help_text="A predefined role, or the id or the name of one of the organization's own.",
    )
    reason = serializers.CharField(max_length=REASON_LENGTH, required=False, allow_blank=True)
    not_before = serializers.DateTimeField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class RoleBindingSerializer(serializers.Serializer[RoleBinding]):
    """One role of one principal on one resource. Never changed, only removed."""

    id = serializers.UUIDField()
    principal_type = serializers.ChoiceField(PrincipalType.choices)
    principal_id = serializers.UUIDField()
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField()
    project_id = serializers.UUIDField(
        allow_null=True, help_text="The project that the resource is or is in."
    )
    role = serializers.CharField(source="role_name")
    custom_role_id = serializers.UUIDField(allow_null=True, help_text="Null for predefined roles.")
    reason = serializers.CharField(allow_blank=True)
    granted_by = serializers.CharField()
    not_before = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class FlipSerializer(serializers.Serializer[Flip]):
    """What one principal gains and loses on one resource."""

    principal_type = serializers.ChoiceField(PrincipalType.choices)
    principal_id = serializers.UUIDField()
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField()
    project_id = serializers.UUIDField(allow_null=True)
    gained = serializers.ListField(child=serializers.CharField())
    lost = serializers.ListField(child=serializers.CharField())


class FlipsSerializer(serializers.Serializer[Any]):
    """What a change would flip. A project that is not listed changes as the organization does, an
    index as its project."""

    dry_run = serializers.BooleanField()
    flips = FlipSerializer(many=True)


def or_flips(output: type[serializers.Serializer[Any]]) -> PolymorphicProxySerializer:
    """The answer of an operation that answers a preview with `dry_run`."""
    return PolymorphicProxySerializer(
        component_name=f"{output.__name__.removesuffix('Serializer')}OrFlips",
        serializers=[output, FlipsSerializer],
        resource_type_field_name=None,
    )


ACCEPTED = OpenApiResponse(description="Done. With `dry_run` the answer is 200 and a preview.")


def previewed(found: list[Flip]) -> dict[str, Any]:
    """The body of a dry run."""
    return {"dry_run": True, "flips": FlipSerializer(cast("Any", found), many=True).data}


class RoleBindingsView(OrganizationView):
    """All role bindings."""

    @extend_schema(
        operation_id="list_role_bindings",
        parameters=[RoleBindingFilter, *PAGING],
        responses={200: page_of(RoleBindingSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The role bindings that the caller may see, oldest first."""
        filters = BindingFilters(**self.query(RoleBindingFilter))
        rows = list_bindings(self.actor, self.organization_id, filters)
        return self.page(rows, RoleBindingSerializer)

    @extend_schema(
        operation_id="create_role_binding",
        parameters=[DRY_RUN],
        request=CreateRoleBinding,
        responses={200: or_flips(RoleBindingSerializer), **errors(400, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Give a role. With `dry_run` the answer is `{"dry_run": true, "flips": […]}`."""
        form = self.body(CreateRoleBinding)
        principal = (PrincipalType(form["principal_type"]), form["principal_id"])
        not_before = form.get("not_before")

        def change() -> RoleBinding:
            return grant_role(
                actor=self.actor,
                organization_id=self.organization_id,
                principal=principal,
                role=form["role"],
                resource=(ResourceType(form["resource_type"]), form.get("resource_id")),
                reason=form.get("reason", ""),
                period=(not_before, form.get("expires_at")),
            )

        if self.dry_run:
            return self.answer(
                previewed(
                    preview(
                        change,
                        organization_id=self.organization_id,
                        affected=lambda: behind(principal),
                        at=not_before,
                    )
                )
            )
        return self.answer(RoleBindingSerializer(change()).data)


class RoleBindingView(OrganizationView):
    """One role binding."""

    @extend_schema(
        operation_id="get_role_binding",
        responses={200: RoleBindingSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, binding_id: UUID) -> Response:
        """The role binding."""
        row = get_binding(self.actor, self.organization_id, binding_id)
        return self.answer(RoleBindingSerializer(row).data)

    @extend_schema(
        operation_id="delete_role_binding",
        parameters=[DRY_RUN],
        request=None,
        responses={200: FlipsSerializer, 202: ACCEPTED, **errors(400, 403, 404, 409)},
    )
    def delete(self, request: Request, binding_id: UUID) -> Response:
        """Take a role away, at once."""

        def change() -> None:
            revoke_role(
                actor=self.actor, organization_id=self.organization_id, binding_id=binding_id
            )

        if self.dry_run:
            row = get_binding(self.actor, self.organization_id, binding_id)
            principal = (PrincipalType(row.principal_type), row.principal_id)
            return self.answer(
                previewed(
                    preview(
                        change,
                        organization_id=self.organization_id,
                        affected=lambda: behind(principal),
                        at=row.not_before,
                    )
                )
            )
        change()
        return self.answer(status=202)

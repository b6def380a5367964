"""`/admin/roles` and `/admin/permissions`: what roles there are and what they allow."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.bindings import ACCEPTED, or_flips, previewed
from orgs.api.groups import NoFilter
from orgs.models import CustomRole, ResourceType
from orgs.permissions import (
    ACCESS_ROLES,
    BINDABLE,
    DANGEROUS,
    GRANTABLE,
    PERMISSION_HELP,
    ROLE_HELP,
    ROLES,
    Permission,
    Role,
)
from orgs.role_hints import Hint, hints_for
from orgs.selectors.roles import custom_roles, get_custom_role
from orgs.services import roles as services
from orgs.services.preview import preview
from rest.schema import DRY_RUN, IF_MATCH, errors
from rest.serializers import Input


class CreateRole(Input):
    """A role to make."""

    name = serializers.CharField(max_length=services.NAME_LENGTH)
    description = serializers.CharField(
        max_length=services.DESCRIPTION_LENGTH, required=False, allow_blank=True
    )
    resource_type = serializers.ChoiceField(
        ResourceType.choices, help_text="What it can be held on."
    )
    permissions = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, allow_empty=False
    )


class UpdateRole(Input):
    """What to change; what is left out stays."""

    name = serializers.CharField(max_length=services.NAME_LENGTH, required=False)
    description = serializers.CharField(
        max_length=services.DESCRIPTION_LENGTH, required=False, allow_blank=True
    )
    permissions = serializers.ListField(
        child=serializers.CharField(max_length=64),
        max_length=100,
        allow_empty=False,
        required=False,
    )


class HintSerializer(serializers.Serializer[Hint]):
    """Something to think about."""

    code = serializers.ChoiceField(["incomplete", "escalation"])
    permission = serializers.CharField()
    message = serializers.CharField()


class RoleSerializer(serializers.Serializer[Any]):
    """A role. `id` is null for predefined ones, which are known by name."""

    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()
    predefined = serializers.BooleanField()
    description = serializers.CharField(allow_blank=True)
    resource_types = serializers.ListField(child=serializers.ChoiceField(ResourceType.choices))
    for_api_keys = serializers.BooleanField(help_text="Whether an API key may hold it.")
    permissions = serializers.ListField(child=serializers.CharField())
    holders = serializers.IntegerField(
        allow_null=True, help_text="How many role bindings name it; null for predefined ones."
    )
    hints = HintSerializer(many=True)
    version = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField(allow_null=True)


class RoleListSerializer(serializers.Serializer[Any]):
    """All roles."""

    data = RoleSerializer(many=True)  # type: ignore[assignment]  # a field of that name


class PermissionSerializer(serializers.Serializer[Any]):
    """A permission and where roles that include it can be held."""

    name = serializers.CharField()
    description = serializers.CharField()
    resource_types = serializers.ListField(child=serializers.ChoiceField(ResourceType.choices))
    needs_fresh_sign_in = serializers.BooleanField()


class PermissionListSerializer(serializers.Serializer[Any]):
    """All permissions."""

    data = PermissionSerializer(many=True)  # type: ignore[assignment]  # likewise


class PermissionsView(OrganizationView):
    """What roles can be built from."""

    @extend_schema(
        operation_id="list_permissions",
        responses={200: PermissionListSerializer, **errors(400)},
    )
    def get(self, request: Request) -> Response:
        """Every permission; the same in every organization."""
        self.query(NoFilter)
        rows = [
            {
                "name": each.value,
                "description": PERMISSION_HELP[each],
                "resource_types": [kind for kind in GRANTABLE if each in GRANTABLE[kind]],
                "needs_fresh_sign_in": each in DANGEROUS,
            }
            for each in Permission
        ]
        return self.answer({"data": PermissionSerializer(rows, many=True).data})


class RolesView(OrganizationView):
    """All roles."""

    @extend_schema(
        operation_id="list_roles",
        responses={200: RoleListSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The predefined roles, then the organization's own by name."""
        self.query(NoFilter)
        own = custom_roles(self.actor, self.organization_id)
        rows = [*map(_predefined, Role), *map(_own, own)]
        return self.answer({"data": RoleSerializer(rows, many=True).data})

    @extend_schema(
        operation_id="create_role",
        request=CreateRole,
        responses={201: RoleSerializer, **errors(400, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Make a role of the organization's own."""
        form = self.body(CreateRole)
        form["resource_type"] = ResourceType(form["resource_type"])
        role = services.create_role(actor=self.actor, organization_id=self.organization_id, **form)
        return self.answer(RoleSerializer(_own(role)).data, status=201, version=role.version)


class RoleView(OrganizationView):
    """One role of the organization's own."""

    @extend_schema(
        operation_id="get_role",
        responses={200: RoleSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, role_id: UUID) -> Response:
        """The role."""
        role = get_custom_role(self.actor, self.organization_id, role_id)
        return self.answer(RoleSerializer(_own(role)).data, version=role.version)

    @extend_schema(
        operation_id="update_role",
        parameters=[IF_MATCH, DRY_RUN],
        request=UpdateRole,
        responses={200: or_flips(RoleSerializer), **errors(400, 403, 404, 409, 412)},
    )
    def patch(self, request: Request, role_id: UUID) -> Response:
        """Change the role, for everybody who holds it. With `dry_run`: a preview."""
        form = self.body(UpdateRole)

        def change() -> CustomRole:
            return services.update_role(
                actor=self.actor,
                organization_id=self.organization_id,
                role_id=role_id,
                check=self.check_version,
                **form,
            )

        if self.dry_run:
            return self.answer(
                previewed(
                    preview(
                        change,
                        organization_id=self.organization_id,
                        affected=lambda: services.holders_of(self.organization_id, role_id),
                    )
                )
            )
        role = change()
        return self.answer(RoleSerializer(_own(role)).data, version=role.version)

    @extend_schema(
        operation_id="delete_role",
        parameters=[IF_MATCH],
        request=None,
        responses={202: ACCEPTED, **errors(400, 403, 404, 412)},
    )
    def delete(self, request: Request, role_id: UUID) -> Response:
        """Delete the role; refused while somebody holds it."""
        services.delete_role(
            actor=self.actor,
            organization_id=self.organization_id,
            role_id=role_id,
            check=self.check_version,
        )
        return self.answer(status=202)


def _predefined(role: Role) -> dict[str, Any]:
    return {
        "id": None,
        "name": role.value,
        "predefined": True,
        "description": ROLE_HELP[role],
        "resource_types": [kind for kind in BINDABLE if role in BINDABLE[kind]],
        "for_api_keys": role in ACCESS_ROLES,
        "permissions": sorted(ROLES[role]),
        "holders": None,
        "hints": [],
        "version": None,
        "created_at": None,
        "updated_at": None,
    }


def _own(role: CustomRole) -> dict[str, Any]:
    holders = getattr(role, "holders", None)
    return {
        "id": role.pk,
        "name": role.name,
        "predefined": False,
        "description": role.description,
        "resource_types": [role.resource_type],
        "for_api_keys": False,
        "permissions": role.permissions,
        "holders": role.bindings.count() if holders is None else holders,
        "hints": hints_for(role.permissions),
        "version": role.version,
        "created_at": role.created_at,
        "updated_at": role.updated_at,
    }

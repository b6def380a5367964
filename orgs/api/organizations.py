"""`/admin/organizations`: organizations, what they are entitled to, and leaving them."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.entitlements import entitlements
from orgs.errors import PermissionDenied
from orgs.models import Organization, User
from orgs.plans import LIMITS, Entitlement, Plan, Value
from orgs.selectors.organizations import (
    get_organization,
    organizations_visible_to,
    seats_taken,
)
from orgs.services import organizations as services
from orgs.services.checks import NAME_LENGTH
from orgs.services.members import leave_organization
from rest.schema import IF_MATCH, errors
from rest.serializers import Input

DONE = OpenApiResponse(description="Done, effective at once.")


class NoQuery(Input):
    """Nothing that could be asked for."""


class OrganizationName(Input):
    """The name, which need not be unique."""

    name = serializers.CharField(max_length=NAME_LENGTH)


class OrganizationSerializer(serializers.Serializer[Organization]):
    """An organization."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    plan = serializers.ChoiceField([plan.value for plan in Plan])
    payment_status = serializers.ChoiceField(Organization.PaymentStatus.choices)
    created_at = serializers.DateTimeField()
    support_tier = serializers.ChoiceField(Organization.SupportTier.choices)


class OrganizationsSerializer(serializers.Serializer[Any]):
    """Organizations, all of them."""

    data = OrganizationSerializer(many=True)  # type: ignore[assignment]  # a field of that name


class EntitlementSerializer(serializers.Serializer[Any]):
    """A switch or a limit, and why it is as it is."""

    name = serializers.ChoiceField([each.value for each in Entitlement])
    kind = serializers.ChoiceField(["switch", "limit"])
    enabled = serializers.BooleanField(help_text="For a limit: whether there can be any.")
    limit = serializers.IntegerField(allow_null=True, help_text="Null: a switch, or unlimited.")
    used = serializers.IntegerField(allow_null=True, help_text="Null where it isn't counted here.")
    source = serializers.ChoiceField(["plan", "operator"])  # type: ignore[assignment]  # likewise
    reason = serializers.CharField()


class EntitlementsSerializer(serializers.Serializer[Any]):
    """Everything that can be on or off or limited."""

    plan = serializers.ChoiceField([plan.value for plan in Plan])
    data = EntitlementSerializer(many=True)  # type: ignore[assignment]  # likewise


class OrganizationsView(OrganizationView):
    """All organizations of the caller."""

    @extend_schema(
        operation_id="list_organizations",
        responses={200: OrganizationsSerializer, **errors(400)},
    )
    def get(self, request: Request) -> Response:
        """The organizations that the caller belongs to, by name. The list comes whole."""
        self.query(NoQuery)
        rows = organizations_visible_to(self.actor)
        return self.answer({"data": OrganizationSerializer(cast("Any", rows), many=True).data})

    @extend_schema(
        operation_id="create_organization",
        request=OrganizationName,
        responses={201: OrganizationSerializer, **errors(400, 403)},
    )
    def post(self, request: Request) -> Response:
        """Make an organization of one's own; for people who own one already."""
        name = self.body(OrganizationName)["name"]
        if self.actor.kind != "user":
            raise PermissionDenied("Only people make organizations, for themselves.")
        made = services.create_organization(
            actor=self.actor, name=name, owner=User.objects.get(pk=UUID(self.actor.id))
        )
        return self.answer(OrganizationSerializer(made).data, status=201, version=made.version)


class SingleOrganizationView(OrganizationView):
    """One organization."""

    @extend_schema(
        operation_id="get_organization",
        responses={200: OrganizationSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, organization_id: UUID) -> Response:
        """The organization."""
        self.query(NoQuery)
        found = get_organization(self.actor, organization_id)
        return self.answer(OrganizationSerializer(found).data, version=found.version)

    @extend_schema(
        operation_id="update_organization",
        parameters=[IF_MATCH],
        request=OrganizationName,
        responses={200: OrganizationSerializer, **errors(400, 403, 404, 412)},
    )
    def patch(self, request: Request, organization_id: UUID) -> Response:
        """Give it another name."""
        changed = services.rename_organization(
            actor=self.actor,
            organization_id=organization_id,
            name=self.body(OrganizationName)["name"],
            check=self.check_version,
        )
        return self.answer(OrganizationSerializer(changed).data, version=changed.version)

    @extend_schema(
        operation_id="delete_organization",
        parameters=[IF_MATCH],
        responses={202: DONE, **errors(400, 403, 404, 412)},
    )
    def delete(self, request: Request, organization_id: UUID) -> Response:
        """Delete it for good, its service accounts too, the caller among them.

        412 while it has projects, or while its payment status is not `Active`.
        """
        services.delete_organization(
            actor=self.actor, organization_id=organization_id, check=self.check_version
        )
        return self.answer(status=202)


class EntitlementsView(OrganizationView):
    """What one organization may use."""

    @extend_schema(
        operation_id="get_entitlements",
        responses={200: EntitlementsSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, organization_id: UUID) -> Response:
        """What is on and what is limited, and why: by the plan, or by the operator."""
        self.query(NoQuery)
        found = get_organization(self.actor, organization_id)
        used = {Entitlement.MAX_MEMBERS: seats_taken(found.pk)}
        data = [
            {
                "name": name.value,
                "kind": "limit" if name in LIMITS else "switch",
                "enabled": _is_on(name, each.value),
                "limit": each.value if name in LIMITS else None,
                "used": used.get(name),
                "source": each.source,
                "reason": each.reason,
            }
            for name, each in entitlements(found).items()
        ]
        return self.answer({"plan": found.plan, "data": data})


def _is_on(name: Entitlement, value: Value) -> bool:
    return value != 0 if name in LIMITS else value is True


class LeaveView(OrganizationView):
    """Leaving."""

    @extend_schema(
        operation_id="leave_organization",
        request=None,
        responses={202: DONE, **errors(400, 403, 404, 409)},
    )
    def post(self, request: Request, organization_id: UUID) -> Response:
        """Give up one's own place. 409 for the only owner who can come in."""
        leave_organization(actor=self.actor, organization_id=organization_id)
        return self.answer(status=202)

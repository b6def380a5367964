"""`/admin/decisions`: what was denied, why, and what would allow it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.models import Decision, PrincipalType, ResourceType, User
from orgs.permissions import Permission
from orgs.selectors.decisions import (
    IN_FORCE,
    Help,
    decisions_of,
    explained,
    get_decision,
    people_to_ask,
    place_of,
)
from orgs.selectors.explanations import explain
from rest.schema import PAGING, errors, page_of
from rest.serializers import Input


class DecisionFilter(Input):
    """What a list is narrowed to; all that are given have to match."""

    actor_id = serializers.CharField(max_length=64, required=False)
    permission = serializers.ChoiceField([each.value for each in Permission], required=False)


class ExplainRequest(Input):
    """A question: may this principal do that there?"""

    principal_type = serializers.ChoiceField(PrincipalType.choices)
    principal_id = serializers.UUIDField()
    permission = serializers.ChoiceField([each.value for each in Permission])
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField(required=False, allow_null=True)


class DecisionActorSerializer(serializers.Serializer[Decision]):
    """Who was denied."""

    kind = serializers.CharField(source="actor_kind")
    id = serializers.CharField(source="actor_id")
    label = serializers.CharField(source="actor_label")  # type: ignore[assignment]  # a field


class RuleSerializer(serializers.Serializer[Any]):
    """A role binding that applied."""

    binding_id = serializers.UUIDField(allow_null=True)
    role = serializers.CharField()
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField()
    project_id = serializers.UUIDField(allow_null=True)
    group_id = serializers.UUIDField(
        allow_null=True, help_text="The group that it is held through."
    )
    group = serializers.CharField(allow_blank=True)
    includes = serializers.BooleanField(help_text="Whether the role has the permission there.")
    state = serializers.ChoiceField(["in_force", "expired", "not_yet"])
    not_before = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


class MissSerializer(serializers.Serializer[Any]):
    """The role binding that came closest, and why it does not help."""

    rule = RuleSerializer()
    why = serializers.CharField()


class GrantSerializer(serializers.Serializer[Any]):
    """A role that would allow it, with the fewest permissions, on the narrowest resource."""

    role = serializers.CharField()
    custom_role_id = serializers.UUIDField(allow_null=True)
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField()


class PersonSerializer(serializers.Serializer[Any]):
    """Somebody to ask."""

    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField(allow_blank=True)


class WhoCanGrantSerializer(serializers.Serializer[Any]):
    """How many people can give that role, and the first of them where the caller sees people."""

    count = serializers.IntegerField()
    people = PersonSerializer(many=True, allow_null=True)


class DecisionSummarySerializer(serializers.Serializer[Decision]):
    """A denial."""

    id = serializers.UUIDField()
    permission = serializers.CharField()
    resource_type = serializers.SerializerMethodField()
    resource_id = serializers.SerializerMethodField()
    project_id = serializers.UUIDField(allow_null=True)
    what = serializers.CharField()
    hidden = serializers.BooleanField(help_text="Whether the answer was 404.")
    reason = serializers.CharField(
        allow_blank=True, help_text="Why roles did not count; empty: they lack the permission."
    )
    actor = DecisionActorSerializer(source="*")
    count = serializers.IntegerField(help_text="How often within that minute.")
    created_at = serializers.DateTimeField()
    request_id = serializers.CharField(allow_blank=True)

    def get_resource_type(self, row: Decision) -> str:
        """The kind of what was asked for."""
        return place_of(row).resource_type.value

    def get_resource_id(self, row: Decision) -> str:
        """The id of what was asked for, or of what contains it."""
        return str(place_of(row).resource_id)


class DecisionSerializer(DecisionSummarySerializer):
    """A denial with its explanation."""

    trace = RuleSerializer(many=True)
    nearest_miss = MissSerializer(allow_null=True)
    smallest_grant = GrantSerializer(allow_null=True)
    who_can_grant = WhoCanGrantSerializer()


class ExplanationSerializer(serializers.Serializer[Any]):
    """Why, and what would change it. The security baseline, which depends on where somebody comes
    from, is not looked at."""

    allowed = serializers.BooleanField()
    permission = serializers.CharField()
    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField()
    trace = RuleSerializer(many=True)
    nearest_miss = MissSerializer(allow_null=True)
    smallest_grant = GrantSerializer(allow_null=True)
    who_can_grant = WhoCanGrantSerializer()


class DecisionsView(OrganizationView):
    """All denials."""

    @extend_schema(
        operation_id="list_decisions",
        parameters=[DecisionFilter, *PAGING],
        responses={200: page_of(DecisionSummarySerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """What was denied in the organization within 30 days, newest first."""
        rows = decisions_of(self.actor, self.organization_id).filter(**self.query(DecisionFilter))
        return self.page(rows, DecisionSummarySerializer, order=("-created_at", "-id"))


class DecisionView(OrganizationView):
    """One denial."""

    @extend_schema(
        operation_id="get_decision",
        responses={200: DecisionSerializer, **errors(400, 404)},
    )
    def get(self, request: Request, decision_id: UUID) -> Response:
        """Why, and what would allow it: for who was denied, and for who reads the audit trail."""
        row = get_decision(self.actor, decision_id)
        found, people = explained(self.actor, row)
        return self.answer(
            {
                **DecisionSummarySerializer(row).data,
                "trace": row.trace,
                **_help(found, people),
            }
        )


class ExplainView(OrganizationView):
    """Questions about who may do what."""

    @extend_schema(
        operation_id="explain_decision",
        request=ExplainRequest,
        responses={200: ExplanationSerializer, **errors(400, 403, 404)},
    )
    def post(self, request: Request) -> Response:
        """Whether a principal may do something, by which roles, or what would allow it."""
        form = self.body(ExplainRequest)
        place, rules, found = explain(
            actor=self.actor,
            organization_id=self.organization_id,
            principal=(PrincipalType(form["principal_type"]), form["principal_id"]),
            permission=Permission(form["permission"]),
            resource=(ResourceType(form["resource_type"]), form.get("resource_id")),
        )
        return self.answer(
            {
                "allowed": any(rule.includes and rule.state == IN_FORCE for rule in rules),
                "permission": form["permission"],
                "resource_type": place.resource_type,
                "resource_id": place.resource_id,
                "trace": RuleSerializer(rules, many=True).data,
                **_help(found, people_to_ask(self.actor, self.organization_id, found)),
            }
        )


def _help(found: Help, people: list[User] | None) -> dict[str, Any]:
    """The explanation; people are named to those only who see the organization's people."""
    return {
        "nearest_miss": MissSerializer(found.nearest_miss).data if found.nearest_miss else None,
        "smallest_grant": (
            GrantSerializer(found.smallest_grant).data if found.smallest_grant else None
        ),
        "who_can_grant": WhoCanGrantSerializer(
            {"count": len(found.who_can_grant), "people": people}
        ).data,
    }

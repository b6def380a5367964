"""`/admin/organizations/{id}/security-baseline`: what is demanded of everybody who comes in."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import NoQuery
from orgs.baseline import LockedOut
from orgs.models import SecurityBaseline
from orgs.selectors.baseline import get_baseline
from orgs.services import baseline as services
from rest.schema import DRY_RUN, IF_MATCH, errors
from rest.serializers import Input

SHOWN = 1000


class UpdateSecurityBaseline(Input):
    """What to change; what is left out stays, null takes a limit away."""

    mfa_required = serializers.BooleanField(required=False)
    session_hours = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=services.SESSION_HOURS[0],
        max_value=services.SESSION_HOURS[-1],
        help_text="Hours until a sign-in ends, however busy.",
    )
    max_key_age_days = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=services.KEY_AGE_DAYS[0],
        max_value=services.KEY_AGE_DAYS[-1],
        help_text="Days until the secret of an API key stops working, for existing ones too.",
    )
    ip_ranges = serializers.ListField(
        child=serializers.CharField(max_length=services.RANGE_LENGTH),
        required=False,
        max_length=services.MAX_RANGES,
        help_text="CIDR ranges that everybody has to come from; empty: from anywhere.",
    )
    force = serializers.BooleanField(
        required=False, help_text="Do it although it locks the caller out."
    )


class SecurityBaselineSerializer(serializers.Serializer[SecurityBaseline]):
    """The demands; `version` is their `ETag`, 0 where nothing was ever demanded."""

    mfa_required = serializers.BooleanField()
    session_hours = serializers.IntegerField(allow_null=True)
    max_key_age_days = serializers.IntegerField(allow_null=True)
    ip_ranges = serializers.ListField(child=serializers.CharField())
    version = serializers.IntegerField()
    updated_at = serializers.DateTimeField(allow_null=True)


class LockedOutSerializer(serializers.Serializer[LockedOut]):
    """Somebody or something that the demands keep out."""

    kind = serializers.CharField()
    id = serializers.UUIDField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of that name
    reason = serializers.CharField()


class BaselineOutcomeSerializer(SecurityBaselineSerializer):
    """The demands after the change, or as they would be, and whom they keep out."""

    dry_run = serializers.BooleanField()
    locked_out_count = serializers.IntegerField()
    locked_out = LockedOutSerializer(many=True, help_text=f"The first {SHOWN}.")


class SecurityBaselineView(OrganizationView):
    """The demands of one organization."""

    @extend_schema(
        operation_id="get_security_baseline",
        responses={200: SecurityBaselineSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, organization_id: UUID) -> Response:
        """What the organization demands; every member may know."""
        self.query(NoQuery)
        found = get_baseline(self.actor, organization_id)
        return self.answer(SecurityBaselineSerializer(found).data, version=found.version)

    @extend_schema(
        operation_id="update_security_baseline",
        parameters=[IF_MATCH, DRY_RUN],
        request=UpdateSecurityBaseline,
        responses={200: BaselineOutcomeSerializer, **errors(400, 403, 404, 412)},
    )
    def patch(self, request: Request, organization_id: UUID) -> Response:
        """Change the demands. `dry_run` changes nothing and lists whom they would keep out.

        412 where the caller would be locked out, unless `force` is true.
        """
        changes = self.body(UpdateSecurityBaseline)
        outcome = services.update_baseline(
            actor=self.actor,
            organization_id=organization_id,
            force=changes.pop("force", False),
            changes=changes,
            dry_run=self.dry_run,
            check=self.check_version,
        )
        return self.answer(_shown(outcome, self.dry_run), version=outcome.baseline.version)


def _shown(outcome: services.Outcome, dry_run: bool) -> dict[str, Any]:
    shown = outcome.locked_out[:SHOWN]
    return {
        **SecurityBaselineSerializer(outcome.baseline).data,
        "dry_run": dry_run,
        "locked_out_count": len(outcome.locked_out),
        "locked_out": LockedOutSerializer(cast("Any", shown), many=True).data,
    }

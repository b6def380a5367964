"""Workload identity federation: issuers, rules and the rule tester."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.federation import MAX_CONDITIONS, MAX_PATTERN
from keys.models import OidcIssuer
from keys.selectors.federation import get_issuer, get_rule, issuers_of, rules_of
from keys.services.federation import (
    TEXT_LENGTH,
    create_issuer,
    create_rule,
    delete_issuer,
    delete_rule,
    try_token,
    update_issuer,
    update_rule,
)
from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE, NoQuery
from orgs.errors import InvalidArgument
from rest.schema import IF_MATCH, PAGING, errors, page_of
from rest.serializers import Input
from rest.views import rendered


class ConditionsField(serializers.DictField):
    """`{claim: pattern}`; `*` in a pattern stands for any characters."""

    child = serializers.CharField(max_length=MAX_PATTERN, trim_whitespace=False)

    def to_internal_value(self, data: Any) -> Any:
        """The conditions; REST framework by itself would take 5 for a string.

        Raises:
            ValidationError: a pattern that is no string.
        """
        if isinstance(data, dict) and not all(isinstance(each, str) for each in data.values()):
            raise serializers.ValidationError("has to hold strings only, one for each claim.")
        return super().to_internal_value(data)


class NewIssuer(Input):
    """The issuer to believe. Without `jwks_uri` and `jwks` its keys are discovered."""

    name = serializers.CharField(help_text="1 to 80 bytes of UTF-8.")
    issuer = serializers.CharField(max_length=TEXT_LENGTH, help_text="The iss of its tokens.")
    audience = serializers.CharField(max_length=TEXT_LENGTH, help_text="The aud they must hold.")
    jwks_uri = serializers.CharField(max_length=TEXT_LENGTH, required=False)
    jwks = serializers.DictField(required=False, help_text="A JWK set, never fetched.")


class IssuerChange(Input):
    """What may be changed; `jwks_uri` and `jwks` replace each other."""

    name = serializers.CharField(required=False)
    audience = serializers.CharField(max_length=TEXT_LENGTH, required=False)
    jwks_uri = serializers.CharField(
        max_length=TEXT_LENGTH, required=False, allow_blank=True, help_text="Empty: discovered."
    )
    jwks = serializers.DictField(required=False)


class NewRule(Input):
    """The rule to make."""

    name = serializers.CharField(help_text="1 to 80 bytes of UTF-8.")
    issuer_id = serializers.UUIDField()
    service_account_id = serializers.UUIDField()
    conditions = ConditionsField(help_text=f"At most {MAX_CONDITIONS}, all to be met.")


class RuleChange(Input):
    """What may be changed."""

    name = serializers.CharField(required=False)
    conditions = ConditionsField(required=False)


class RuleTest(Input):
    """A token to try against a rule, or against conditions that no rule has yet."""

    token = serializers.CharField(write_only=True)
    rule_id = serializers.UUIDField(required=False)
    issuer_id = serializers.UUIDField(required=False)
    conditions = ConditionsField(required=False)


class VerificationKeySerializer(serializers.Serializer[Any]):
    """What a key is known by."""

    kid = serializers.CharField()
    kty = serializers.CharField()


class FederationIssuerSerializer(serializers.Serializer[Any]):
    """An issuer. `jwks_error` says why its keys could not be fetched last; empty: they could."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    issuer = serializers.CharField()
    audience = serializers.CharField()
    key_source = serializers.ChoiceField(OidcIssuer.KeySource.choices)
    jwks_uri = serializers.CharField()
    keys = serializers.SerializerMethodField()
    jwks_fetched_at = serializers.DateTimeField(allow_null=True)
    jwks_error = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_keys(self, issuer: OidcIssuer) -> list[dict[str, str]]:
        """The keys known now."""
        keys = (issuer.jwks or {}).get("keys", [])
        return [{"kid": key["kid"], "kty": key["kty"]} for key in keys]


class FederationRuleSerializer(serializers.Serializer[Any]):
    """Which tokens of an issuer stand for a service account."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    issuer_id = serializers.UUIDField()
    service_account_id = serializers.UUIDField(source="account_id")
    conditions = serializers.DictField(child=serializers.CharField())
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class StepSerializer(serializers.Serializer[Any]):
    """One check."""

    name = serializers.CharField()
    ok = serializers.BooleanField()
    text = serializers.CharField()


class RuleTestResultSerializer(serializers.Serializer[Any]):
    """Whether the token would be exchanged, and every check."""

    accepted = serializers.BooleanField()
    steps = StepSerializer(many=True)


class IssuersView(OrganizationView):
    """`/admin/federation/issuers`"""

    @extend_schema(
        operation_id="list_federation_issuers",
        parameters=[*PAGING],
        responses={200: page_of(FederationIssuerSerializer), **errors(400, 404)},
    )
    def get(self, request: Request) -> Response:
        """The issuers that the organization believes."""
        self.query(NoQuery)
        return self.page(issuers_of(self.actor, self.organization_id), FederationIssuerSerializer)

    @extend_schema(
        operation_id="create_federation_issuer",
        request=NewIssuer,
        responses={201: FederationIssuerSerializer, **errors(404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Believe an issuer."""
        row = create_issuer(
            actor=self.actor, organization_id=self.organization_id, **self.body(NewIssuer)
        )
        return self.answer(
            rendered(row, FederationIssuerSerializer), status=201, version=row.version
        )


class IssuerView(OrganizationView):
    """`/admin/federation/issuers/{id}`"""

    @extend_schema(
        operation_id="get_federation_issuer",
        responses={200: FederationIssuerSerializer, **errors(404)},
    )
    def get(self, request: Request, issuer_id: UUID) -> Response:
        """One issuer."""
        self.query(NoQuery)
        row = get_issuer(self.actor, issuer_id)
        return self.answer(rendered(row, FederationIssuerSerializer), version=row.version)

    @extend_schema(
        operation_id="update_federation_issuer",
        parameters=[IF_MATCH],
        request=IssuerChange,
        responses={200: FederationIssuerSerializer, **errors(404, 409, 412)},
    )
    def patch(self, request: Request, issuer_id: UUID) -> Response:
        """Change an issuer; the tokens under its rules end where more than the name changes."""
        row = update_issuer(
            actor=self.actor,
            issuer_id=issuer_id,
            changes=self.body(IssuerChange),
            check_version=self.check_version,
        )
        return self.answer(rendered(row, FederationIssuerSerializer), version=row.version)

    @extend_schema(
        operation_id="delete_federation_issuer",
        responses={202: DONE, **errors(404)},
    )
    def delete(self, request: Request, issuer_id: UUID) -> Response:
        """Delete an issuer with its rules and their tokens, at once."""
        delete_issuer(actor=self.actor, issuer_id=issuer_id)
        return self.answer(status=202)


class RulesView(OrganizationView):
    """`/admin/federation/rules`"""

    @extend_schema(
        operation_id="list_federation_rules",
        parameters=[*PAGING],
        responses={200: page_of(FederationRuleSerializer), **errors(400, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's federation rules."""
        self.query(NoQuery)
        return self.page(rules_of(self.actor, self.organization_id), FederationRuleSerializer)

    @extend_schema(
        operation_id="create_federation_rule",
        request=NewRule,
        responses={201: FederationRuleSerializer, **errors(404)},
    )
    def post(self, request: Request) -> Response:
        """Let tokens of an issuer stand for a service account."""
        body = self.body(NewRule)
        row = create_rule(
            actor=self.actor,
            issuer_id=body["issuer_id"],
            account_id=body["service_account_id"],
            name=body["name"],
            conditions=body["conditions"],
        )
        return self.answer(rendered(row, FederationRuleSerializer), status=201, version=row.version)


class RuleView(OrganizationView):
    """`/admin/federation/rules/{id}`"""

    @extend_schema(
        operation_id="get_federation_rule",
        responses={200: FederationRuleSerializer, **errors(404)},
    )
    def get(self, request: Request, rule_id: UUID) -> Response:
        """One rule."""
        self.query(NoQuery)
        row = get_rule(self.actor, rule_id)
        return self.answer(rendered(row, FederationRuleSerializer), version=row.version)

    @extend_schema(
        operation_id="update_federation_rule",
        parameters=[IF_MATCH],
        request=RuleChange,
        responses={200: FederationRuleSerializer, **errors(404, 412)},
    )
    def patch(self, request: Request, rule_id: UUID) -> Response:
        """Change a rule; its tokens end where its conditions change."""
        body = self.body(RuleChange)
        row = update_rule(
            actor=self.actor,
            rule_id=rule_id,
            name=body.get("name"),
            conditions=body.get("conditions"),
            check_version=self.check_version,
        )
        return self.answer(rendered(row, FederationRuleSerializer), version=row.version)

    @extend_schema(
        operation_id="delete_federation_rule",
        responses={202: DONE, **errors(404)},
    )
    def delete(self, request: Request, rule_id: UUID) -> Response:
        """Delete a rule and its tokens, at once."""
        delete_rule(actor=self.actor, rule_id=rule_id)
        return self.answer(status=202)


class RuleTestView(OrganizationView):
    """`/admin/federation/rules/test`"""

    # It changes nothing, and fetching keys must not wait inside a transaction.
    is_idempotent = False

    @extend_schema(
        operation_id="test_federation_rule",
        request=RuleTest,
        responses={200: RuleTestResultSerializer, **errors(404)},
    )
    def post(self, request: Request) -> Response:
        """How a token would fare under a rule, check by check. Nothing is issued."""
        body = self.body(RuleTest)
        if set(body) == {"token", "rule_id"}:
            rule = get_rule(self.actor, body["rule_id"])
            issuer_id, conditions = rule.issuer_id, rule.conditions
        elif set(body) == {"token", "issuer_id", "conditions"}:
            issuer_id, conditions = body["issuer_id"], body["conditions"]
        else:
            raise InvalidArgument("Give rule_id, or issuer_id with conditions.")
        steps = try_token(
            actor=self.actor, issuer_id=issuer_id, conditions=conditions, text=body["token"]
        )
        result = {"accepted": all(step.ok for step in steps), "steps": steps}
        return self.answer(RuleTestResultSerializer(result).data)

"""Service accounts and their secrets, as Pinecone's Admin API has them, and single secrets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.models import ServiceAccount
from keys.selectors.service_accounts import accounts_of, get_account, secrets_of
from keys.services.service_accounts import (
    MAX_BINDINGS,
    MAX_OVERLAP_SECONDS,
    NewBinding,
    create_service_account,
    delete_service_account,
    revoke_secret,
    rotate_secret,
    update_service_account,
)
from orgs.api.base import OrganizationView
from orgs.api.bindings import ROLE_LENGTH
from orgs.api.organizations import DONE, NoQuery
from orgs.models import ResourceType
from rest.schema import IF_MATCH, PAGING, errors, page_of
from rest.serializers import Input
from rest.views import rendered


class NewRoleBinding(Input):
    """A role that the account is to hold."""

    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField(required=False, allow_null=True)
    role = serializers.CharField(
        max_length=ROLE_LENGTH,
        help_text="A predefined role, or the id or the name of one of the organization's own.",
    )


class NewServiceAccount(Input):
    """The account to make."""

    name = serializers.CharField(help_text="1 to 80 bytes of UTF-8.")
    role_bindings = serializers.ListField(
        child=NewRoleBinding(), required=False, max_length=MAX_BINDINGS
    )


class ServiceAccountChange(Input):
    """What may be changed."""

    name = serializers.CharField(required=False, help_text="1 to 80 bytes of UTF-8.")


class Rotation(Input):
    """How the old secret ends."""

    overlap_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_OVERLAP_SECONDS,
        help_text="How long the old secret works on; 0, the default: it ends now.",
    )


class ServiceAccountSerializer(serializers.Serializer[Any]):
    """A service account; its roles stand in role bindings."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    client_id = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ServiceAccountWithSecretSerializer(serializers.Serializer[Any]):
    """A service account with a new secret, which is shown this once."""

    service_account = ServiceAccountSerializer()
    client_secret = serializers.CharField()


class ServiceAccountSecretSerializer(serializers.Serializer[Any]):
    """What is known of a secret. `expires_at` is set when another takes its place."""

    id = serializers.UUIDField()
    value = serializers.CharField(source="masked", help_text="Masked: its end only.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


def with_secret(account: ServiceAccount, secret: str) -> dict[str, Any]:
    """The account and its new secret."""
    return {
        "service_account": rendered(account, ServiceAccountSerializer),
        "client_secret": secret,
    }


class ServiceAccountsView(OrganizationView):
    """`/admin/service-accounts`"""

    @extend_schema(
        operation_id="list_service_accounts",
        parameters=[*PAGING],
        responses={200: page_of(ServiceAccountSerializer), **errors(400, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's service accounts."""
        self.query(NoQuery)
        return self.page(accounts_of(self.actor, self.organization_id), ServiceAccountSerializer)

    @extend_schema(
        operation_id="create_service_account",
        request=NewServiceAccount,
        responses={201: ServiceAccountWithSecretSerializer, **errors(404, 409)},
    )
    def post(self, request: Request) -> Response:
        """Make a service account. Its secret is shown this once."""
        body = self.body(NewServiceAccount)
        account, secret = create_service_account(
            actor=self.actor,
            organization_id=self.organization_id,
            name=body["name"],
            role_bindings=[
                NewBinding(
                    role=each["role"],
                    resource_type=ResourceType(each["resource_type"]),
                    resource_id=each.get("resource_id"),
                )
                for each in body.get("role_bindings", ())
            ],
        )
        return self.answer(with_secret(account, secret), status=201, version=account.version)


class ServiceAccountView(OrganizationView):
    """`/admin/service-accounts/{id}`"""

    @extend_schema(
        operation_id="get_service_account",
        responses={200: ServiceAccountSerializer, **errors(404)},
    )
    def get(self, request: Request, account_id: UUID) -> Response:
        """One service account."""
        self.query(NoQuery)
        account = get_account(self.actor, account_id)
        return self.answer(rendered(account, ServiceAccountSerializer), version=account.version)

    @extend_schema(
        operation_id="update_service_account",
        parameters=[IF_MATCH],
        request=ServiceAccountChange,
        responses={200: ServiceAccountSerializer, **errors(404, 412)},
    )
    def patch(self, request: Request, account_id: UUID) -> Response:
        """Give the account another name; without one, only `updated_at` moves."""
        account = update_service_account(
            actor=self.actor,
            account_id=account_id,
            name=self.body(ServiceAccountChange).get("name"),
            check_version=self.check_version,
        )
        return self.answer(rendered(account, ServiceAccountSerializer), version=account.version)

    @extend_schema(
        operation_id="delete_service_account",
        responses={202: DONE, **errors(404)},
    )
    def delete(self, request: Request, account_id: UUID) -> Response:
        """Delete the account with its roles, secrets, federation rules and tokens, at once."""
        delete_service_account(actor=self.actor, account_id=account_id)
        return self.answer(status=202)


class RotateSecretView(OrganizationView):
    """`/admin/service-accounts/{id}/rotate-secret`"""

    @extend_schema(
        operation_id="rotate_service_account_secret",
        request=Rotation,
        responses={200: ServiceAccountWithSecretSerializer, **errors(404)},
    )
    def post(self, request: Request, account_id: UUID) -> Response:
        """A new secret, shown this once; the old one ends now or after an overlap."""
        account, secret = rotate_secret(
            actor=self.actor,
            account_id=account_id,
            overlap_seconds=self.body(Rotation).get("overlap_seconds", 0),
        )
        return self.answer(with_secret(account, secret), version=account.version)


class SecretsView(OrganizationView):
    """`/admin/service-accounts/{id}/secrets`"""

    @extend_schema(
        operation_id="list_service_account_secrets",
        parameters=[*PAGING],
        responses={200: page_of(ServiceAccountSecretSerializer), **errors(400, 404)},
    )
    def get(self, request: Request, account_id: UUID) -> Response:
        """The account's secrets, masked."""
        self.query(NoQuery)
        return self.page(secrets_of(self.actor, account_id), ServiceAccountSecretSerializer)


class SecretView(OrganizationView):
    """`/admin/service-accounts/{id}/secrets/{secret_id}`"""

    @extend_schema(
        operation_id="revoke_service_account_secret",
        responses={202: DONE, **errors(404)},
    )
    def delete(self, request: Request, account_id: UUID, secret_id: UUID) -> Response:
        """Take one secret out of use, with the tokens that were issued for it."""
        revoke_secret(actor=self.actor, account_id=account_id, secret_id=secret_id)
        return self.answer(status=202)

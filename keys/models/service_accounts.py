"""Service accounts: programs that act in an organization, by secret or by another party's word."""

from __future__ import annotations

import uuid

from django.db import models

from keys.models.api_keys import Pepper
from orgs.models import Organization


class ServiceAccount(models.Model):
    """A program of one organization. Its roles stand in role bindings."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="service_accounts"
    )
    name = models.CharField(max_length=80)
    client_id = models.CharField(max_length=40, unique=True)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return self.name


class ServiceAccountSecret(models.Model):
    """A client secret. Two may work at a time while one replaces the other."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, related_name="secrets")
    digest = models.BinaryField(max_length=32)
    pepper = models.ForeignKey(Pepper, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return f"secret of {self.account_id}"


class OidcIssuer(models.Model):
    """Another party whose OpenID Connect tokens the organization believes, such as a CI system."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="oidc_issuers"
    )
    name = models.CharField(max_length=80)
    # The `iss` claim, compared as it is.
    issuer = models.CharField(max_length=500)
    audience = models.CharField(max_length=500)
    # Where its public keys are; empty: they are given in `jwks`.
    jwks_uri = models.CharField(max_length=500, blank=True)
    jwks = models.JSONField(null=True, blank=True)
    jwks_fetched_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["organization", "issuer", "audience"],
                name="keys_oidcissuer_organization_issuer_audience_uniq",
            ),
        )

    def __str__(self) -> str:
        return self.name


class FederationRule(models.Model):
    """Which tokens of an issuer stand for a service account: conditions on their claims."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    issuer = models.ForeignKey(OidcIssuer, on_delete=models.CASCADE, related_name="rules")
    account = models.ForeignKey(
        ServiceAccount, on_delete=models.CASCADE, related_name="federation_rules"
    )
    name = models.CharField(max_length=80)
    # {claim: pattern}: all have to match.
    conditions = models.JSONField(default=dict)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return self.name


class AccessToken(models.Model):
    """An opaque token, stored as the SHA-256 of its text. It goes with what it was given for."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.BinaryField(max_length=32, unique=True)
    account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, related_name="tokens")
    secret = models.ForeignKey(
        ServiceAccountSecret, null=True, on_delete=models.CASCADE, related_name="tokens"
    )
    rule = models.ForeignKey(
        FederationRule, null=True, on_delete=models.CASCADE, related_name="tokens"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["expires_at"], name="keys_accesstoken_expires"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(secret__isnull=False, rule=None)
                | models.Q(secret=None, rule__isnull=False),
                name="keys_accesstoken_one_ground_check",
            ),
        )

    def __str__(self) -> str:
        return f"token of {self.account_id}"

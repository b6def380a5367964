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
    # Counts changes: what `ETag` tells and `If-Match` asks for.
    version = models.PositiveIntegerField(default=1)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("created_at", "id")
        indexes = (
            models.Index(fields=["organization", "created_at", "id"], name="keys_account_org_time"),
        )

    def __str__(self) -> str:
        return self.name


class ServiceAccountSecret(models.Model):
    """A client secret. Two may work at a time while one replaces the other."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, related_name="secrets")
    digest = models.BinaryField(max_length=32)
    pepper = models.ForeignKey(Pepper, on_delete=models.PROTECT)
    # Its last characters, which are part of its checksum.
    hint = models.CharField(max_length=4)
    created_at = models.DateTimeField(auto_now_add=True)
    # Set when another took its place: it works until then.
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return f"secret of {self.account_id}"

    @property
    def masked(self) -> str:
        """What may be shown of the secret: enough to recognise it."""
        return f"tmrk_sas_…{self.hint}"


class OidcIssuer(models.Model):
    """Another party whose OpenID Connect tokens the organization believes, such as a CI system."""

    class KeySource(models.TextChoices):
        """Where the public keys come from."""

        # The `jwks_uri` of <issuer>/.well-known/openid-configuration.
        DISCOVERY = "discovery"
        # The given `jwks_uri`.
        URI = "uri"
        # Given with the issuer, never fetched.
        STATIC = "static"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="oidc_issuers"
    )
    name = models.CharField(max_length=80)
    # The `iss` claim, compared as it is.
    issuer = models.CharField(max_length=500)
    audience = models.CharField(max_length=500)
    key_source = models.CharField(max_length=16, choices=KeySource)
    jwks_uri = models.CharField(max_length=500, blank=True)
    # The keys: given, or fetched last.
    jwks = models.JSONField(null=True, blank=True)
    jwks_fetched_at = models.DateTimeField(null=True, blank=True)
    # When fetching was tried last, and why that failed; empty: it did not.
    jwks_tried_at = models.DateTimeField(null=True, blank=True)
    jwks_error = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["organization", "issuer", "audience"],
                name="keys_oidcissuer_organization_issuer_audience_uniq",
            ),
            models.CheckConstraint(
                condition=models.Q(key_source="static", jwks_uri="", jwks__isnull=False)
                | models.Q(key_source="discovery", jwks_uri="")
                | (models.Q(key_source="uri") & ~models.Q(jwks_uri="")),
                name="keys_oidcissuer_key_source_check",
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
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

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

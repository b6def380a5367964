"""Connections to identity providers, and whose people they sign in."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from orgs.models import Organization, User
from orgs.permissions import MEMBER_ROLE


class Connection(models.Model):
    """How people of an organization sign in through one identity provider (IdP)."""

    class Protocol(models.TextChoices):
        SAML = "saml", "SAML 2.0"
        OIDC = "oidc", "OpenID Connect"

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        """Not complete yet: nobody signs in."""
        TESTING = "testing", "Testing"
        """Complete: owners try it, nobody is signed in by it."""
        ACTIVE = "active", "Active"
        """People of its domains can use it."""
        ENFORCED = "enforced", "Required"
        """People of its domains have to use it, and the organization lets nobody in without."""
        DISABLED = "disabled", "Switched off"

    class SignedPart(models.TextChoices):
        EITHER = "either", "the assertion or the whole response"
        ASSERTION = "assertion", "the assertion"
        RESPONSE = "response", "the whole response"

    class RolesMode(models.TextChoices):
        DEFAULT = "default", "default roles at the first sign-in, then by hand"
        ADD = "add", "add the mapped roles at every sign-in"
        EXACT = "exact", "exactly the mapped roles, at every sign-in"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="sso_connections"
    )
    name = models.CharField(max_length=80)
    protocol = models.CharField(max_length=8, choices=Protocol, default=Protocol.SAML)
    state = models.CharField(max_length=16, choices=State, default=State.DRAFT)

    # ---- SAML ----
    idp_entity_id = models.CharField(max_length=1024, blank=True)
    sso_url = models.CharField(max_length=2048, blank=True)
    slo_url = models.CharField(max_length=2048, blank=True)
    # Where the IdP publishes its metadata; empty: it was uploaded or typed in.
    metadata_url = models.CharField(max_length=2048, blank=True)
    metadata_fetched_at = models.DateTimeField(null=True, blank=True)
    # The last attempt, whatever came of it; who moves it has the turn.
    metadata_tried_at = models.DateTimeField(null=True, blank=True)
    # Why the last refresh failed; empty: it did not.
    metadata_error = models.CharField(max_length=500, blank=True)
    signed_part = models.CharField(max_length=16, choices=SignedPart, default=SignedPart.EITHER)
    signs_requests = models.BooleanField(default=True)
    requires_encryption = models.BooleanField(default=False)
    allows_idp_initiated = models.BooleanField(default=False)
    # Seconds, 0 to 300.
    clock_skew_seconds = models.PositiveSmallIntegerField(default=120)

    # ---- OpenID Connect ----
    issuer = models.CharField(max_length=1024, blank=True)
    client_id = models.CharField(max_length=255, blank=True)
    # `kms.envelope.WrappedKey.dump()` under `client_secret_context`.
    wrapped_client_secret = models.TextField(blank=True)

    # ---- Who comes in, as what ----
    # {"email" | "uid" | "name" | "first_name" | "last_name" | "groups" | "roles": attribute name};
    # left out: the usual names.
    attribute_map = models.JSONField(default=dict, blank=True)
    # Whether people without an account get one at their first sign-in.
    provisions_people = models.BooleanField(default=True)
    default_role = models.CharField(max_length=32, default=MEMBER_ROLE.value)
    # [{"role": str, "project_id": str}]
    default_project_roles = models.JSONField(default=list, blank=True)
    roles_mode = models.CharField(max_length=16, choices=RolesMode, default=RolesMode.DEFAULT)
    # [{"value": group or attribute value, "role": str, "project_id": str or null}]
    role_mappings = models.JSONField(default=list, blank=True)
    # How long a sign-in lasts at most, 1 to 336 hours.
    session_hours = models.PositiveSmallIntegerField(default=24)
    # Whether the IdP's sign-in counts as one with a second factor.
    trusts_idp_mfa = models.BooleanField(default=False)
    scim_enabled = models.BooleanField(default=False)

    # Counts all changes: `ETag`, `If-Match`.
    version = models.PositiveIntegerField(default=1)
    # Counts the changes that decide whether a sign-in succeeds; a test holds for one of them.
    config_version = models.PositiveIntegerField(default=1)
    tested_version = models.PositiveIntegerField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["organization", "idp_entity_id"],
                condition=~models.Q(idp_entity_id=""),
                name="sso_connection_organization_idp_entity_id_uniq",
            ),
            models.CheckConstraint(
                condition=models.Q(clock_skew_seconds__lte=300),
                name="sso_connection_clock_skew_check",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_usable(self) -> bool:
        """Whether people sign in by it."""
        return self.state in {self.State.ACTIVE, self.State.ENFORCED}

    @property
    def is_tested(self) -> bool:
        """Whether a test succeeded with the configuration as it is now."""
        return self.tested_version == self.config_version

    @property
    def client_secret_context(self) -> dict[str, str]:
        """What the wrapped client secret is bound to."""
        return {"purpose": "oidc-client-secret", "connection": str(self.pk)}

    @property
    def base_url(self) -> str:
        """Our public address of the connection, without a slash at the end."""
        return f"{settings.TAMARACK_PUBLIC_URL}/sso/{self.pk}"

    @property
    def sp_entity_id(self) -> str:
        """What we are called towards the IdP: the address of our metadata."""
        return f"{self.base_url}/metadata"

    @property
    def acs_url(self) -> str:
        """Where the IdP posts its responses (assertion consumer service)."""
        return f"{self.base_url}/acs"

    @property
    def sls_url(self) -> str:
        """Where the IdP sends logout messages (single logout service)."""
        return f"{self.base_url}/sls"


class IdpCertificate(models.Model):
    """A certificate that the IdP signs with; with several at once it changes keys without a gap."""

    class Source(models.TextChoices):
        MANUAL = "manual", "typed in or uploaded"
        METADATA = "metadata", "the IdP's metadata"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="certificates"
    )
    pem = models.TextField()
    # SHA-256 of the DER form, in lower-case hex.
    fingerprint = models.CharField(max_length=64)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    source = models.CharField(max_length=16, choices=Source)
    # The least number of days before the end that owners were warned of.
    warned_days = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("not_after", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "fingerprint"],
                name="sso_idpcertificate_connection_fingerprint_uniq",
            ),
        )

    def __str__(self) -> str:
        return self.fingerprint[:16]


class SpKey(models.Model):
    """A key pair of ours for one connection: signs requests, opens encrypted assertions.

    `next` stands in the metadata and opens assertions already; rotating makes it `current` and the
    current one `previous`, which still opens assertions.
    """

    class State(models.TextChoices):
        NEXT = "next", "Next"
        CURRENT = "current", "Current"
        PREVIOUS = "previous", "Previous"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="sp_keys")
    state = models.CharField(max_length=16, choices=State)
    certificate_pem = models.TextField()
    # `WrappedKey.dump()` of the PEM key, context {"purpose": "saml-sp-key", "key": id}.
    wrapped_key = models.TextField()
    not_after = models.DateTimeField()
    # As `IdpCertificate.warned_days`.
    warned_days = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "state"], name="sso_spkey_connection_state_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.state} key of {self.connection_id}"


class Domain(models.Model):
    """A mail domain that an organization claims; with `verified_at` it has proven to own it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="domains")
    # The connection that the domain's people sign in by; None: none yet.
    connection = models.ForeignKey(
        Connection, null=True, blank=True, on_delete=models.SET_NULL, related_name="domains"
    )
    # In ASCII (A-labels) and lower case, without a dot at the end. Sub-domains are domains apart.
    name = models.CharField(max_length=253)
    # What the TXT record has to say: `tamarack-domain-verification=<token>`.
    token = models.CharField(max_length=64)
    verified_at = models.DateTimeField(null=True, blank=True)
    # The operator of the installation vouches for it: DNS is not asked again.
    is_vouched = models.BooleanField(default=False)
    checked_at = models.DateTimeField(null=True, blank=True)
    # Since when the record of a verified domain is missing; after the grace period it lapses.
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["organization", "name"], name="sso_domain_organization_name_uniq"
            ),
            # One organization per domain; claims that nobody proved keep nobody out.
            models.UniqueConstraint(
                fields=["name"],
                condition=models.Q(verified_at__isnull=False),
                name="sso_domain_verified_name_uniq",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def record_name(self) -> str:
        """Where the TXT record has to stand."""
        return f"_tamarack-challenge.{self.name}"

    @property
    def record_value(self) -> str:
        """What it has to say."""
        return f"tamarack-domain-verification={self.token}"


class Identity(models.Model):
    """Who a person is at one identity provider.

    With `opens_sessions` the IdP signs the person in. That is for the organization that owns the
    domain of the person's address alone; every other one only lets people who are signed in already
    into itself.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="identities")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sso_identities")
    # NameID, `sub`, or the mapped attribute: at most 256 characters, as SAML has it.
    uid = models.CharField(max_length=256)
    opens_sessions = models.BooleanField()
    created_at = models.DateTimeField(auto_now_add=True)
    last_sign_in_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "uid"], name="sso_identity_connection_uid_uniq"
            ),
            models.UniqueConstraint(
                fields=["connection", "user"], name="sso_identity_connection_user_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} at {self.connection_id}"


class SetupLink(models.Model):
    """A link for the administrator of the IdP, who needs no account here. Works once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="setup_links")
    # SHA-256 of the token in the link, in hex; the token has 256 random bits.
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "id")

    def __str__(self) -> str:
        return f"set-up link of {self.connection_id}"

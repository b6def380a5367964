"""Tenants, who belongs to them, and what they demand of everybody who comes in."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from orgs.models.people import User
from orgs.plans import Plan


class Organization(models.Model):
    """A tenant: owns projects and people's memberships."""

    class PaymentStatus(models.TextChoices):
        ACTIVE = "Active"
        PAYMENT_PENDING = "PaymentPending"
        PAST_DUE = "PastDue"
        RESTRICTED = "Restricted"
        SUSPENDED = "Suspended"
        DEACTIVATED = "Deactivated"

    class SupportTier(models.TextChoices):
        FREE = "Free"
        DEVELOPER = "Developer"
        PRO = "Pro"
        ENTERPRISE = "Enterprise"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=512)
    plan = models.CharField(
        max_length=16, choices=[(plan.value, plan.value) for plan in Plan], default=Plan.ENTERPRISE
    )
    payment_status = models.CharField(
        max_length=16, choices=PaymentStatus, default=PaymentStatus.ACTIVE
    )
    support_tier = models.CharField(
        max_length=16, choices=SupportTier, default=SupportTier.ENTERPRISE
    )
    # What the operator of the installation decided apart from the plan: {entitlement: value}.
    overrides = models.JSONField(default=dict, blank=True)
    # Counts changes: what `ETag` tells and `If-Match` asks for.
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Membership", related_name="organizations")

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's place in an organization; what they may do there stands in role bindings."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # Since when the organization's directory keeps the person out; roles stay, and don't count.
    suspended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user", "organization"], name="orgs_membership_user_organization_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}"


class OwnershipTransfer(models.Model):
    """One owner's offer to another member: be the owner in my place."""

    class Status(models.TextChoices):
        PENDING = "pending"
        EXPIRED = "expired"
        ACCEPTED = "accepted"
        DECLINED = "declined"
        CANCELED = "canceled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="ownership_transfers"
    )
    offered_by = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="ownership_transfers_made"
    )
    offered_to = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="ownership_transfers_received"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    # How it ended; empty while it has not, also when its time is over.
    outcome = models.CharField(max_length=16, choices=Status, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["organization"],
                condition=models.Q(outcome=""),
                name="orgs_ownershiptransfer_organization_uniq",
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="", ended_at=None)
                | (~models.Q(outcome="") & models.Q(ended_at__isnull=False)),
                name="orgs_ownershiptransfer_outcome_ended_at_check",
            ),
        )

    def __str__(self) -> str:
        return f"ownership of {self.organization_id} to {self.offered_to_id}"

    @property
    def status(self) -> str:
        """`pending`, `expired`, or how it ended."""
        if self.outcome:
            return self.outcome
        expired = self.expires_at <= timezone.now()
        return self.Status.EXPIRED.value if expired else self.Status.PENDING.value


class SecurityBaseline(models.Model):
    """What the organization demands of everybody and everything that acts in it.

    An organization without a row demands nothing beyond the installation's own rules.
    """

    organization = models.OneToOneField(
        Organization,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="security_baseline",
    )
    mfa_required = models.BooleanField(default=False)
    # Whether people need this organization's single sign-on. Set with a connection's state, by the
    # room of single sign-on; kept here because every request has to know.
    sso_required = models.BooleanField(default=False)
    # Hours since the sign-in, however busy.
    session_hours = models.PositiveSmallIntegerField(null=True, blank=True)
    # Days since an API key's secret was made, for existing ones too.
    max_key_age_days = models.PositiveSmallIntegerField(null=True, blank=True)
    # CIDR ranges that people, service accounts and keys have to come from; empty: from anywhere.
    ip_ranges = models.JSONField(default=list, blank=True)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"security baseline of {self.organization_id}"

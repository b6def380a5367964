"""Asking people in."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from orgs.models.organizations import Organization
from orgs.models.people import User


class Invitation(models.Model):
    """An invitation by e-mail. The roles that come with it are role bindings of the invitation.

    The link in the mail is signed and holds `nonce`, which a resend replaces: nothing is stored
    that would let a reader of the database accept it.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        EXPIRED = "expired"
        PROCESSED = "processed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="invitations"
    )
    email = models.EmailField(max_length=254)
    nonce = models.UUIDField(default=uuid.uuid4)
    invited_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="invitations"
    )

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")), name="orgs_invitation_email_lower_check"
            ),
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=models.Q(processed_at=None),
                name="orgs_invitation_organization_email_uniq",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} to {self.organization_id}"

    @property
    def status(self) -> str:
        """`pending`, `expired` or `processed` (accepted)."""
        if self.processed_at is not None:
            return self.Status.PROCESSED.value
        expired = self.expires_at <= timezone.now()
        return self.Status.EXPIRED.value if expired else self.Status.PENDING.value

"""The way in when the identity provider is not to be had."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from orgs.models import Organization, User


class BreakGlassOwner(models.Model):
    """An owner who may come in by password and second factor where single sign-on is required."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="break_glass_owners"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    named_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["organization", "user"], name="sso_breakglassowner_organization_user_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} of {self.organization_id}"


class BreakGlassAccess(models.Model):
    """One use of that way, or an exercise of it.

    A named owner's begins at once; another owner's when a second owner has approved it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="break_glass_accesses"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=500)
    is_drill = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # Until when it can be approved, then until when it lasts.
    expires_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    began_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # The session that it opened.
    session_key = models.CharField(max_length=40, blank=True)

    class Meta:
        ordering = ("-created_at", "id")

    def __str__(self) -> str:
        return f"access of {self.user_id} to {self.organization_id}"

    @property
    def is_over(self) -> bool:
        """Whether its time is over, or somebody ended it."""
        return self.ended_at is not None or self.expires_at <= timezone.now()

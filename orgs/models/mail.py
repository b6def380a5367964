"""Mail that is to be delivered: the row is the truth, whatever happens to the process."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q


class OutgoingMail(models.Model):
    """One message to one address.

    It is over when `next_attempt_at` is None: delivered (`sent_at`), given up (`error`), or never
    meant to leave. A message that is over has no body any more, since bodies hold links that let
    people in.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    to = models.EmailField(max_length=254, blank=True)
    subject = models.CharField(max_length=255)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # Nobody can use it later: then it is not worth delivering any more.
    expires_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(next_attempt_at__isnull=False) | Q(text="", html=""),
                name="orgs_outgoingmail_over_without_body_check",
            ),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(next_attempt_at__isnull=True),
                name="orgs_outgoingmail_sent_is_over_check",
            ),
        )
        indexes = (
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="orgs_outgoingmail_due",
            ),
            models.Index(fields=["created_at"], name="orgs_outgoingmail_created"),
        )

    def __str__(self) -> str:
        return f"mail {self.id}"

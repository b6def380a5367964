"""What keys were used for: counted per day, so that it stays small."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from keys.models.api_keys import ApiKey


class KeyUsage(models.Model):
    """How often one secret of a key did one thing from one address on one day (UTC)."""

    class Plane(models.TextChoices):
        DATA = "data"
        CONTROL = "control"

    class Outcome(models.TextChoices):
        ALLOWED = "allowed"
        DENIED = "denied"

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="usage")
    # The lookup id of the secret. Text, so that the count outlives the secret.
    secret = models.CharField(max_length=10)
    day = models.DateField()
    plane = models.CharField(max_length=8, choices=Plane)
    # Such as `read`, `write` or the name of the method.
    operation = models.CharField(max_length=64)
    index_id = models.UUIDField(null=True, blank=True)
    address = models.CharField(max_length=45, blank=True)
    # What the client says of itself, shortened.
    client = models.CharField(max_length=80, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome)
    count = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    # Names all of the above but count and times: SHA-256, hexadecimal.
    fingerprint = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ("-last_at", "-id")
        indexes = (
            models.Index(fields=["key", "-last_at", "-id"], name="keys_usage_key_time"),
            models.Index(fields=["day"], name="keys_usage_day"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(plane__in=["data", "control"]), name="keys_keyusage_plane_check"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["allowed", "denied"]), name="keys_keyusage_outcome_check"
            ),
            models.CheckConstraint(
                condition=Q(first_at__lte=F("last_at")), name="keys_keyusage_first_at_check"
            ),
        )

    def __str__(self) -> str:
        return f"{self.count} x {self.operation} by {self.secret}"


class UsagePosition(models.Model):
    """How far the log of one source has been counted; moves in the transaction of the counts."""

    # Such as the path of an access log.
    source = models.CharField(max_length=255, unique=True)
    # Which file it was, as text: a file system may use all 64 bits.
    inode = models.CharField(max_length=20)
    offset = models.PositiveBigIntegerField(default=0)
    # Everything that happened before this time has been counted.
    complete_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.source} at {self.offset}"

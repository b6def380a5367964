"""The audit trail: append-only rows that outlive what they describe.

They refer to other rooms by id and label, never by foreign key.
"""

from __future__ import annotations

import uuid
from typing import Any, NoReturn
from uuid import UUID

from django.db import models
from django.utils import timezone

APPEND_ONLY = "Audit events are append-only."
INSTALLATION = UUID(int=0)
"""The log of what belongs to no organization."""
DEFAULT_RETENTION_DAYS = 365
MIN_RETENTION_DAYS, MAX_RETENTION_DAYS = 30, 3650


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """Reading only: rows are neither changed nor deleted."""

    def update(self, **_: Any) -> NoReturn:
        raise TypeError(APPEND_ONLY)

    def delete(self) -> NoReturn:
        raise TypeError(APPEND_ONLY)


class AuditEvent(models.Model):
    """One thing that happened: who did what to which object, from where, and how it ended."""

    class Outcome(models.TextChoices):
        SUCCESS = "success"
        FAILURE = "failure"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    time = models.DateTimeField(auto_now_add=True)
    # One of audit.events.EventType; not as `choices`, so that a new event needs no migration.
    type = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16, choices=Outcome)
    organization_id = models.UUIDField(null=True)
    actor_kind = models.CharField(max_length=32)
    actor_id = models.CharField(max_length=64)
    actor_label = models.CharField(max_length=320)
    resource_kind = models.CharField(max_length=32)
    resource_id = models.CharField(max_length=64)
    resource_label = models.CharField(max_length=512)
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    # What allowed it, or was missing where it was denied; one of orgs.permissions.Permission.
    permission = models.CharField(max_length=64, blank=True, default="")
    decision_id = models.UUIDField(null=True)
    detail = models.JSONField(default=dict)
    # {field: {"before": …, "after": …}}
    changes = models.JSONField(default=dict)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ("-time", "-id")
        # Each ends as lists are sorted, so that a page is read where it begins.
        indexes = (
            models.Index(fields=["organization_id", "-time", "-id"], name="audit_event_log_time"),
            models.Index(
                fields=["organization_id", "type", "-time", "-id"], name="audit_event_log_type"
            ),
            models.Index(
                fields=["organization_id", "actor_id", "-time", "-id"], name="audit_event_log_actor"
            ),
            models.Index(fields=["request_id"], name="audit_event_request"),
            models.Index(fields=["decision_id"], name="audit_event_decision"),
            models.Index(fields=["resource_kind", "resource_id"], name="audit_event_resource"),
        )

    def __str__(self) -> str:
        return f"{self.time:%Y-%m-%dT%H:%M:%SZ} {self.type} {self.resource_label}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only.

        Raises:
            TypeError: the row exists already.
        """
        if not self._state.adding:
            raise TypeError(APPEND_ONLY)
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(APPEND_ONLY)


class UnsealedEvent(models.Model):
    """An event that is in no log yet: written with it, removed when it is sealed.

    Holds the event in place meanwhile: it can't be deleted before its hash is kept.
    """

    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, primary_key=True)
    log_id = models.UUIDField(db_index=True)

    def __str__(self) -> str:
        return f"{self.event_id}, not sealed"


class Log(models.Model):
    """The head of one organization's log, or of the installation's (`INSTALLATION`).

    Whoever appends to the log holds this row's lock.
    """

    # The organization's id.
    id = models.UUIDField(primary_key=True)
    size = models.PositiveBigIntegerField(default=0)
    chain_hash = models.BinaryField(max_length=32, default=bytes(32))
    # Events before this one were deleted when their time was over; their hashes are still here.
    bodies_from_seq = models.PositiveBigIntegerField(default=0)
    retention_days = models.PositiveIntegerField(default=DEFAULT_RETENTION_DAYS)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(retention_days__range=(MIN_RETENTION_DAYS, MAX_RETENTION_DAYS)),
                name="audit_log_retention_days_range_check",
            ),
            models.CheckConstraint(
                condition=models.Q(bodies_from_seq__lte=models.F("size")),
                name="audit_log_bodies_from_seq_size_check",
            ),
        )

    def __str__(self) -> str:
        return f"log {self.id} of {self.size}"

    @property
    def organization_id(self) -> UUID | None:
        """Whose log it is; None: the installation's."""
        return None if self.id == INSTALLATION else self.id


class SealedEvent(models.Model):
    """An event's place in its log. Stays when the event itself is deleted.

    leaf_hash = SHA-256(0x00 || canonical event), chain_hash = SHA-256(the one before || leaf_hash).
    """

    log_id = models.UUIDField()
    seq = models.PositiveBigIntegerField()
    event_id = models.UUIDField(unique=True)
    leaf_hash = models.BinaryField(max_length=32)
    chain_hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["log_id", "seq"], name="audit_sealedevent_log_seq_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_id}, number {self.seq} of log {self.log_id}"


class TreeNode(models.Model):
    """The hash over a complete subtree of `2**level` events, from level 1 up."""

    log_id = models.UUIDField()
    level = models.PositiveSmallIntegerField()
    index = models.PositiveBigIntegerField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["log_id", "level", "index"], name="audit_treenode_log_level_index_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"node {self.level}/{self.index} of log {self.log_id}"


class Checkpoint(models.Model):
    """A signed statement of what the log was at some size."""

    log_id = models.UUIDField()
    size = models.PositiveBigIntegerField()
    root = models.BinaryField(max_length=32)
    note = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["log_id", "size"], name="audit_checkpoint_log_size_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"checkpoint {self.size} of log {self.log_id}"


class SigningKey(models.Model):
    """The Ed25519 key that signs checkpoints, wrapped by the KEK provider."""

    number = models.PositiveIntegerField(primary_key=True)
    public_key = models.BinaryField(max_length=32)
    wrapped = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"signing key {self.number}"


class Stream(models.Model):
    """A place outside to which an organization's log is sent, event by event, in order."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook"
        S3 = "s3"
        SYSLOG = "syslog"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    log_id = models.UUIDField(db_index=True)
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=16, choices=Kind)
    # Where to: what audit.streams.targets reads. No secrets.
    config = models.JSONField()
    # The signing secret or storage key, wrapped by the KEK provider; empty where there is none.
    wrapped_secret = models.TextField(blank=True)
    is_enabled = models.BooleanField(default=True)
    # The first event that has not been acknowledged.
    next_seq = models.PositiveBigIntegerField()
    failures = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
    last_delivered_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    # Who delivers now, and until when nobody else may.
    lease = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(fields=["log_id", "name"], name="audit_stream_log_name_uniq"),
        )

    def __str__(self) -> str:
        return self.name

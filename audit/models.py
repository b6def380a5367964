"""The audit trail: append-only rows that outlive what they describe.

They refer to other rooms by id and label, never by foreign key.
"""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.db import models

APPEND_ONLY = "Audit events are append-only."


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
        indexes = (
            models.Index(fields=["organization_id", "-time"], name="audit_event_org_time"),
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

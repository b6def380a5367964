"""API keys: what a program shows to be let in. The key itself is never stored."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from projects.models import Project


class Pepper(models.Model):
    """A secret that is mixed into every key's digest, wrapped by the KEK provider.

    Numbered, so that it can be replaced for new keys while old ones still verify.
    """

    number = models.PositiveIntegerField(primary_key=True)
    wrapped = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"pepper {self.number}"


class ApiKey(models.Model):
    """A key of one project. Its roles stand in role bindings."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    lookup_id = models.CharField(max_length=10, unique=True)
    digest = models.BinaryField(max_length=32)
    pepper = models.ForeignKey(Pepper, on_delete=models.PROTECT)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "id")

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        """What may be shown of the key: enough to recognise it."""
        return f"tmrk_{self.lookup_id}_…"

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and not self.is_expired

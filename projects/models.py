"""Projects: what indexes and API keys belong to."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models

from orgs.models import Organization


class Project(models.Model):
    """A project of an organization, with its limits.

    Attributes:
        max_pods: there are no pods here, so none for any project.
        max_indexes, max_api_keys: its own limits; those of the organization's plan hold too.
        force_encryption_with_cmek: once on, it stays on (`projects.services`).
        archived_at: since when it rests: no key works, nothing is created.
        version: counts changes: what `ETag` tells and `If-Match` asks for.
    """

    max_pods: ClassVar[int] = 0

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="projects"
    )
    name = models.CharField(max_length=512)
    max_indexes = models.PositiveIntegerField(default=200)
    max_api_keys = models.PositiveIntegerField(default=1000)
    force_encryption_with_cmek = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        indexes = (
            models.Index(
                fields=["organization", "created_at", "id"], name="projects_project_org_time"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_archived(self) -> bool:
        """Whether it rests."""
        return self.archived_at is not None


class ProjectKey(models.Model):
    """The project's own key-encryption key, wrapped by the KEK provider.

    The data keys of its indexes are wrapped by it.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="encryption_keys")
    version = models.PositiveIntegerField(default=1)
    wrapped = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["project", "version"], name="projects_projectkey_project_version_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"key {self.version} of project {self.project_id}"

"""Projects: what indexes and API keys belong to."""

from __future__ import annotations

import uuid

from django.db import models

from orgs.models import Organization


class Project(models.Model):
    """A project of an organization, with its limits."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="projects"
    )
    name = models.CharField(max_length=512)
    max_indexes = models.PositiveIntegerField(default=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


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

"""What indexes hold and how they are used: measured, and counted by the hour."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from indexes.models.deployments import Index
from projects.models import Project


class IndexStatistics(models.Model):
    """What an index held when it was last asked."""

    index = models.OneToOneField(
        Index, on_delete=models.CASCADE, primary_key=True, related_name="statistics"
    )
    records = models.PositiveBigIntegerField()
    namespaces = models.PositiveIntegerField()
    # Of the encrypted file and its write-ahead log on the disk.
    bytes = models.PositiveBigIntegerField()
    measured_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.records} records in index {self.index_id}"


class IndexTraffic(models.Model):
    """The calls that an index got within one hour (UTC), reads apart from writes.

    Attributes:
        refused: turned away by the gateway or the server (401, 403, 429 and what gRPC calls so).
        failed: that the server could not answer (5xx and what gRPC calls so).
        latency: how many answered calls took how long, by `indexes.usage.BUCKETS`.
    """

    class Kind(models.TextChoices):
        READ = "read"
        WRITE = "write"

    index = models.ForeignKey(Index, on_delete=models.CASCADE, related_name="traffic")
    hour = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=Kind)
    calls = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    latency = models.JSONField(default=list)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["index", "hour", "kind"], name="indexes_indextraffic_index_hour_kind_uniq"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["read", "write"]), name="indexes_indextraffic_kind_check"
            ),
        )
        indexes = (models.Index(fields=["hour"], name="indexes_indextraffic_hour"),)

    def __str__(self) -> str:
        return f"{self.calls} {self.kind} of index {self.index_id}"


class ProjectTraffic(models.Model):
    """The calls that all indexes of a project got on one day (UTC), reads apart from writes.

    The sum of `IndexTraffic`, kept beside it: so an organization is summed up without reading every
    hour of every index.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="traffic")
    day = models.DateField()
    kind = models.CharField(max_length=8, choices=IndexTraffic.Kind)
    calls = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["project", "day", "kind"], name="indexes_projecttraffic_project_day_uniq"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["read", "write"]), name="indexes_projecttraffic_kind_check"
            ),
        )
        indexes = (models.Index(fields=["day"], name="indexes_projecttraffic_day"),)

    def __str__(self) -> str:
        return f"{self.calls} {self.kind} of project {self.project_id}"

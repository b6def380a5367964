"""Indexes: what customers name, the process that serves it, its data key, and the work on it.

The rows are the truth. What runs is made to follow them; a message in the queue is only a hint.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q

from indexes.rules import MAX_DIMENSION, MAX_LABEL, MAX_NAME, MAX_PLACE
from projects.models import Project


class Index(models.Model):
    """An index of a project, as its customer sees it.

    Attributes:
        label: first part of its host name where indexes are told apart by name.
        gateway_port: its port on the gateway where they are told apart by port.
        generation: counts the wishes (create, delete) for what runs; the newest wish wins.
        cause, remedy: why it does not serve, and what helps; empty while all is well.
    """

    class State(models.TextChoices):
        INITIALIZING = "Initializing"
        READY = "Ready"
        INITIALIZATION_FAILED = "InitializationFailed"
        TERMINATING = "Terminating"

    class Metric(models.TextChoices):
        COSINE = "cosine"
        DOTPRODUCT = "dotproduct"
        EUCLIDEAN = "euclidean"

    class VectorType(models.TextChoices):
        DENSE = "dense"
        SPARSE = "sparse"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="indexes")
    name = models.CharField(max_length=MAX_NAME)
    dimension = models.PositiveIntegerField(null=True)
    metric = models.CharField(max_length=16, choices=Metric)
    vector_type = models.CharField(max_length=8, choices=VectorType)
    cloud = models.CharField(max_length=MAX_PLACE)
    region = models.CharField(max_length=MAX_PLACE)
    tags = models.JSONField(default=dict)
    deletion_protection = models.BooleanField(default=False)
    label = models.CharField(max_length=MAX_LABEL)
    gateway_port = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=24, choices=State, default=State.INITIALIZING)
    cause = models.CharField(max_length=500, blank=True)
    remedy = models.CharField(max_length=500, blank=True)
    generation = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=Q(deleted_at=None),
                name="indexes_index_project_name_uniq",
            ),
            models.UniqueConstraint(
                fields=["label"], condition=Q(deleted_at=None), name="indexes_index_label_uniq"
            ),
            models.UniqueConstraint(
                fields=["gateway_port"],
                condition=Q(deleted_at=None),
                name="indexes_index_gateway_port_uniq",
            ),
            models.CheckConstraint(
                condition=Q(vector_type="dense", dimension__gte=1, dimension__lte=MAX_DIMENSION)
                | Q(vector_type="sparse", dimension=None, metric="dotproduct"),
                name="indexes_index_vector_type_dimension_metric_check",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_ready(self) -> bool:
        """Whether it serves: provisioned, and its process was fine when it was last looked at."""
        return self.state == Index.State.READY and not self.cause


class DataKey(models.Model):
    """An index's data encryption key, wrapped by its project's key.

    Shredding empties `wrapped`, for good: what was encrypted with it can't be read any more.
    """

    index = models.ForeignKey(Index, on_delete=models.PROTECT, related_name="data_keys")
    version = models.PositiveIntegerField(default=1)
    wrapped = models.TextField(blank=True)
    context = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    shredded_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["index", "version"], name="indexes_datakey_index_version_uniq"
            ),
            models.CheckConstraint(
                condition=(Q(shredded_at=None) & ~Q(wrapped=""))
                | Q(shredded_at__isnull=False, wrapped=""),
                name="indexes_datakey_shredded_check",
            ),
        )

    def __str__(self) -> str:
        return f"data key {self.version} of index {self.index_id}"


class Deployment(models.Model):
    """The process that serves an index, on one node.

    Attributes:
        config_generation: grows with every change that the process has to be restarted for.
    """

    class Desired(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"

    class Observed(models.TextChoices):
        UNKNOWN = "unknown"
        STARTING = "starting"
        RUNNING = "running"
        FAILED = "failed"
        STOPPED = "stopped"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    index = models.ForeignKey(Index, on_delete=models.PROTECT, related_name="deployments")
    node = models.CharField(max_length=64)
    address = models.GenericIPAddressField(default="127.0.0.1")
    port = models.PositiveIntegerField()
    desired_state = models.CharField(max_length=8, choices=Desired, default=Desired.RUNNING)
    observed_state = models.CharField(max_length=8, choices=Observed, default=Observed.UNKNOWN)
    config_generation = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            # One process per index for now; replicas will relax this.
            models.UniqueConstraint(
                fields=["index"], condition=Q(removed_at=None), name="indexes_deployment_index_uniq"
            ),
            models.UniqueConstraint(
                fields=["node", "port"],
                condition=Q(removed_at=None),
                name="indexes_deployment_node_port_uniq",
            ),
        )

    def __str__(self) -> str:
        return f"deployment {self.pk} of index {self.index_id}"


class Operation(models.Model):
    """A piece of work on an index, done step by step by whichever worker holds its lease.

    Attributes:
        generation: the index's generation that it brings about; an older one than the index's is
            superseded.
        step: the next step, by its name in `indexes.provisioning`.
        attempt: failures and lost leases so far.
        lease_owner, lease_until: who works on it and until when nobody else may.
        run_after: not before then (back-off, waiting for a process to come up).
        hinted_at: when it was last put into the queue.
    """

    class Kind(models.TextChoices):
        CREATE = "create"
        DELETE = "delete"

    class State(models.TextChoices):
        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        SUPERSEDED = "superseded"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    index = models.ForeignKey(Index, on_delete=models.PROTECT, related_name="operations")
    kind = models.CharField(max_length=16, choices=Kind)
    generation = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=State, default=State.PENDING)
    step = models.CharField(max_length=32)
    attempt = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    run_after = models.DateTimeField(auto_now_add=True)
    hinted_at = models.DateTimeField(auto_now_add=True)

    error = models.CharField(max_length=500, blank=True)
    remedy = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["index", "generation"], name="indexes_operation_index_generation_uniq"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", finished_at=None)
                | (~Q(state="pending") & Q(finished_at__isnull=False)),
                name="indexes_operation_state_finished_at_check",
            ),
        )
        indexes = (
            models.Index(
                F("run_after"), condition=Q(state="pending"), name="indexes_operation_due"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} of index {self.index_id}: {self.state}"

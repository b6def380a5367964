"""Reading what keys are used for, and which need a look."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from keys.models import ApiKey, KeyUsage
from projects.models import Project

STALE_AFTER = timedelta(days=90)
SOON = timedelta(days=14)


def working_keys(projects: Iterable[UUID] | QuerySet[Project]) -> QuerySet[ApiKey]:
    """The keys of the projects that are neither revoked, disabled nor over."""
    now = timezone.now()
    return ApiKey.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        project__in=projects,
        revoked_at=None,
        disabled_at=None,
    )


def stale_keys(projects: Iterable[UUID] | QuerySet[Project]) -> QuerySet[ApiKey]:
    """Working keys that nobody has used for 90 days, and that are older than that."""
    before = timezone.now() - STALE_AFTER
    return working_keys(projects).filter(
        Q(last_used_at=None) | Q(last_used_at__lt=before), created_at__lt=before
    )


def ending_keys(projects: Iterable[UUID] | QuerySet[Project]) -> QuerySet[ApiKey]:
    """Working keys that end within 14 days."""
    return working_keys(projects).filter(expires_at__lt=timezone.now() + SOON)


def last_query(project: Project) -> KeyUsage | None:
    """The newest count of searches that were let through, of any key of the project."""
    return (
        KeyUsage.objects.filter(
            key__project=project,
            plane=KeyUsage.Plane.DATA,
            operation="Query",
            outcome=KeyUsage.Outcome.ALLOWED,
        )
        .select_related("key")
        .order_by("-last_at")
        .first()
    )

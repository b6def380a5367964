"""A database with many rows of everything that the Admin API lists.

Imported by a process whose environment says which database that is.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client

django.setup()
logging.disable(logging.CRITICAL)

from audit.models import AuditEvent  # noqa: E402  Django has to be set up first
from keys.models import ApiKey, ApiKeySecret  # noqa: E402  as above
from keys.peppers import current_pepper  # noqa: E402  as above
from kms.providers import LocalProvider  # noqa: E402  as above
from orgs.models import RoleBinding  # noqa: E402  as above
from orgs.permissions import DEFAULT_KEY_ROLE  # noqa: E402  as above
from projects.models import Project  # noqa: E402  as above
from tests import factories  # noqa: E402  as above

BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Filled:
    """A client with a token of the organization's owner, and the project that the keys are in."""

    client: Client
    project_id: str


def fill(rows: int) -> Filled:
    """An organization with that many projects, keys of one project, role bindings and events."""
    path = Path(settings.TAMARACK_HOME) / "keys" / "root.key"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    LocalProvider(path).create()
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    organization = factories.make_organization()
    project = factories.make_project(organization)
    _, token = factories.make_service_account(organization)
    # Times are given, or a whole batch would have the same one.
    for model, name in (
        (Project, "created_at"),
        (ApiKey, "created_at"),
        (RoleBinding, "created_at"),
        (AuditEvent, "time"),
    ):
        model._meta.get_field(name).auto_now_add = False  # type: ignore[union-attr]  # a time
    for first in range(0, rows, BATCH):
        _add(project, range(first, min(first + BATCH, rows)))
    if connection.vendor == "postgresql":
        # What autovacuum does of itself some time after so many rows came in.
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    host = urlsplit(settings.TAMARACK_PUBLIC_URL).netloc
    client = Client(headers={"authorization": f"Bearer {token}", "host": host})
    return Filled(client, str(project.pk))


def _add(project: Project, batch: range) -> None:
    pepper, began = current_pepper(), datetime.now(UTC) - timedelta(days=30)
    at = {number: began + timedelta(seconds=number) for number in batch}
    Project.objects.bulk_create(
        Project(organization_id=project.organization_id, name=f"Project {n}", created_at=at[n])
        for n in batch
    )
    made = ApiKey.objects.bulk_create(
        ApiKey(project=project, name=f"key {n}", created_by="bench", created_at=at[n])
        for n in batch
    )
    keys = dict(zip(batch, made, strict=True))
    ApiKeySecret.objects.bulk_create(
        ApiKeySecret(key=key, lookup_id=f"{n:010d}", digest=uuid.uuid4().bytes * 2, pepper=pepper)
        for n, key in keys.items()
    )
    RoleBinding.objects.bulk_create(
        RoleBinding(
            organization_id=project.organization_id,
            principal_type="api_key",
            principal_id=key.pk,
            resource_type="project",
            resource_id=project.pk,
            project_id=project.pk,
            role=DEFAULT_KEY_ROLE,
            granted_by="bench",
            created_at=at[n],
        )
        for n, key in keys.items()
    )
    AuditEvent.objects.bulk_create(
        AuditEvent(
            type="api_key.created",
            outcome="success",
            organization_id=project.organization_id,
            actor_kind="user",
            actor_id=str(uuid.uuid4()),
            actor_label="bench",
            resource_kind="api_key",
            resource_id=str(key.pk),
            resource_label=key.name,
            time=at[n],
        )
        for n, key in keys.items()
    )

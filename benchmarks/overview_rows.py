"""An organization with many indexes, for its overview.

Imported by a process whose environment says which database that is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

django.setup()
logging.disable(logging.CRITICAL)

from indexes.models import Index, IndexStatistics, IndexTraffic, ProjectTraffic  # noqa: E402  Django has to be set up first
from kms.providers import LocalProvider  # noqa: E402  as above
from tests import factories  # noqa: E402  as above
from tests.pages import Browser  # noqa: E402  as above

PER_PROJECT = 100
"""Less than any plan allows in one project."""
DAYS = 30
FIRST_PORT = 10_000


@dataclass(frozen=True, slots=True)
class Filled:
    """The owner's browser, and the page."""

    browser: Browser
    path: str


def fill(indexes: int) -> Filled:
    """An organization with so many indexes, each used in every hour of a day and its project on
    every one of 30 days.
    """
    path = Path(settings.TAMARACK_HOME) / "keys" / "root.key"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    LocalProvider(path).create()
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    owner = factories.make_user()
    organization = factories.make_organization(owner)
    now = timezone.now()
    for first in range(0, indexes, PER_PROJECT):
        project = factories.make_project(organization)
        made = Index.objects.bulk_create(
            Index(
                project=project,
                name=f"index-{number}",
                dimension=384,
                metric="cosine",
                vector_type="dense",
                cloud="aws",
                region="us-east-1",
                label=f"index-{number}",
                gateway_port=FIRST_PORT + number,
                state=Index.State.READY,
            )
            for number in range(first, min(first + PER_PROJECT, indexes))
        )
        IndexStatistics.objects.bulk_create(
            IndexStatistics(index=each, records=1000, namespaces=1, bytes=10**6, measured_at=now)
            for each in made
        )
        hour = now.replace(minute=0, second=0, microsecond=0)
        IndexTraffic.objects.bulk_create(
            IndexTraffic(index=each, hour=hour - timedelta(hours=hours), kind=kind, calls=9)
            for each in made
            for hours in range(24)
            for kind in IndexTraffic.Kind
        )
        ProjectTraffic.objects.bulk_create(
            ProjectTraffic(
                project=project, day=now.date() - timedelta(days=days), kind=kind, calls=9
            )
            for days in range(DAYS)
            for kind in IndexTraffic.Kind
        )
    host = urlsplit(settings.TAMARACK_PUBLIC_URL).netloc
    return Filled(Browser(owner, HTTP_HOST=host), f"/organizations/{organization.pk}/")

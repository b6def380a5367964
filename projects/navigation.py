"""What the pages of a project have in common, whichever room brings them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.urls import reverse

from orgs.actors import Actor
from orgs.permissions import Permission
from projects.models import Project
from projects.selectors import permissions_within


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of the project."""

    label: str
    url: str
    is_current: bool


TABS = (
    ("API keys", "keys:list", Permission.API_KEY_READ),
    ("Indexes", "indexes:project", Permission.INDEX_READ),
)


def project_context(actor: Actor, project: Project, *, current: str) -> dict[str, object]:
    """What `projects/layout.html` shows: the project and those of its pages that the actor may see.

    Args:
        current: the URL name of the page that is shown.
    """
    held = permissions_within(actor, project)
    tabs = [
        Tab(label, reverse(name, args=[project.pk]), name == current)
        for label, name, permission in TABS
        if permission in held
    ]
    return {
        "project": project,
        "organization": project.organization,
        "tabs": tabs,
        "gateway": settings.TAMARACK_PUBLIC_URL,
        "ca_file": Path(settings.TAMARACK_HOME) / "certs" / "ca.pem",
    }

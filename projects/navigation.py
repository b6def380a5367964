"""What the pages of a project have in common, whichever room brings them."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from projects.models import Project


def project_context(project: Project) -> dict[str, object]:
    """What the templates of all pages of a project use, the side bar included."""
    return {
        "project": project,
        "organization": project.organization,
        "gateway": settings.TAMARACK_PUBLIC_URL,
        "ca_file": ca_file(),
    }


def ca_file() -> Path:
    """Where the certificate authority is that clients have to trust."""
    return Path(settings.TAMARACK_HOME) / "certs" / "ca.pem"

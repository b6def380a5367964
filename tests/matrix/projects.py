"""Pages of projects: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

from orgs.models import User
from projects.models import Project
from tests.cast import Cast

ORG, PROJECT = "organizations/<uuid:organization_id>/", "projects/<uuid:project_id>/"
PAGES: dict[str, tuple[str, str]] = {
    "": ("in to to to to to to to to to to to to to to", ""),
    "organizations/create/": (
        "in ok ok no no no no no no no no no no no no",
        "in to to no no no no no no no no no no no no",
    ),
    f"{ORG}projects/create/": (
        "in - ok ok no no no no no no no no no no no",
        "in - to to no no no no no no no no no no no",
    ),
    f"{PROJECT}members/": (
        "in - ok - - - ok ok ok no no no no no no",
        "in - to - - - to no no no no no no no no",
    ),
    f"{PROJECT}settings/": (
        "in - ok - - - ok no no no no no no no no",
        "in - to - - - to no no no no no no no no",
    ),
    f"{PROJECT}settings/archive/": (
        "in - ok - - - ok no no no no no no no no",
        "in - to - - - to no no no no no no no no",
    ),
    f"{PROJECT}settings/delete/": (
        "in - ok - - - ok no no no no no no no no",
        "in - bad - - - bad no no no no no no no no",
    ),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    Project.objects.filter(pk=cast.project.pk).update(archived_at=None)
    return {}


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    cast.project.refresh_from_db()
    filled: dict[str, object] = {"email": cast.bob.email, "confirm": "another name"}
    if route == f"{PROJECT}settings/":
        limits = {"max_indexes": 700, "max_api_keys": 700}
        filled |= {"name": "Renamed", "version": cast.project.version, **limits}
    return filled

"""Pages of several rooms together: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

from orgs.models import User
from tests.cast import Cast

ORG, PROJECT = "organizations/<uuid:organization_id>/", "projects/<uuid:project_id>/"
PAGES: dict[str, tuple[str, str]] = {
    ORG: ("in - ok ok ok ok ok ok ok ok ok ok ok ok ok", ""),
    f"{ORG}usage/": ("in - ok ok ok ok ok ok ok ok ok ok ok ok ok", ""),
    PROJECT: ("in - ok - - - ok ok ok ok ok ok ok ok ok", ""),
    f"{PROJECT}start/": ("in - ok - - - ok ok ok ok ok ok ok ok ok", ""),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    return {}


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    return {}

"""Pages of the operator area: for nobody with a role anywhere (tests/controlplane/test_urls.py).

Those who may see them: tests/console/test_pages_operator.py.

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

from orgs.models import User
from tests.cast import Cast

HIDDEN = f"in{' -' * 14}"
PAGES: dict[str, tuple[str, str]] = {
    "operator/": (HIDDEN, ""),
    "operator/organizations/": (HIDDEN, ""),
    "operator/organizations/<uuid:organization_id>/": (HIDDEN, HIDDEN),
    "operator/work/": (HIDDEN, ""),
    "operator/drift/": (HIDDEN, HIDDEN),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    return {}


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    return {}

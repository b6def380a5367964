"""Pages of indexes: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

import uuid

from indexes.models import Index
from orgs.models import User
from tests.cast import Cast
from tests.indexes.conftest import make_index

ORG, PROJECT = "organizations/<uuid:organization_id>/", "projects/<uuid:project_id>/"
PAGES: dict[str, tuple[str, str]] = {
    f"{PROJECT}indexes/": ("in - ok - - - ok ok no ok ok ok ok no no", ""),
    f"{PROJECT}indexes/create/": (
        "in - ok - - - ok ok no ok no ok no no no",
        "in - to - - - to to no to no to no no no",
    ),
    f"{PROJECT}indexes/<uuid:index_id>/": ("in - ok - - - ok ok no ok ok ok ok no no", ""),
    f"{PROJECT}indexes/<uuid:index_id>/requests/": (
        "in - ok - - - ok ok no ok ok ok ok no no",
        "",
    ),
    f"{PROJECT}indexes/<uuid:index_id>/configuration/": (
        "in - ok - - - ok ok no ok ok ok ok no no",
        "in - to - - - to to no to no to no no no",
    ),
    f"{PROJECT}indexes/<uuid:index_id>/encryption/": (
        "in - ok - - - ok ok no ok ok ok ok no no",
        "",
    ),
    f"{PROJECT}indexes/<uuid:index_id>/delete/": (
        "in - ok - - - ok ok no ok no ok no no no",
        "in - to - - - to to no to no to no no no",
    ),
}


def living(cast: Cast) -> Index | None:
    """The index that the pages are about; the one before may be on its way out."""
    return Index.objects.filter(project=cast.project).exclude(state="Terminating").first()


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    index = living(cast) or make_index(cast.project, f"products-{uuid.uuid4().hex[:8]}")
    return {"<uuid:index_id>": index.pk}


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    index = living(cast)
    shape = {"vector_type": "dense", "dimension": 3, "metric": "cosine"}
    place = {"cloud": "aws", "region": "us-east-1", "confirm": index.name if index else ""}
    return {"name": f"made-{uuid.uuid4().hex[:8]}", **shape, **place}

"""Pages of API keys and service accounts: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

from keys.models import ServiceAccount
from orgs.models import User
from tests.cast import Cast
from tests.factories import make_service_account

ORG, PROJECT = "organizations/<uuid:organization_id>/", "projects/<uuid:project_id>/"
OWNERS = f"in - ok{' no' * 12}"
PAGES: dict[str, tuple[str, str]] = {
    f"{ORG}service-accounts/": (OWNERS, ""),
    f"{ORG}service-accounts/create/": (OWNERS, OWNERS),
    f"{ORG}service-accounts/<uuid:account_id>/": (OWNERS, OWNERS.replace("ok", "to")),
    f"{ORG}service-accounts/<uuid:account_id>/rotate/": (OWNERS, OWNERS),
    f"{ORG}service-accounts/<uuid:account_id>/delete/": (OWNERS, OWNERS.replace("ok", "to")),
    f"{PROJECT}keys/": ("in - ok - - - ok ok ok no no no no no no", ""),
    f"{PROJECT}keys/create/": (
        "in - ok - - - ok no no no no no no no no",
        "in - ok - - - ok no no no no no no no no",
    ),
    f"{PROJECT}keys/<uuid:key_id>/": ("in - ok - - - ok ok ok no no no no no no", ""),
    f"{PROJECT}keys/<uuid:key_id>/edit/": (
        "in - ok - - - ok no no no no no no no no",
        "in - to - - - to no no no no no no no no",
    ),
    f"{PROJECT}keys/<uuid:key_id>/rotate/": (
        "in - ok - - - ok no no no no no no no no",
        "in - ok - - - ok no no no no no no no no",
    ),
    f"{PROJECT}keys/<uuid:key_id>/revoke/": (
        "in - ok - - - ok no no no no no no no no",
        "in - to - - - to no no no no no no no no",
    ),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    account, _ = make_service_account(cast.organization)
    return {"<uuid:account_id>": account.pk}


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    newest = ServiceAccount.objects.order_by("-created_at").first()
    is_account = "account_id" in route
    return {"confirm": newest.name if newest and is_account else "key"}

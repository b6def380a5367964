"""Pages of an organization's rules: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

import uuid

from orgs.models import CustomRole, ResourceType, SecurityBaseline, User
from orgs.services.roles import create_role
from tests.cast import Cast
from tests.factories import SYSTEM

ORG = "organizations/<uuid:organization_id>/"
ROLE = f"{ORG}roles/<uuid:role_id>/"
ALL, OWNER = f"in -{' ok' * 13}", "in - {}" + " no" * 12
PAGES: dict[str, tuple[str, str]] = {
    f"{ORG}roles/": (ALL, ""),
    f"{ORG}roles/create/<str:kind>/": (OWNER.format("ok"), OWNER.format("to")),
    ROLE: (ALL, ""),
    f"{ROLE}edit/": (OWNER.format("ok"), OWNER.format("to")),
    f"{ROLE}delete/": (OWNER.format("ok"), OWNER.format("to")),
    f"{ORG}security/": (ALL, OWNER.format("to")),
    f"{ORG}plan/": ("in - ok no no ok no no no no no no no no no", ""),
    f"{ORG}settings/": (OWNER.format("ok"), OWNER.format("to")),
    f"{ORG}settings/delete/": (OWNER.format("ok"), OWNER.format("bad")),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    role = create_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        name=f"Role {uuid.uuid4().hex[:8]}",
        resource_type=ResourceType.PROJECT,
        permissions=["index:read"],
    )
    return {"<uuid:role_id>": role.pk, "<str:kind>": "project"}


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    newest = CustomRole.objects.order_by("-created_at").first()
    baseline = SecurityBaseline.objects.filter(pk=cast.organization.pk).first()
    cast.organization.refresh_from_db()
    unique = uuid.uuid4().hex[:8]
    forms: dict[str, dict[str, object]] = {
        f"{ROLE}delete/": {"confirm": newest.name if newest else ""},
        f"{ORG}security/": {
            "version": baseline.version if baseline else 0,
            "session_hours": 12,
            "ip_ranges": "",
        },
        f"{ORG}settings/": {"version": cast.organization.version, "name": f"Acme {unique}"},
        f"{ORG}settings/delete/": {"confirm": "another"},
    }
    return forms.get(route, {"name": f"Made {unique}", "permissions": ["index:read"]})

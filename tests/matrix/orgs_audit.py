"""Pages of audit trail, streams and denials: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

from uuid import uuid4

from audit.models import AuditEvent, Stream
from orgs.models import Decision, User
from orgs.services.audit import create_stream
from tests.cast import Cast

ORG, PROJECT = "organizations/<uuid:organization_id>/", "projects/<uuid:project_id>/"
OWNERS = f"in - ok{' no' * 12}"
PAGES: dict[str, tuple[str, str]] = {
    f"{ORG}audit/": (OWNERS, ""),
    f"{ORG}audit/<uuid:event_id>/": (OWNERS, ""),
    f"{ORG}denials/": (OWNERS, ""),
    f"{ORG}streams/": (OWNERS, ""),
    f"{ORG}streams/create/<str:kind>/": (OWNERS, OWNERS),
    f"{ORG}streams/<uuid:stream_id>/edit/": (OWNERS, OWNERS.replace("ok", "to")),
    f"{ORG}streams/<uuid:stream_id>/delete/": (OWNERS, OWNERS.replace("ok", "to")),
    "denials/<uuid:decision_id>/": (f"in - ok{' -' * 12}", ""),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    event = AuditEvent.objects.filter(organization_id=cast.organization.pk).first()
    decision = Decision.objects.create(
        id=uuid4(),
        organization_id=cast.organization.pk,
        actor_kind="user",
        actor_id=str(cast.bob.pk),
        actor_label=cast.bob.email,
        permission="sso:manage",
        what="single sign-on",
        hidden=True,
        fingerprint=uuid4().hex,
    )
    name = f"Stream {uuid4().hex[:8]}"
    stream, _ = create_stream(
        actor=cast.actor(cast.alice),
        organization_id=cast.organization.pk,
        name=name,
        kind=Stream.Kind.WEBHOOK,
        config={"url": "https://siem.example.com/events"},
    )
    return {
        "<uuid:stream_id>": stream.pk,
        "<str:kind>": "webhook",
        "<uuid:event_id>": event.pk if event else uuid4(),
        "<uuid:decision_id>": decision.pk,
    }


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    newest = Stream.objects.order_by("-created_at").first()
    return {
        "name": f"Made {uuid4().hex[:8]}",
        "url": "https://siem.example.com/events",
        "version": newest.version if newest else 1,
        "confirm": newest.name if newest else "",
    }

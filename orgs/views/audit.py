"""Pages: the audit log of an organization, one event of it, its proof, and the export."""

from __future__ import annotations

import json
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from audit.models import AuditEvent
from audit.selectors import places_of
from orgs.decorators import PageRequest, page
from orgs.entitlements import entitlements
from orgs.errors import FailedPrecondition
from orgs.forms.audit import AuditSearchForm
from orgs.plans import Entitlement
from orgs.selectors.audit import EventFilter, events_of, get_event, inclusion_proof
from orgs.selectors.organizations import get_organization
from orgs.services.audit import export_events

PER_PAGE = 50


@require_safe
@page
def log(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The events that fit the filters in the address, newest first."""
    organization = get_organization(request.actor, organization_id)
    form = AuditSearchForm(request.GET)
    wanted = form.wanted() if form.is_valid() else EventFilter()
    events = events_of(request.actor, organization.pk, wanted)
    if not form.is_valid():
        events = AuditEvent.objects.none()
    shown = Paginator(events, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "organization": organization,
        "form": form,
        "page": shown,
        "is_filtered": any(request.GET.get(name) for name in form.fields),
        "can_export": bool(entitlements(organization)[Entitlement.AUDIT_EXPORT].value),
    }
    return render(request, "orgs/audit/log.html", context, status=200 if form.is_valid() else 422)


@require_safe
@page
def event(request: PageRequest, organization_id: UUID, event_id: UUID) -> HttpResponse:
    """Everything that is known of one event, what it changed, and its place in the log."""
    organization = get_organization(request.actor, organization_id)
    found = get_event(request.actor, organization.pk, event_id)
    changes = [
        (field, _words(change.get("before")), _words(change.get("after")))
        for field, change in found.changes.items()
    ]
    context = {
        "organization": organization,
        "event": found,
        "place": places_of([found]).get(found.pk),
        "changes": changes,
        "detail": [(name, _words(value)) for name, value in found.detail.items()],
    }
    return render(request, "orgs/audit/event.html", context)


def _words(value: object) -> str:
    """A kept value as text; the structure of larger ones stays."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


@require_safe
@page
def proof(request: PageRequest, organization_id: UUID, event_id: UUID) -> HttpResponse:
    """The proof that the event is in the log, as a file."""
    organization = get_organization(request.actor, organization_id)
    found = get_event(request.actor, organization.pk, event_id)
    place = places_of([found]).get(found.pk)
    if place is None:
        raise FailedPrecondition(
            f"Audit event {found.pk} is not sealed yet. That takes a minute: try again then."
        )
    leaf_hash, made = inclusion_proof(request.actor, organization.pk, place.seq)
    body = {
        "event_id": str(found.pk),
        "seq": place.seq,
        "size": made.size,
        "root": made.root.hex(),
        "leaf_hash": leaf_hash.hex(),
        "hashes": [each.hex() for each in made.hashes],
    }
    name = f"proof-{found.pk}.json"
    return JsonResponse(body, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@require_POST
@page
def export(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The sealed events of the chosen days as a file that `manage.py audit_verify` checks."""
    organization = get_organization(request.actor, organization_id)
    form = AuditSearchForm(request.POST)
    if not form.is_valid():
        empty = Paginator(AuditEvent.objects.none(), PER_PAGE).get_page(1)
        context = {"organization": organization, "form": form, "page": empty, "can_export": True}
        return render(request, "orgs/audit/log.html", context, status=422)
    since, until = form.times()
    lines = export_events(
        actor=request.actor, organization_id=organization.pk, since=since, until=until
    )
    name = f"audit-{organization.pk}.jsonl"
    return StreamingHttpResponse(  # type: ignore[return-value]  # a response without its content
        lines,
        content_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )

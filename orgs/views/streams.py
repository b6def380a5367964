"""Pages: where an organization's audit events are sent, and whether they arrive."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.models import Stream
from audit.selectors import size_of
from orgs.decorators import PageRequest, page
from orgs.errors import Aborted
from orgs.forms.people import ConfirmForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.forms.streams import StreamForm
from orgs.models import Organization
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.audit import get_stream, streams_of
from orgs.selectors.organizations import get_organization
from orgs.services import audit as services

FORM_METHODS = ["GET", "HEAD", "POST"]
KINDS = {
    Stream.Kind.WEBHOOK: "Webhook",
    Stream.Kind.S3: "S3-compatible storage",
    Stream.Kind.SYSLOG: "Syslog",
}


@require_safe
@page
def streams(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Every stream, and how far it is behind."""
    found = get_organization(request.actor, organization_id)
    rows = list(streams_of(request.actor, found.pk))
    size = size_of(found.pk)
    held = permissions_of(request.actor, organization_id=found.pk)
    context = {
        "organization": found,
        "rows": [
            {
                "stream": row,
                "kind": KINDS[Stream.Kind(row.kind)],
                "host": services.host_of(row),
                "behind": max(0, size - row.next_seq),
            }
            for row in rows
        ],
        "kinds": list(KINDS.items()),
        "can_manage": Permission.AUDIT_MANAGE in held,
    }
    return render(request, "orgs/streams/list.html", context)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, organization_id: UUID, kind: str) -> HttpResponse:
    """Makes a stream; a webhook's secret is shown in the answer, once."""
    found = _managed(request, organization_id)
    chosen = Stream.Kind(kind) if kind in KINDS else Stream.Kind.WEBHOOK
    form = StreamForm(request.POST if request.method == "POST" else None, kind=chosen)
    if form.is_valid():
        try:
            stream, secret = services.create_stream(
                actor=request.actor,
                organization_id=found.pk,
                name=form.cleaned_data["name"],
                kind=chosen,
                config=form.config(),
                secret=form.cleaned_data.get("secret", ""),
            )
        except SHOWN as error:
            add_refusal(form, error)
        else:
            return _made(request, found, stream, secret)
    context = {"organization": found, "form": form, "kind": chosen, "kinds": list(KINDS.items())}
    status = 422 if form.errors else 200
    return render(request, "orgs/streams/create.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def edit(request: PageRequest, organization_id: UUID, stream_id: UUID) -> HttpResponse:
    """Changes where it leads; what is due is tried again at once."""
    found = _managed(request, organization_id)
    stream = get_stream(request.actor, found.pk, stream_id)
    kind = Stream.Kind(stream.kind)
    form = StreamForm(request.POST if request.method == "POST" else None, kind=kind, stream=stream)
    if form.is_valid():

        def check(version: int) -> None:
            if version != form.cleaned_data["version"]:
                raise Aborted("Somebody has changed this stream meanwhile. Open it again.")

        try:
            services.update_stream(
                actor=request.actor,
                organization_id=found.pk,
                stream_id=stream.pk,
                name=form.cleaned_data["name"],
                config=form.config(),
                secret=form.cleaned_data.get("secret") or None,
                check=check,
            )
        except SHOWN as error:
            add_refusal(form, error)
        else:
            messages.success(request, f"The stream {stream.name} is changed.")
            return redirect("orgs:streams", found.pk)
    context = {"organization": found, "form": form, "stream": stream}
    status = 422 if form.errors else 200
    return render(request, "orgs/streams/edit.html", context, status=status)


@require_POST
@page
def switch(request: PageRequest, organization_id: UUID, stream_id: UUID) -> HttpResponse:
    """Pauses the stream, or lets it go on (`on`) where it stopped."""
    found = _managed(request, organization_id)
    stream = services.update_stream(
        actor=request.actor,
        organization_id=found.pk,
        stream_id=stream_id,
        enabled="on" in request.POST,
    )
    state = "goes on where it stopped" if stream.is_enabled else "is paused; nothing is lost"
    messages.success(request, f"The stream {stream.name} {state}.")
    return redirect("orgs:streams", found.pk)


@require_POST
@page
def rotate(request: PageRequest, organization_id: UUID, stream_id: UUID) -> HttpResponse:
    """A new signing secret for a webhook, shown in the answer, once."""
    found = _managed(request, organization_id)
    try:
        stream, secret = services.rotate_stream_secret(
            actor=request.actor, organization_id=found.pk, stream_id=stream_id
        )
    except SHOWN as error:
        messages.error(request, error.message)
        return redirect("orgs:streams", found.pk)
    return _made(request, found, stream, secret)


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, organization_id: UUID, stream_id: UUID) -> HttpResponse:
    """Asks for the stream's name, then sends nothing there any more."""
    found = _managed(request, organization_id)
    stream = get_stream(request.actor, found.pk, stream_id)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=stream.name)
    if form.is_valid():
        services.delete_stream(actor=request.actor, organization_id=found.pk, stream_id=stream.pk)
        messages.success(request, f"The stream {stream.name} is deleted.")
        return redirect("orgs:streams", found.pk)
    context = {"organization": found, "form": form, "stream": stream}
    status = 422 if form.errors else 200
    return render(request, "orgs/streams/delete.html", context, status=status)


def _managed(request: PageRequest, organization_id: UUID) -> Organization:
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.AUDIT_MANAGE, organization_id=found.pk)
    return found


def _made(
    request: PageRequest, organization: Organization, stream: Stream, secret: str
) -> HttpResponse:
    context = {"organization": organization, "stream": stream, "secret": secret}
    return render(request, "orgs/streams/made.html", context)

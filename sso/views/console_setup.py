"""Pages of one connection: its guided set-up, what the identity provider tells, and links for its
administrator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from orgs.actors import Actor
from orgs.decorators import PageRequest, page
from orgs.errors import Refused
from sso.forms import ByHandForm, MetadataForm, MetadataUrlForm, OidcForm
from sso.models import Connection
from sso.selectors.connections import setup_links_of
from sso.services.certificates import add_certificate
from sso.services.connections import update_connection
from sso.services.metadata import import_metadata, set_metadata_url
from sso.services.setup_links import create_setup_link
from sso.views.console import FORM_METHODS, connection_for, page_of, reason_of, show

State = Connection.State
PROVIDER_PAGE = "sso/connection/provider.html"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the set-up.

    Attributes:
        state: `done`, `now` (the first that is not) or `later`.
    """

    name: str
    title: str
    number: int
    state: str

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state == "done"


def steps_of(connection: Connection) -> list[Step]:
    """How far the set-up is. Two queries."""
    domains = list(connection.domains.all())
    done = {
        "values": connection.state != State.DRAFT or knows_provider(connection),
        "provider": knows_provider(connection),
        "domains": any(domain.verified_at for domain in domains),
        "test": connection.is_tested,
        "on": connection.is_usable,
        "require": connection.state == State.ENFORCED,
    }
    titles = {
        "values": "Tell the identity provider about Tamarack",
        "provider": "Tell Tamarack about the identity provider",
        "domains": "Prove that the domain is yours",
        "test": "Try it",
        "on": "Switch it on",
        "require": "Require it of everybody",
    }
    first = next((name for name, is_done in done.items() if not is_done), "")
    return [
        Step(name, titles[name], number, "done" if is_done else "now" if name == first else "later")
        for number, (name, is_done) in enumerate(done.items(), start=1)
    ]


def knows_provider(connection: Connection) -> bool:
    """Whether everything is there that a sign-in needs from the identity provider."""
    if connection.protocol == Connection.Protocol.OIDC:
        return bool(connection.issuer and connection.client_id and connection.wrapped_client_secret)
    now = timezone.now()
    valid = any(certificate.not_after > now for certificate in connection.certificates.all())
    return bool(connection.idp_entity_id and connection.sso_url and valid)


@require_safe
@page
def connection(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """The set-up, step by step."""
    found = connection_for(request, organization_id, connection_id)
    steps = steps_of(found)
    context = {
        "steps": steps,
        "done": sum(step.is_done for step in steps),
        "domains": list(found.domains.all()),
        "certificates": list(found.certificates.all()),
        "callback_url": f"{found.base_url}/callback",
        "can_test": found.state in {State.TESTING, State.ACTIVE, State.ENFORCED},
    }
    return show(
        request, "sso/connection/set_up.html", found, current="sso:connection", context=context
    )


@require_http_methods(FORM_METHODS)
@page
def provider(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """What the identity provider tells: by metadata, by its address, or by hand."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    forms_of = provider_forms(found)
    how = request.POST.get("how", "")
    if request.method == "POST" and how in forms_of:
        form = provider_forms(found, request.POST, request.FILES)[how]
        forms_of[how] = form
        if form.is_valid():
            try:
                take(request.actor, found, form)
            except Refused as error:
                form.add_error(None, reason_of(error))
            else:
                messages.success(request, f"{found.name} knows the identity provider now.")
                return redirect(page_of(found))
    return show(
        request,
        PROVIDER_PAGE,
        found,
        current="sso:connection",
        context={"how": how, **forms_of},
    )


def provider_forms(
    connection: Connection, data: Any = None, files: Any = None
) -> dict[str, forms.Form]:
    """The ways in which the identity provider can be told of, as the page names them."""
    if connection.protocol == Connection.Protocol.OIDC:
        has_secret = bool(connection.wrapped_client_secret)
        return {"oidc": OidcForm(data, initial=_initial(connection), has_secret=has_secret)}
    return {
        "metadata": MetadataForm(data, files, prefix="metadata"),
        "url": MetadataUrlForm(data, prefix="url", initial=_initial(connection)),
        "hand": ByHandForm(
            data,
            prefix="hand",
            initial=_initial(connection),
            has_certificate=connection.certificates.exists(),
        ),
    }


def _initial(connection: Connection) -> dict[str, str]:
    names = ("metadata_url", "idp_entity_id", "sso_url", "slo_url", "issuer", "client_id")
    return {name: getattr(connection, name) for name in names}


def take(actor: Actor, connection: Connection, form: forms.Form) -> None:
    """Keep what a form of `provider_forms` says.

    Raises:
        Refused: the services refuse it.
    """
    if isinstance(form, MetadataForm):
        entity_id = form.cleaned_data["idp_entity_id"]
        with transaction.atomic():
            if entity_id:
                named: dict[str, object] = {"idp_entity_id": entity_id}
                update_connection(actor=actor, connection_id=connection.pk, changes=named)
            import_metadata(actor=actor, connection_id=connection.pk, xml=form.xml())
    elif isinstance(form, MetadataUrlForm):
        url = form.cleaned_data["metadata_url"]
        set_metadata_url(actor=actor, connection_id=connection.pk, url=url)
    elif isinstance(form, OidcForm):
        update_connection(actor=actor, connection_id=connection.pk, changes=form.changes())
    else:
        changes = dict(form.cleaned_data)
        pem = changes.pop("certificate")
        with transaction.atomic():
            # The certificate first: without one a connection in use is not complete.
            if pem.strip():
                add_certificate(actor=actor, connection_id=connection.pk, pem=pem)
            update_connection(actor=actor, connection_id=connection.pk, changes=changes)


@require_http_methods(FORM_METHODS)
@page
def setup_link(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """A link for the administrator of the identity provider; shown once."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    context: dict[str, object] = {
        "refused": "",
        "links": list(setup_links_of(request.actor, found.pk)[:10]),
    }
    if request.method == "POST":
        try:
            link, token = create_setup_link(actor=request.actor, connection_id=found.pk)
        except Refused as error:
            context["refused"] = reason_of(error)
        else:
            url = settings.TAMARACK_PUBLIC_URL + reverse("sso:setup", args=[token])
            context |= {"link": link, "url": url}
    context["now"] = timezone.now()
    return show(
        request, "sso/connection/setup_link.html", found, current="sso:connection", context=context
    )

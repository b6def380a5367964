"""Pages of one connection: how it signs in, who comes in as what, certificates and keys."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from orgs.decorators import PageRequest, page
from orgs.entitlements import entitlements
from orgs.errors import Refused, no_such
from orgs.plans import Entitlement
from sso.checks import ATTRIBUTES
from sso.forms import (
    CertificateForm,
    MappingRow,
    ProjectRoleRow,
    RolesForm,
    Rows,
    SettingsForm,
    project_choices,
    role_choices,
)
from sso.models import Connection, SpKey
from sso.selectors.connections import WARN_WITHIN
from sso.services.certificates import add_certificate, remove_certificate
from sso.services.connections import update_connection
from sso.services.sp_keys import drop_previous_sp_key, prepare_sp_key, rotate_sp_key
from sso.views.console import FORM_METHODS, connection_for, page_of, reason_of, show

KEY_ACTIONS = {
    "prepare": (
        prepare_sp_key,
        "The next key stands in the metadata. Have the identity provider read it, then change"
        " over.",
    ),
    "rotate": (rotate_sp_key, "Requests are signed with the new key now."),
    "drop": (drop_previous_sp_key, "The previous key is gone."),
}


@require_http_methods(FORM_METHODS)
@page
def settings(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Name, length of sign-ins, what has to be signed."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    initial = {name: getattr(found, name) for name in SettingsForm.base_fields}
    form = SettingsForm(
        request.POST if request.method == "POST" else None,
        initial=initial,
        protocol=found.protocol,
    )
    if form.is_valid():
        try:
            update_connection(
                actor=request.actor, connection_id=found.pk, changes=form.cleaned_data
            )
        except Refused as error:
            form.add_error(None, reason_of(error))
        else:
            messages.success(request, "The settings are kept.")
            return redirect(page_of(found, "sso:settings"))
    return show(
        request,
        "sso/connection/settings.html",
        found,
        current="sso:settings",
        context={"form": form},
    )


@require_http_methods(FORM_METHODS)
@page
def roles(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Attributes, default roles, and which group or role of the identity provider gives what."""
    found = connection_for(request, organization_id, connection_id, to_change=True)
    entitled = entitlements(found.organization)[Entitlement.SAML_ROLES]
    data = request.POST if request.method == "POST" else None
    form = RolesForm(data, initial=_roles_initial(found), can_map=entitled.value is True)
    projects = project_choices(found.organization_id)
    on_projects, anywhere = role_choices(found.organization_id)
    project_rows = Rows(
        ProjectRoleRow,
        "projects",
        kept=found.default_project_roles,
        data=data,
        projects=projects,
        roles=on_projects,
    )
    mapping_rows = Rows(
        MappingRow,
        "mappings",
        kept=found.role_mappings,
        data=data,
        projects=projects,
        roles=anywhere,
    )
    if form.is_valid() and project_rows.is_valid() and mapping_rows.is_valid():
        changes = {
            **form.changes(),
            "default_project_roles": project_rows.rows(),
            "role_mappings": mapping_rows.rows(),
        }
        try:
            update_connection(actor=request.actor, connection_id=found.pk, changes=changes)
        except Refused as error:
            form.add_error(None, reason_of(error))
        else:
            messages.success(request, "Attributes and roles are kept.")
            return redirect(page_of(found, "sso:roles"))
    elif form.is_bound and not form.errors:
        form.add_error(None, "A row of the tables is not complete.")
    return show(
        request,
        "sso/connection/roles.html",
        found,
        current="sso:roles",
        context={
            "form": form,
            "project_rows": project_rows,
            "mapping_rows": mapping_rows,
            "entitled": entitled,
        },
    )


def _roles_initial(connection: Connection) -> dict[str, object]:
    names = ("provisions_people", "default_role", "roles_mode")
    attributes = connection.attribute_map
    return {
        **{name: getattr(connection, name) for name in names},
        **{f"attribute_{name}": attributes.get(name, "") for name in ATTRIBUTES},
    }


@require_http_methods(FORM_METHODS)
@page
def certificates(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """The identity provider's certificates, one more, and our own keys with their change-over."""
    found = connection_for(request, organization_id, connection_id)
    act = request.POST.get("key", "")
    if request.method == "POST" and act in KEY_ACTIONS:
        service, said = KEY_ACTIONS[act]
        try:
            service(actor=request.actor, connection_id=found.pk)
        except Refused as error:
            messages.error(request, reason_of(error))
        else:
            messages.success(request, said)
        return redirect(page_of(found, "sso:certificates"))
    form = CertificateForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            pem = form.cleaned_data["pem"]
            add_certificate(actor=request.actor, connection_id=found.pk, pem=pem)
        except Refused as error:
            form.add_error("pem", reason_of(error))
        else:
            messages.success(request, "The certificate is added.")
            return redirect(page_of(found, "sso:certificates"))
    now = timezone.now()
    keys = {key.state: key for key in found.sp_keys.all()}
    context = {
        "form": form,
        "certificates": list(found.certificates.all()),
        "now": now,
        "soon": now + WARN_WITHIN,
        "keys": [keys[state] for state in reversed(SpKey.State.values) if state in keys],
        "has_next": SpKey.State.NEXT in keys,
        "has_previous": SpKey.State.PREVIOUS in keys,
    }
    return show(
        request,
        "sso/connection/certificates.html",
        found,
        current="sso:certificates",
        context=context,
    )


@require_http_methods(FORM_METHODS)
@page
def certificate_remove(
    request: PageRequest, organization_id: UUID, connection_id: UUID, certificate_id: UUID
) -> HttpResponse:
    """Ask, then trust a certificate no longer."""
    found = connection_for(request, organization_id, connection_id)
    certificate = found.certificates.filter(pk=certificate_id).first()
    if certificate is None:
        raise no_such(f"certificate {certificate_id}")
    context: dict[str, object] = {"certificate": certificate, "refused": ""}
    if request.method == "POST":
        try:
            remove_certificate(
                actor=request.actor, connection_id=found.pk, certificate_id=certificate.pk
            )
        except Refused as error:
            context["refused"] = reason_of(error)
        else:
            messages.success(request, "The certificate is removed.")
            return redirect(page_of(found, "sso:certificates"))
    return show(
        request,
        "sso/connection/certificate_remove.html",
        found,
        current="sso:certificates",
        context=context,
    )

"""Pages of one connection: its sign-in log, the people linked by it, and its directory."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from orgs.decorators import PageRequest, page
from orgs.entitlements import entitlements
from orgs.errors import Refused, no_such
from orgs.plans import Entitlement
from sso.errors import PUBLIC_TEXTS, Code
from sso.forms import ScimTokenForm
from sso.selectors.connections import attempts_of, identities_of
from sso.selectors.scim import scim_tokens_of
from sso.services.identities import unlink_identity
from sso.services.scim_tokens import create_scim_token, revoke_scim_token, set_scim
from sso.views.console import FORM_METHODS, connection_for, page_of, reason_of, show

PAGE_SIZE = 50
NOT_FOUND_REFERENCE = "No line has this reference. It stands on the page that the person saw."


@require_safe
@page
def log(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """Who tried to sign in and what came of it; `reference` and `code` narrow it down."""
    found = connection_for(request, organization_id, connection_id)
    attempts = attempts_of(request.actor, found.pk)
    reference, code = request.GET.get("reference", "").strip(), request.GET.get("code", "")
    said = ""
    if reference:
        try:
            attempts = attempts.filter(pk=UUID(reference))
        except ValueError:
            attempts, said = attempts.none(), NOT_FOUND_REFERENCE
    if code == "refused":
        attempts = attempts.exclude(code="ok")
    elif code:
        attempts = attempts.filter(code=code[:40])
    shown = Paginator(attempts, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": shown,
        "attempts": list(shown),
        "reference": reference[:80],
        "code": code,
        "codes": ["ok", *Code],
        "said": said,
    }
    return show(request, "sso/connection/log.html", found, current="sso:log", context=context)


@require_safe
@page
def attempt(
    request: PageRequest, organization_id: UUID, connection_id: UUID, attempt_id: UUID
) -> HttpResponse:
    """One line of the log with everything that is kept of it."""
    found = connection_for(request, organization_id, connection_id)
    line = attempts_of(request.actor, found.pk).filter(pk=attempt_id).first()
    if line is None:
        raise no_such(f"sign-in {attempt_id}")
    known = line.code in set(Code)
    context = {
        "attempt": line,
        "attributes": [(name, _in_words(kept)) for name, kept in line.attributes.items()],
        "public_text": PUBLIC_TEXTS[Code(line.code)] if known else "",
    }
    return show(request, "sso/connection/attempt.html", found, current="sso:log", context=context)


def _in_words(kept: object) -> str:
    """An attribute's values, or how many there were."""
    if isinstance(kept, list):
        return ", ".join(map(str, kept))
    return f"{kept} value" if kept == 1 else f"{kept} values"


@require_safe
@page
def people(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """The people whom the identity provider signs in or lets in."""
    found = connection_for(request, organization_id, connection_id)
    shown = Paginator(identities_of(request.actor, found.pk), PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    context: dict[str, object] = {"page": shown, "identities": list(shown)}
    return show(request, "sso/connection/people.html", found, current="sso:people", context=context)


@require_http_methods(FORM_METHODS)
@page
def unlink(
    request: PageRequest, organization_id: UUID, connection_id: UUID, identity_id: UUID
) -> HttpResponse:
    """Ask, then forget who the person is at the identity provider."""
    found = connection_for(request, organization_id, connection_id)
    identity = identities_of(request.actor, found.pk).filter(pk=identity_id).first()
    if identity is None:
        raise no_such(f"identity {identity_id}")
    context: dict[str, object] = {"identity": identity, "refused": ""}
    if request.method == "POST":
        try:
            unlink_identity(actor=request.actor, connection_id=found.pk, identity_id=identity.pk)
        except Refused as error:
            context["refused"] = reason_of(error)
        else:
            messages.success(request, f"{identity.user.email} is linked no longer.")
            return redirect(page_of(found, "sso:people"))
    return show(request, "sso/connection/unlink.html", found, current="sso:people", context=context)


@require_http_methods(FORM_METHODS)
@page
def scim(request: PageRequest, organization_id: UUID, connection_id: UUID) -> HttpResponse:
    """The directory's address and tokens; a new token is shown once."""
    found = connection_for(request, organization_id, connection_id)
    context: dict[str, object] = {"form": ScimTokenForm()}
    if request.method == "POST":
        act = request.POST.get("act", "")
        try:
            if act == "token":
                form = ScimTokenForm(request.POST)
                context["form"] = form
                if form.is_valid():
                    token, secret = create_scim_token(
                        actor=request.actor,
                        connection_id=found.pk,
                        expires_in_days=form.cleaned_data["days"],
                    )
                    context |= {"made": token, "secret": secret}
            elif act in {"on", "off"}:
                set_scim(actor=request.actor, connection_id=found.pk, enabled=act == "on")
                messages.success(request, f"SCIM is {act}.")
                return redirect(page_of(found, "sso:scim"))
        except Refused as error:
            messages.error(request, reason_of(error))
            return redirect(page_of(found, "sso:scim"))
    context |= {
        "entitled": entitlements(found.organization)[Entitlement.SCIM],
        "tokens": list(scim_tokens_of(request.actor, found.pk)),
        "endpoint": f"{settings.TAMARACK_PUBLIC_URL}/scim/v2/{found.pk}",
        "now": timezone.now(),
    }
    return show(request, "sso/connection/scim.html", found, current="sso:scim", context=context)


@require_http_methods(FORM_METHODS)
@page
def scim_revoke(
    request: PageRequest, organization_id: UUID, connection_id: UUID, token_id: UUID
) -> HttpResponse:
    """Ask, then end a token of the directory."""
    found = connection_for(request, organization_id, connection_id)
    token = scim_tokens_of(request.actor, found.pk).filter(pk=token_id).first()
    if token is None:
        raise no_such(f"SCIM token {token_id}")
    if request.method == "POST":
        revoke_scim_token(actor=request.actor, connection_id=found.pk, token_id=token.pk)
        messages.success(request, "The token is revoked.")
        return redirect(page_of(found, "sso:scim"))
    return show(
        request,
        "sso/connection/scim_revoke.html",
        found,
        current="sso:scim",
        context={"token": token},
    )

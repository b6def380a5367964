"""Pages: an organization's service accounts, programs that come in by a client id and a secret."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from keys.forms import AccountForm, RotateAccountForm
from keys.models import ServiceAccount
from keys.selectors.service_accounts import accounts_of, get_account, secrets_of
from keys.services import service_accounts as services
from orgs.decorators import PageRequest, page
from orgs.errors import no_such
from orgs.forms.people import ConfirmForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.models import Organization, PrincipalType
from orgs.permissions import Permission, authorize, permissions_of
from orgs.selectors.access import held_by
from orgs.selectors.organizations import get_organization
from projects.navigation import ca_file

PER_PAGE = 50
FORM_METHODS = ["GET", "HEAD", "POST"]


@require_safe
@page
def accounts(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """The organization's service accounts."""
    found = get_organization(request.actor, organization_id)
    rows = accounts_of(request.actor, found.pk).order_by("name", "pk")
    context = {
        "organization": found,
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "can_manage": _can_manage(request, found),
    }
    return render(request, "keys/accounts/list.html", context)


@require_http_methods(FORM_METHODS)
@page
def create(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """Makes an account without roles; its secret is shown in the answer, once."""
    found = get_organization(request.actor, organization_id)
    authorize(request.actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=found.pk)
    form = AccountForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            account, secret = services.create_service_account(
                actor=request.actor, organization_id=found.pk, name=form.cleaned_data["name"]
            )
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            return _with_secret(request, found, account, secret)
    context = {"organization": found, "form": form}
    status = 422 if form.errors else 200
    return render(request, "keys/accounts/create.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def account(request: PageRequest, organization_id: UUID, account_id: UUID) -> HttpResponse:
    """One account: its roles and secrets; by POST, another name."""
    found, shown = _account(request, organization_id, account_id)
    form = AccountForm(
        request.POST if request.method == "POST" else None, initial={"name": shown.name}
    )
    if request.method == "POST":
        authorize(request.actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=found.pk)
    if form.is_valid():
        try:
            services.update_service_account(
                actor=request.actor, account_id=shown.pk, name=form.cleaned_data["name"]
            )
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, "The service account is renamed.")
            return redirect("keys:account", found.pk, shown.pk)
    held = permissions_of(request.actor, organization_id=found.pk)
    context = {
        "organization": found,
        "account": shown,
        "form": form,
        "roles": held_by(request.actor, found, (PrincipalType.SERVICE_ACCOUNT, shown.pk)),
        "secrets": secrets_of(request.actor, shown.pk),
        "can_manage": _can_manage(request, found),
        "can_grant": Permission.MEMBER_UPDATE in held,
    }
    status = 422 if form.errors else 200
    return render(request, "keys/accounts/account.html", context, status=status)


@require_http_methods(FORM_METHODS)
@page
def rotate(request: PageRequest, organization_id: UUID, account_id: UUID) -> HttpResponse:
    """Asks how long the old secret is to work on; answers with the new one, once."""
    found, shown = _account(request, organization_id, account_id)
    authorize(request.actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=found.pk)
    form = RotateAccountForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            changed, secret = services.rotate_secret(
                actor=request.actor,
                account_id=shown.pk,
                overlap_seconds=form.cleaned_data["hours"] * 3600,
            )
        except SHOWN as error:
            add_refusal(form, error)
        else:
            return _with_secret(request, found, changed, secret)
    context = {"organization": found, "account": shown, "form": form}
    status = 422 if form.errors else 200
    return render(request, "keys/accounts/rotate.html", context, status=status)


@require_POST
@page
def end_secret(
    request: PageRequest, organization_id: UUID, account_id: UUID, secret_id: UUID
) -> HttpResponse:
    """Ends one of the account's secrets, with the tokens that were issued for it."""
    found, shown = _account(request, organization_id, account_id)
    services.revoke_secret(actor=request.actor, account_id=shown.pk, secret_id=secret_id)
    messages.success(request, "The secret is refused from now on, and so are its tokens.")
    return redirect("keys:account", found.pk, shown.pk)


@require_http_methods(FORM_METHODS)
@page
def delete(request: PageRequest, organization_id: UUID, account_id: UUID) -> HttpResponse:
    """Asks for the account's name, then deletes it."""
    found, shown = _account(request, organization_id, account_id)
    authorize(request.actor, Permission.SERVICE_ACCOUNT_MANAGE, organization_id=found.pk)
    form = ConfirmForm(request.POST if request.method == "POST" else None, name=shown.name)
    if form.is_valid():
        services.delete_service_account(actor=request.actor, account_id=shown.pk)
        messages.success(request, f"The service account {shown.name} is deleted.")
        return redirect("keys:accounts", found.pk)
    context = {"organization": found, "account": shown, "form": form}
    status = 422 if form.errors else 200
    return render(request, "keys/accounts/delete.html", context, status=status)


def _account(
    request: PageRequest, organization_id: UUID, account_id: UUID
) -> tuple[Organization, ServiceAccount]:
    """The organization and the account in it.

    Raises:
        NotFound, PermissionDenied: not for this person, or of another organization.
    """
    found = get_organization(request.actor, organization_id)
    shown = get_account(request.actor, account_id)
    if shown.organization_id != found.pk:
        raise no_such(f"service account {account_id}")
    return found, shown


def _can_manage(request: PageRequest, organization: Organization) -> bool:
    held = permissions_of(request.actor, organization_id=organization.pk)
    return Permission.SERVICE_ACCOUNT_MANAGE in held


def _with_secret(
    request: PageRequest, organization: Organization, account: ServiceAccount, secret: str
) -> HttpResponse:
    context = {
        "organization": organization,
        "account": account,
        "secret": secret,
        "gateway": settings.TAMARACK_PUBLIC_URL,
        "ca_file": ca_file(),
    }
    return render(request, "keys/accounts/made.html", context)

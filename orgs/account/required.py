"""The one answer to everybody who has to sign in through their organization instead."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse  # noqa: TID251  allauth's pages
from django.shortcuts import render  # noqa: TID251  likewise
from django.utils.http import url_has_allowed_host_and_scheme

from orgs.authentication import client_ip, grants_of, request_id
from orgs.identity_providers import RequiredSignIn, identity_providers
from orgs.models import User
from orgs.services.people import record_failed_sign_in

REASON = "single sign-on is required"


def missing_sign_in(request: HttpRequest, user: User) -> RequiredSignIn | None:
    """The sign-in that the person's domain demands and this session has not seen; None: all is
    well.
    """
    required = identity_providers().required_sign_in(user.email)
    if required is None:
        return None
    granted = {grant.organization_id for grant in grants_of(request, user)}
    return None if required.organization_id in granted else required


def keeps_own_password(user: User) -> bool:
    """Whether the person's password is good for anything: no organization demands its own sign-in,
    or the person is named for emergencies.
    """
    required = identity_providers().required_sign_in(user.email)
    return required is None or user.pk in required.exempt


def refuse_sign_in(request: HttpRequest, email: str, required: RequiredSignIn) -> HttpResponse:
    """Lead to the required sign-in, and note that another one was tried.

    The same for every address of the domain, whether or not it has an account and the password was
    right. A plain link, since a form's answer may not lead to the identity provider.
    """
    record_failed_sign_in(
        email=email, reason=REASON, ip=client_ip(request), request_id=request_id(request)
    )
    next_path = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME, "")
    safe = url_has_allowed_host_and_scheme(next_path, allowed_hosts=None)
    query = urlencode({REDIRECT_FIELD_NAME: next_path}) if next_path and safe else ""
    return elsewhere(request, required, query=query)


def elsewhere(request: HttpRequest, required: RequiredSignIn, *, query: str = "") -> HttpResponse:
    """The page that leads there."""
    url = f"{required.url}?{query}" if query else required.url
    context = {"organization_name": required.organization_name, "url": url}
    return render(request, "account/sign_in_elsewhere.html", context, status=403)

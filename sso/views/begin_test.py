"""Where a test of a connection begins."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from orgs.decorators import PageRequest, page
from orgs.errors import FailedPrecondition
from sso.errors import SignInRefused
from sso.selectors.connections import get_connection
from sso.services.trial import begin_test
from sso.views.limits import limited
from sso.views.sign_in import send_away


@require_POST
@page
@limited
def test(request: PageRequest, connection_id: UUID) -> HttpResponse:
    """A page that leads to the identity provider: a form's answer may not redirect there."""
    connection = get_connection(request.actor, connection_id)
    try:
        begun = begin_test(actor=request.actor, connection=connection, user=request.user)
    except SignInRefused as refused:
        raise FailedPrecondition(
            f"{refused.reason} A connection is tested in the states testing, active and required."
        ) from refused
    away = send_away(request, begun, email=request.user.email)
    if "Location" not in away:
        return away
    context = {"sso_url": away["Location"], "organization_name": connection.organization.name}
    response = render(request, "sso/sign_in/leave.html", {**context, "is_test": True})
    response.cookies = away.cookies
    return response

"""Single logout: the identity provider ends our sessions, and we tell it of those that end here."""

from __future__ import annotations

import secrets
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from sso.errors import SignInRefused
from sso.models import Connection, Purpose
from sso.saml import names
from sso.saml.logout import (
    LogoutMessage,
    logout_request_redirect,
    logout_response_redirect,
    parse_logout,
)
from sso.selectors.leaving import read_leaving
from sso.services.logout import end_named_sessions
from sso.views.limits import limited
from sso.views.refusals import refuse, visitor_of
from sso.views.sign_in import find_connection

SIGNED_OUT = "sso/sign_in/signed_out.html"


@csrf_exempt
@require_http_methods(["GET", "POST"])
@never_cache
@limited
def sls(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Signed messages of the identity provider (single logout service): end sessions, or hear that
    it has ended its own.
    """
    connection = find_connection(connection_id, Connection.Protocol.SAML)
    try:
        message = _read(request, connection)
        if message.kind == "response":
            return render(request, SIGNED_OUT, {"is_everywhere": True})
        end_named_sessions(
            connection,
            message.id,
            message.name_id,
            message.session_indexes,
            visitor=visitor_of(request),
        )
    except SignInRefused as refused:
        return refuse(request, connection, Purpose.SIGN_IN, refused)
    if not connection.slo_url:
        return render(request, SIGNED_OUT, {"is_everywhere": True})
    return HttpResponseRedirect(
        logout_response_redirect(connection, message.id, message.relay_state, names.SUCCESS)
    )


@require_safe
@never_cache
@limited
def leave(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """After signing out here: on to the identity provider, which signs the person out everywhere
    else. A page that leads there, since a form's answer may not redirect to another site.
    """
    connection = find_connection(connection_id, Connection.Protocol.SAML)
    left = read_leaving(connection.pk, request.GET.get("token", ""))
    url = ""
    if left is not None and connection.slo_url:
        url = logout_request_redirect(
            connection,
            left["name_id"],
            left["name_id_format"],
            left["session_index"],
            f"_{secrets.token_hex(24)}",
        )
    context = {"slo_url": url, "organization_name": connection.organization.name}
    return render(request, SIGNED_OUT, context)


def _read(request: HttpRequest, connection: Connection) -> LogoutMessage:
    """The message, from the query string as it was sent, which is what is signed, or the form.

    Raises:
        SignInRefused: it is not to be believed.
    """
    if request.method == "GET":
        return parse_logout("GET", str(request.META.get("QUERY_STRING", "")), connection)
    return parse_logout("POST", request.POST.dict(), connection)

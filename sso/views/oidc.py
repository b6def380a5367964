"""Where an OpenID provider sends people back to."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from sso.errors import SignInRefused
from sso.models import Connection, SignInRequest
from sso.oidc.flow import assertion_of, refused_by
from sso.services.oidc import use_state
from sso.services.requests import accept_assertion, find_request
from sso.services.sign_in import check_usable
from sso.views.browsers import secret_of
from sso.views.limits import limited
from sso.views.sign_in import find_connection, refuse_answer, to_result


@require_GET
@never_cache
@limited
def callback(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """The provider's answer. The same browser brings it that began; no session is touched here."""
    connection = find_connection(connection_id, Connection.Protocol.OIDC)
    said = request.GET
    row: SignInRequest | None = None
    try:
        row = find_request(connection, said.get("state", ""))
        browser_secret = secret_of(request, row)
        use_state(row, browser_secret=browser_secret)
        check_usable(connection, row.purpose)
        if "error" in said:
            raise refused_by(said["error"], said.get("error_description", ""))
        assertion = assertion_of(
            connection,
            code=said.get("code", ""),
            issuer=said.get("iss", ""),
            state=row.request_id,
            browser_secret=browser_secret,
        )
        handle = accept_assertion(row, assertion)
    except SignInRefused as refused:
        return refuse_answer(request, connection, row, refused)
    return to_result(connection, handle)

"""The control plane's own answers: the probe, and what the API looks like."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from controlplane import openapi


@never_cache
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 while the control plane and its database answer, otherwise 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse(
            "The database does not answer.\n", status=503, content_type="text/plain"
        )
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def api_document(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document. No secret, so nobody has to sign in for it."""
    return HttpResponse(openapi.text(), content_type="application/json")

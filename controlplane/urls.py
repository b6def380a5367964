"""The URL root: each room brings its own."""

from __future__ import annotations

from django.urls import include, path

from controlplane.views import api_document, health

urlpatterns = [
    path("healthz", health, name="health"),
    path("api/openapi.json", api_document, name="api-document"),
    path("accounts/", include("orgs.account.urls")),
    path("", include("orgs.api.urls")),
    path("", include("projects.api.urls")),
    path("", include("sso.api.urls")),
    path("", include("keys.api.urls")),
    path("", include("orgs.urls")),
    path("", include("projects.urls")),
    path("", include("sso.scim.urls")),
    path("", include("sso.urls")),
    path("", include("keys.urls")),
    path("", include("indexes.urls")),
    path("", include("console.urls")),
]
handler400 = "controlplane.errors.bad_request"
handler403 = "controlplane.errors.permission_denied"
handler404 = "controlplane.errors.not_found"
handler429 = "controlplane.errors.too_many_requests"
handler500 = "controlplane.errors.server_error"

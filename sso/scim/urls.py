from __future__ import annotations

from django.urls import path

from sso.scim.views import scim

urlpatterns = [
    path("scim/v2/<uuid:connection_id>", scim),
    path("scim/v2/<uuid:connection_id>/", scim),
    path("scim/v2/<uuid:connection_id>/<path:path>", scim, name="scim"),
]

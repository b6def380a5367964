from __future__ import annotations

from django.urls import path

from keys.views import api_keys, details

app_name = "keys"
KEYS = "projects/<uuid:project_id>/keys/"
KEY = f"{KEYS}<uuid:key_id>/"
urlpatterns = [
    path(KEYS, api_keys.project, name="list"),
    path(f"{KEYS}create/", api_keys.create, name="create"),
    path(KEY, details.key, name="key"),
    path(f"{KEY}edit/", details.edit, name="edit"),
    path(f"{KEY}switch/", details.switch, name="switch"),
    path(f"{KEY}end-old-secret/", details.end_old_secret, name="end_old_secret"),
    path(f"{KEY}rotate/", api_keys.rotate, name="rotate"),
    path(f"{KEY}revoke/", api_keys.revoke, name="revoke"),
]

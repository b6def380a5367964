from __future__ import annotations

from django.urls import path

from keys import views

app_name = "keys"
urlpatterns = [
    path("projects/<uuid:project_id>/keys/", views.project, name="list"),
    path("projects/<uuid:project_id>/keys/create/", views.create, name="create"),
    path("projects/<uuid:project_id>/keys/<uuid:key_id>/rotate/", views.rotate, name="rotate"),
    path("projects/<uuid:project_id>/keys/<uuid:key_id>/revoke/", views.revoke, name="revoke"),
]

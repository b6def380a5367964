from __future__ import annotations

from django.urls import path

from projects import views

app_name = "projects"
urlpatterns = [
    path("organizations/<uuid:organization_id>/", views.organization, name="organization"),
    path("organizations/<uuid:organization_id>/projects/create/", views.create, name="create"),
    path("projects/<uuid:project_id>/", views.overview, name="overview"),
]

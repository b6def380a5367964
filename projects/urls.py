from __future__ import annotations

from django.urls import path

from projects.views import create, members, settings

app_name = "projects"
PROJECT = "projects/<uuid:project_id>/"
urlpatterns = [
    path("organizations/create/", create.create_own_organization, name="create_organization"),
    path("organizations/<uuid:organization_id>/projects/create/", create.create, name="create"),
    path(f"{PROJECT}members/", members.members, name="members"),
    path(f"{PROJECT}settings/", settings.settings, name="settings"),
    path(f"{PROJECT}settings/archive/", settings.archive, name="archive"),
    path(f"{PROJECT}settings/restore/", settings.restore, name="restore"),
    path(f"{PROJECT}settings/delete/", settings.delete, name="delete"),
]

from __future__ import annotations

from django.urls import path

from projects.api import views

ONE = "admin/projects/<uuid:project_id>"
urlpatterns = [
    path("admin/projects", views.ProjectsView.as_view()),
    path(ONE, views.ProjectDetailView.as_view()),
    path(f"{ONE}/archive", views.ArchiveView.as_view()),
    path(f"{ONE}/restore", views.RestoreView.as_view()),
    path(f"{ONE}/quotas", views.ProjectQuotasView.as_view()),
    path(
        "admin/organizations/<uuid:organization_id>/quotas",
        views.OrganizationQuotasView.as_view(),
    ),
]

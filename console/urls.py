from __future__ import annotations

from django.urls import path

from console.views import operator, overview, preferences, search, usage

app_name = "console"
urlpatterns = [
    path("organizations/<uuid:organization_id>/", overview.organization, name="organization"),
    path("organizations/<uuid:organization_id>/usage/", usage.usage, name="usage"),
    path("projects/<uuid:project_id>/", overview.project, name="project"),
    path("projects/<uuid:project_id>/start/", overview.start, name="start"),
    path("operator/", operator.overview, name="operator"),
    path("operator/organizations/", operator.organizations, name="operator_organizations"),
    path(
        "operator/organizations/<uuid:organization_id>/",
        operator.organization,
        name="operator_organization",
    ),
    path("operator/work/", operator.work, name="operator_work"),
    path("operator/drift/", operator.drift, name="operator_drift"),
    path("search/", search.results, name="search"),
    path("theme/", preferences.theme, name="theme"),
]

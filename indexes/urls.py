"""Pinecone's paths, at the root: its clients append them to the host that they are given."""

from __future__ import annotations

from django.urls import path

from indexes.api import views
from indexes.views import create, details, lists, requests

app_name = "indexes"
PROJECT = "projects/<uuid:project_id>/indexes/"
INDEX = f"{PROJECT}<uuid:index_id>/"
urlpatterns = [
    path("indexes", views.IndexesView.as_view(), name="list"),
    path(
        "indexes/create-for-model",
        views.CreateForModelView.as_view(),
        {"name": "create-for-model"},
        name="create-for-model",
    ),
    path("indexes/<str:name>", views.IndexDetailView.as_view(), name="detail"),
    path("collections", views.CollectionsView.as_view(), name="collections"),
    path("collections/<str:name>", views.CollectionDetailView.as_view(), name="collection"),
    path("backups", views.BackupsView.as_view(), name="backups"),
    path("assistant/assistants", views.AssistantsView.as_view(), name="assistants"),
    path(PROJECT, lists.project, name="project"),
    path(f"{PROJECT}create/", create.create, name="create"),
    path(INDEX, details.overview, name="overview"),
    path(f"{INDEX}requests/", requests.requests, name="requests"),
    path(f"{INDEX}configuration/", details.configuration, name="configuration"),
    path(f"{INDEX}encryption/", details.encryption, name="encryption"),
    path(f"{INDEX}delete/", details.delete, name="delete"),
]

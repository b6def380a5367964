from __future__ import annotations

from django.urls import path

from console.views import preferences, search

app_name = "console"
urlpatterns = [
    path("search/", search.results, name="search"),
    path("theme/", preferences.theme, name="theme"),
]

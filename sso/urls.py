"""Single sign-on. Names are fixed here; other rooms and templates use them."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "sso"
urlpatterns: list[URLPattern] = []

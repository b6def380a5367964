"""Single sign-on. Names are fixed here; other rooms and templates use them."""

from __future__ import annotations

from django.urls import path

from sso.views import break_glass

app_name = "sso"
urlpatterns = [
    path("sso/break-glass/", break_glass.break_glass, name="break_glass"),
    path("sso/break-glass/<uuid:access_id>/", break_glass.access, name="break_glass_access"),
]

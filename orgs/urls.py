from __future__ import annotations

from django.urls import path

from orgs import views

app_name = "orgs"
urlpatterns = [
    path("", views.home, name="home"),
    path("invitations/<uuid:invitation_id>/", views.invitation, name="invitation"),
    path("invitations/<str:token>/", views.invitation_link, name="invitation_link"),
    path("ownership-transfers/<uuid:transfer_id>/", views.transfer, name="transfer"),
]

from __future__ import annotations

from django.urls import path

from orgs.views import audit, denials, entrance

app_name = "orgs"
ORGANIZATION = "organizations/<uuid:organization_id>/"
urlpatterns = [
    path("", entrance.home, name="home"),
    path("invitations/<uuid:invitation_id>/", entrance.invitation, name="invitation"),
    path("invitations/<str:token>/", entrance.invitation_link, name="invitation_link"),
    path("ownership-transfers/<uuid:transfer_id>/", entrance.transfer, name="transfer"),
    path(f"{ORGANIZATION}audit/", audit.log, name="audit"),
    path(f"{ORGANIZATION}audit/export/", audit.export, name="audit_export"),
    path(f"{ORGANIZATION}audit/<uuid:event_id>/", audit.event, name="audit_event"),
    path(f"{ORGANIZATION}audit/<uuid:event_id>/proof/", audit.proof, name="audit_proof"),
    path(f"{ORGANIZATION}denials/", denials.denials, name="denials"),
    path("denials/<uuid:decision_id>/", denials.denial, name="denial"),
]

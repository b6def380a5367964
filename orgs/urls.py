from __future__ import annotations

from django.urls import path

from orgs.views import (
    audit,
    denials,
    entrance,
    grants,
    members,
    roles,
    settings,
    streams,
    teams,
)

app_name = "orgs"
ORGANIZATION = "organizations/<uuid:organization_id>/"
MEMBER = f"{ORGANIZATION}members/<uuid:user_id>/"
INVITATION = f"{ORGANIZATION}invitations/<uuid:invitation_id>/"
TEAM = f"{ORGANIZATION}teams/<uuid:group_id>/"
GRANT = f"{ORGANIZATION}roles/grants/"
STREAM = f"{ORGANIZATION}streams/<uuid:stream_id>/"
ROLE = f"{ORGANIZATION}roles/<uuid:role_id>/"
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
    path(f"{ORGANIZATION}members/", members.members, name="members"),
    path(f"{ORGANIZATION}members/invite/", members.invite, name="invite"),
    path(MEMBER, members.member, name="member"),
    path(f"{MEMBER}remove/", members.remove, name="member_remove"),
    path(f"{MEMBER}offer/", members.offer, name="member_offer"),
    path(
        f"{ORGANIZATION}offers/<uuid:transfer_id>/cancel/",
        members.cancel_offer,
        name="offer_cancel",
    ),
    path(f"{INVITATION}resend/", members.resend, name="invitation_resend"),
    path(f"{INVITATION}take-back/", members.take_back, name="invitation_take_back"),
    path(f"{GRANT}<str:kind>/<uuid:principal_id>/", grants.grant, name="grant"),
    path(f"{GRANT}<uuid:binding_id>/change/", grants.change, name="grant_change"),
    path(f"{GRANT}<uuid:binding_id>/revoke/", grants.revoke, name="grant_revoke"),
    path(f"{ORGANIZATION}teams/", teams.teams, name="teams"),
    path(f"{ORGANIZATION}teams/create/", teams.create, name="team_create"),
    path(TEAM, teams.team, name="team"),
    path(f"{TEAM}edit/", teams.edit, name="team_edit"),
    path(f"{TEAM}delete/", teams.delete, name="team_delete"),
    path(f"{TEAM}members/<uuid:user_id>/take-out/", teams.take_out, name="team_take_out"),
    path(f"{ORGANIZATION}roles/", roles.roles, name="roles"),
    path(f"{ORGANIZATION}roles/create/<str:kind>/", roles.create, name="role_create"),
    path(ROLE, roles.role, name="role"),
    path(f"{ROLE}edit/", roles.edit, name="role_edit"),
    path(f"{ROLE}delete/", roles.delete, name="role_delete"),
    path(f"{ORGANIZATION}security/", settings.security, name="security"),
    path(f"{ORGANIZATION}plan/", settings.plan, name="plan"),
    path(f"{ORGANIZATION}settings/", settings.settings, name="settings"),
    path(f"{ORGANIZATION}settings/delete/", settings.delete, name="organization_delete"),
    path(f"{ORGANIZATION}streams/", streams.streams, name="streams"),
    path(f"{ORGANIZATION}streams/create/<str:kind>/", streams.create, name="stream_create"),
    path(f"{STREAM}edit/", streams.edit, name="stream_edit"),
    path(f"{STREAM}switch/", streams.switch, name="stream_switch"),
    path(f"{STREAM}rotate/", streams.rotate, name="stream_rotate"),
    path(f"{STREAM}delete/", streams.delete, name="stream_delete"),
]

from __future__ import annotations

from django.urls import URLPattern, path

from orgs.api import (
    audit,
    baseline,
    bindings,
    decisions,
    groups,
    invites,
    organizations,
    roles,
    transfers,
    users,
)

_ORGANIZATION = "admin/organizations/<uuid:organization_id>"
_TRANSFER = "admin/ownership-transfers/<uuid:transfer_id>"
urlpatterns: list[URLPattern] = [
    path("admin/organizations", organizations.OrganizationsView.as_view()),
    path(_ORGANIZATION, organizations.SingleOrganizationView.as_view()),
    path(f"{_ORGANIZATION}/entitlements", organizations.EntitlementsView.as_view()),
    path(f"{_ORGANIZATION}/security-baseline", baseline.SecurityBaselineView.as_view()),
    path(f"{_ORGANIZATION}/leave", organizations.LeaveView.as_view()),
    path(f"{_ORGANIZATION}/transfer", transfers.TransferView.as_view()),
    path("admin/ownership-transfers", transfers.OwnershipTransfersView.as_view()),
    path(_TRANSFER, transfers.OwnershipTransferView.as_view()),
    path(f"{_TRANSFER}/accept", transfers.AcceptTransferView.as_view()),
    path(f"{_TRANSFER}/decline", transfers.DeclineTransferView.as_view()),
    path(f"{_TRANSFER}/cancel", transfers.CancelTransferView.as_view()),
    path("admin/users", users.UsersView.as_view()),
    path("admin/users/<uuid:user_id>", users.UserView.as_view()),
    path("admin/invites", invites.InvitesView.as_view()),
    path("admin/invites/<uuid:invite_id>", invites.InviteView.as_view()),
    path("admin/invites/<uuid:invite_id>/resend", invites.ResendInviteView.as_view()),
    path("admin/permissions", roles.PermissionsView.as_view()),
    path("admin/roles", roles.RolesView.as_view()),
    path("admin/roles/<uuid:role_id>", roles.RoleView.as_view()),
    path("admin/role-bindings", bindings.RoleBindingsView.as_view()),
    path("admin/role-bindings/<uuid:binding_id>", bindings.RoleBindingView.as_view()),
    path("admin/decisions", decisions.DecisionsView.as_view()),
    path("admin/decisions/explain", decisions.ExplainView.as_view()),
    path("admin/decisions/<uuid:decision_id>", decisions.DecisionView.as_view(), name="decision"),
    path("admin/groups", groups.GroupsView.as_view()),
    path("admin/groups/<uuid:group_id>", groups.GroupView.as_view()),
    path("admin/groups/<uuid:group_id>/members", groups.GroupMembersView.as_view()),
    path("admin/groups/<uuid:group_id>/members/<uuid:user_id>", groups.GroupMemberView.as_view()),
    path("admin/audit/events", audit.EventsView.as_view()),
    path("admin/audit/events/<uuid:event_id>", audit.EventView.as_view()),
    path("admin/audit/checkpoint", audit.CheckpointView.as_view()),
    path("admin/audit/proof", audit.InclusionView.as_view()),
    path("admin/audit/consistency", audit.ConsistencyView.as_view()),
    path("admin/audit/export", audit.ExportView.as_view()),
    path("admin/audit/retention", audit.RetentionView.as_view()),
    path("admin/audit/streams", audit.StreamsView.as_view()),
    path("admin/audit/streams/<uuid:stream_id>", audit.StreamView.as_view()),
    path("admin/audit/streams/<uuid:stream_id>/secret", audit.StreamSecretView.as_view()),
]

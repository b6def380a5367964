from __future__ import annotations

from django.urls import URLPattern, path

from orgs.api import audit, bindings, decisions, groups, roles

urlpatterns: list[URLPattern] = [
    path("admin/permissions", roles.PermissionsView.as_view()),
    path("admin/roles", roles.RolesView.as_view()),
    path("admin/roles/<uuid:role_id>", roles.RoleView.as_view()),
    path("admin/role-bindings", bindings.RoleBindingsView.as_view()),
    path("admin/role-bindings/<uuid:binding_id>", bindings.RoleBindingView.as_view()),
    path("admin/decisions", decisions.DecisionsView.as_view()),
    path("admin/decisions/explain", decisions.ExplainView.as_view()),
    path("admin/decisions/<uuid:decision_id>", decisions.DecisionView.as_view()),
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

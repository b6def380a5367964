from __future__ import annotations

from django.urls import URLPattern, path

from sso.api import (
    break_glass,
    connections,
    directories,
    domains,
    metadata,
    people,
    setup_links,
    trust,
)

_CONNECTION = "admin/sso/connections/<uuid:connection_id>"
_DOMAIN = "admin/sso/domains/<uuid:domain_id>"
_ACCESS = "admin/sso/break-glass-accesses/<uuid:access_id>"
urlpatterns: list[URLPattern] = [
    path("admin/sso/connections", connections.ConnectionsView.as_view()),
    path(_CONNECTION, connections.ConnectionView.as_view()),
    path(f"{_CONNECTION}/state", connections.ConnectionStateView.as_view()),
    path(f"{_CONNECTION}/readiness", connections.ReadinessView.as_view()),
    path(f"{_CONNECTION}/metadata", metadata.MetadataView.as_view()),
    path(f"{_CONNECTION}/certificates", trust.CertificatesView.as_view()),
    path(f"{_CONNECTION}/certificates/<uuid:certificate_id>", trust.CertificateView.as_view()),
    path(f"{_CONNECTION}/sp-keys", trust.SpKeysView.as_view()),
    path(f"{_CONNECTION}/sp-keys/rotate", trust.RotateSpKeyView.as_view()),
    path(f"{_CONNECTION}/sp-keys/previous", trust.PreviousSpKeyView.as_view()),
    path(f"{_CONNECTION}/attempts", people.AttemptsView.as_view()),
    path(f"{_CONNECTION}/identities", people.IdentitiesView.as_view()),
    path(f"{_CONNECTION}/identities/<uuid:identity_id>", people.IdentityView.as_view()),
    path(f"{_CONNECTION}/setup-links", setup_links.SetupLinksView.as_view()),
    path(f"{_CONNECTION}/scim", directories.ScimView.as_view()),
    path(f"{_CONNECTION}/scim-tokens", directories.ScimTokensView.as_view()),
    path(f"{_CONNECTION}/scim-tokens/<uuid:token_id>", directories.ScimTokenView.as_view()),
    path("admin/sso/domains", domains.DomainsView.as_view()),
    path(_DOMAIN, domains.DomainView.as_view()),
    path(f"{_DOMAIN}/verify", domains.VerifyDomainView.as_view()),
    path("admin/sso/break-glass-owners", break_glass.BreakGlassOwnersView.as_view()),
    path("admin/sso/break-glass-owners/<uuid:owner_id>", break_glass.BreakGlassOwnerView.as_view()),
    path("admin/sso/break-glass-accesses", break_glass.BreakGlassAccessesView.as_view()),
    path(f"{_ACCESS}/approve", break_glass.ApproveAccessView.as_view()),
    path(f"{_ACCESS}/end", break_glass.EndAccessView.as_view()),
]

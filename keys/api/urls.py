from __future__ import annotations

from django.urls import URLPattern, path

from keys.api import api_keys, federation, leaks, service_accounts, tokens

_KEY, _PROJECT = "admin/api-keys/<uuid:key_id>", "admin/projects/<uuid:project_id>"
_ACCOUNT = "admin/service-accounts/<uuid:account_id>"
_ISSUERS, _RULES = "admin/federation/issuers", "admin/federation/rules"
urlpatterns: list[URLPattern] = [
    path(f"{_PROJECT}/api-keys", api_keys.ProjectKeysView.as_view()),
    path(f"{_PROJECT}/api-keys/bulk-revoke", api_keys.BulkRevokeView.as_view()),
    path(f"{_PROJECT}/key-policy", api_keys.KeyPolicyView.as_view()),
    path(_KEY, api_keys.ApiKeyView.as_view()),
    path(f"{_KEY}/rotate", api_keys.RotateKeyView.as_view()),
    path(f"{_KEY}/end-overlap", api_keys.EndOverlapView.as_view()),
    path(f"{_KEY}/disable", api_keys.DisableKeyView.as_view()),
    path(f"{_KEY}/enable", api_keys.EnableKeyView.as_view()),
    path(f"{_KEY}/secrets", api_keys.KeySecretsView.as_view()),
    path(f"{_KEY}/usage", api_keys.KeyUsageView.as_view()),
    path(".well-known/leaked-key", leaks.LeakedKeyView.as_view()),
    path("oauth/token", tokens.TokenView.as_view()),
    path("oauth/revoke", tokens.RevocationView.as_view()),
    path("admin/service-accounts", service_accounts.ServiceAccountsView.as_view()),
    path(_ACCOUNT, service_accounts.ServiceAccountView.as_view()),
    path(f"{_ACCOUNT}/rotate-secret", service_accounts.RotateSecretView.as_view()),
    path(f"{_ACCOUNT}/secrets", service_accounts.SecretsView.as_view()),
    path(f"{_ACCOUNT}/secrets/<uuid:secret_id>", service_accounts.SecretView.as_view()),
    path(_ISSUERS, federation.IssuersView.as_view()),
    path(f"{_ISSUERS}/<uuid:issuer_id>", federation.IssuerView.as_view()),
    path(_RULES, federation.RulesView.as_view()),
    path(f"{_RULES}/test", federation.RuleTestView.as_view()),
    path(f"{_RULES}/<uuid:rule_id>", federation.RuleView.as_view()),
]

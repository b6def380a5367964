from __future__ import annotations

from django.urls import path

from keys.views import accounts, api_keys, details

app_name = "keys"
KEYS = "projects/<uuid:project_id>/keys/"
KEY = f"{KEYS}<uuid:key_id>/"
ACCOUNTS = "organizations/<uuid:organization_id>/service-accounts/"
ACCOUNT = f"{ACCOUNTS}<uuid:account_id>/"
urlpatterns = [
    path(KEYS, api_keys.project, name="list"),
    path(f"{KEYS}create/", api_keys.create, name="create"),
    path(KEY, details.key, name="key"),
    path(f"{KEY}edit/", details.edit, name="edit"),
    path(f"{KEY}switch/", details.switch, name="switch"),
    path(f"{KEY}end-old-secret/", details.end_old_secret, name="end_old_secret"),
    path(f"{KEY}rotate/", api_keys.rotate, name="rotate"),
    path(f"{KEY}revoke/", api_keys.revoke, name="revoke"),
    path(ACCOUNTS, accounts.accounts, name="accounts"),
    path(f"{ACCOUNTS}create/", accounts.create, name="account_create"),
    path(ACCOUNT, accounts.account, name="account"),
    path(f"{ACCOUNT}rotate/", accounts.rotate, name="account_rotate"),
    path(f"{ACCOUNT}delete/", accounts.delete, name="account_delete"),
    path(f"{ACCOUNT}secrets/<uuid:secret_id>/end/", accounts.end_secret, name="account_end_secret"),
]

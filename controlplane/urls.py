"""The URL root: each room brings its own.

Of allauth's views only those are offered that work here. Sign-up, e-mail addresses, sign-in by
code and password reset would need mail, which this installation does not send: they are 404, and
the sign-in page says what to do instead.
"""

from __future__ import annotations

from allauth.account import views as account
from django.urls import include, path

from controlplane.views import health

urlpatterns = [
    path("healthz", health, name="health"),
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path("accounts/password/change/", account.password_change, name="account_change_password"),
    path("", include("orgs.api.urls")),
    path("", include("projects.api.urls")),
    path("", include("keys.api.urls")),
    path("", include("orgs.urls")),
    path("", include("projects.urls")),
    path("", include("keys.urls")),
    path("", include("indexes.urls")),
]
handler400 = "controlplane.errors.bad_request"
handler403 = "controlplane.errors.permission_denied"
handler404 = "controlplane.errors.not_found"
handler429 = "controlplane.errors.too_many_requests"
handler500 = "controlplane.errors.server_error"

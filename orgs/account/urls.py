"""Sign-in and people's own accounts, under `accounts/`.

Of allauth's views only those are offered that work here. Nobody signs up alone, nobody signs in by
a mailed code, and there are no accounts of other sites: those paths are 404. The names are
allauth's, which its own code looks up.
"""

from __future__ import annotations

from collections.abc import Callable

from allauth.account import views as account
from allauth.decorators import rate_limit
from allauth.mfa.base import views as mfa
from allauth.mfa.webauthn import views as webauthn
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpResponseBase
from django.urls import path, re_path
from django.views.decorators.cache import never_cache
from django.views.generic import View

from orgs.account import views
from orgs.views import account as account_pages

PlainView = Callable[..., HttpResponseBase]


def limited(action: str) -> Callable[[PlainView], PlainView]:
    """Count what each person does against the rate limit of that name; strangers sign in first."""
    count = rate_limit(action=action)
    return lambda view: login_required(count(view))


factor_limit = limited("manage_second_factor")
session_limit = limited("manage_sessions")


def own(view: type[View]) -> PlainView:
    """For pages about one person: no cache keeps them."""
    return never_cache(view.as_view())


urlpatterns = [
    path("", views.security, name="account_security"),
    path("profile/", account_pages.profile, name="account_profile"),
    path("access/", account_pages.access, name="account_access"),
    path("login/", views.Login.as_view(), name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", own(views.Reauthenticate), name="account_reauthenticate"),
    path("password/change/", own(views.PasswordChange), name="account_change_password"),
    path("password/reset/", own(views.PasswordReset), name="account_reset_password"),
    path("password/reset/done/", own(views.PasswordResetDone), name="account_reset_password_done"),
    # The link's second half goes into the session at once, so that no Referer and no history of
    # the form's page has it.
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[0-9A-Za-z-]+)/$",
        own(views.PasswordResetFromKey),
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("email/", own(views.Email), name="account_email"),
    path("confirm-email/", account.email_verification_sent, name="account_email_verification_sent"),
    path(
        "confirm-email/<str:key>/",
        rate_limit(action="verify_email")(own(views.ConfirmEmail)),
        name="account_confirm_email",
    ),
    path("2fa/", views.second_factors, name="mfa_index"),
    path("2fa/authenticate/", mfa.authenticate, name="mfa_authenticate"),
    path("2fa/reauthenticate/", own(views.ReauthenticateByCode), name="mfa_reauthenticate"),
    path("2fa/totp/activate/", own(views.ActivateApp), name="mfa_activate_totp"),
    path(
        "2fa/totp/deactivate/", factor_limit(own(views.DeactivateApp)), name="mfa_deactivate_totp"
    ),
    path("2fa/recovery-codes/", own(views.RecoveryCodes), name="mfa_view_recovery_codes"),
    path(
        "2fa/recovery-codes/generate/",
        factor_limit(own(views.NewRecoveryCodes)),
        name="mfa_generate_recovery_codes",
    ),
    path("sessions/", views.sessions, name="usersessions_list"),
    path(
        "sessions/end-others/", session_limit(views.end_other_sessions), name="sessions_end_others"
    ),
    path("sessions/<int:session_id>/end/", session_limit(views.end_session), name="session_end"),
]
if "webauthn" in settings.MFA_SUPPORTED_TYPES:
    urlpatterns += [
        path("2fa/webauthn/add/", factor_limit(own(views.AddPasskey)), name="mfa_add_webauthn"),
        path("2fa/webauthn/login/", webauthn.login_webauthn, name="mfa_login_webauthn"),
        path(
            "2fa/webauthn/reauthenticate/",
            own(views.ReauthenticateByPasskey),
            name="mfa_reauthenticate_webauthn",
        ),
        path(
            "2fa/webauthn/keys/<int:pk>/remove/",
            factor_limit(own(views.RemovePasskey)),
            name="mfa_remove_webauthn",
        ),
    ]

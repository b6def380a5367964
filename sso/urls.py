"""Single sign-on. Names are fixed here; other rooms and templates use them."""

from __future__ import annotations

from django.urls import include, path

from sso.views import begin_test, break_glass, console_urls, discover, enter, logout, oidc, sign_in

app_name = "sso"
urlpatterns = [
    path("sso/", discover.discover, name="discover"),
    path("sso/organizations/<uuid:organization_id>/", enter.enter, name="enter"),
    path("sso/<uuid:connection_id>/login", sign_in.login, name="login"),
    path("sso/<uuid:connection_id>/acs", sign_in.acs, name="acs"),
    path("sso/<uuid:connection_id>/callback", oidc.callback, name="oidc_callback"),
    path("sso/<uuid:connection_id>/finish/", sign_in.finish, name="finish"),
    path("sso/<uuid:connection_id>/metadata", sign_in.metadata, name="metadata"),
    path("sso/<uuid:connection_id>/test", begin_test.test, name="test"),
    path("sso/<uuid:connection_id>/sls", logout.sls, name="sls"),
    path("sso/<uuid:connection_id>/leave/", logout.leave, name="leave"),
    path("sso/break-glass/", break_glass.break_glass, name="break_glass"),
    path("sso/break-glass/<uuid:access_id>/", break_glass.access, name="break_glass_access"),
    path("", include(console_urls)),
]

"""E-mail first: where somebody with that address signs in."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from allauth.account.forms import LoginForm
from allauth.account.internal.templatekit import get_entrance_context_data
from django import forms
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from sso.models import Connection
from sso.selectors.discovery import connection_for
from sso.views.browsers import next_path
from sso.views.limits import limited

LOGIN_TEMPLATE = "account/login.html"


class AddressForm(forms.Form):
    """The first step: who wants to sign in."""

    login = forms.EmailField(
        label="Email",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "placeholder": "Email address"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@limited
def discover(request: HttpRequest) -> HttpResponse:
    """The second step of a sign-in. It depends on the address's domain alone, so nobody learns by
    it who has an account.
    """
    wanted = next_path(request)
    query = urlencode({REDIRECT_FIELD_NAME: wanted}) if wanted else ""
    if request.method != "POST":
        start = reverse("account_login")
        return redirect(f"{start}?{query}" if query else start)
    form = AddressForm(request.POST)
    context: dict[str, Any] = {
        **get_entrance_context_data(request),
        "redirect_field_name": REDIRECT_FIELD_NAME,
        "redirect_field_value": wanted,
    }
    if not form.is_valid():
        return render(request, LOGIN_TEMPLATE, {**context, "form": form}, status=422)
    email = form.cleaned_data["login"]
    connection = connection_for(email)
    if connection is not None:
        given = {"hint": email, **({REDIRECT_FIELD_NAME: wanted} if wanted else {})}
        context["organization_name"] = connection.organization.name
        context["sso_url"] = f"{reverse('sso:login', args=[connection.pk])}?{urlencode(given)}"
        if connection.state == Connection.State.ENFORCED:
            return render(request, "sso/sign_in/leave.html", context)
    context["form"] = LoginForm(initial={"login": email}, request=request)
    context["step"] = "password"
    return render(request, LOGIN_TEMPLATE, context)

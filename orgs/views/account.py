"""Pages of one's own account beside signing in: the profile, and everything one may do and why."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from orgs.decorators import PageRequest, page
from orgs.forms.account import ProfileForm
from orgs.forms.refusals import SHOWN, add_refusal
from orgs.selectors.access import own_access
from orgs.services.accounts import rename_self


@require_http_methods(["GET", "HEAD", "POST"])
@page
def profile(request: PageRequest) -> HttpResponse:
    """Name, address and id."""
    form = ProfileForm(
        request.POST if request.method == "POST" else None, initial={"name": request.user.name}
    )
    if form.is_valid():
        try:
            rename_self(actor=request.actor, user=request.user, name=form.cleaned_data["name"])
        except SHOWN as error:
            add_refusal(form, error, "name")
        else:
            messages.success(request, "Your profile is changed.")
            return redirect("account_profile")
    return render(
        request, "account/profile.html", {"form": form}, status=422 if form.errors else 200
    )


@require_safe
@page
def access(request: PageRequest) -> HttpResponse:
    """Every role that the person holds, where, why and until when."""
    context = {
        "groups": [
            (organization, held, request.actor.bar(organization.pk))
            for organization, held in own_access(request.actor)
        ]
    }
    return render(request, "account/access.html", context)

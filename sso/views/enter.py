"""From one's own session into an organization that has a sign-in of its own."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET

from orgs.decorators import PageRequest, page
from orgs.errors import no_such
from orgs.models import Membership
from sso.models import Purpose
from sso.selectors.discovery import ways_in
from sso.views.browsers import next_path
from sso.views.limits import limited
from sso.views.sign_in import begin_at


@require_GET
@page
@limited
def enter(request: PageRequest, organization_id: UUID) -> HttpResponse:
    """To the organization's identity provider, and back to where its sign-in was missing.

    `?fresh=1`: the person has to prove anew who they are, as for dangerous acts. `?connection=`:
    which one, where there are several.

    Raises:
        NotFound: the person is no member, or the organization has no single sign-on.
    """
    membership = Membership.objects.select_related("organization").filter(
        organization_id=organization_id, user=request.user
    )
    place = membership.first()
    ways = ways_in(organization_id, request.user) if place else []
    if place is None or not ways:
        raise no_such(f"single sign-on of organization {organization_id}")
    is_forced = request.GET.get("fresh") == "1"
    chosen = [each for each in ways if str(each.pk) == request.GET.get("connection")]
    if not chosen and len(ways) > 1:
        query = QueryDict(mutable=True)
        if wanted := next_path(request):
            query[REDIRECT_FIELD_NAME] = wanted
        if is_forced:
            query["fresh"] = "1"
        context = {
            "organization": place.organization,
            "connections": ways,
            "query": query.urlencode(),
        }
        return render(request, "sso/sign_in/choose.html", context)
    return begin_at(
        request,
        (chosen or ways)[0],
        Purpose.ENTER,
        user=request.user,
        email=request.user.email,
        is_forced=is_forced,
    )

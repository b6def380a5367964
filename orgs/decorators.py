"""What every page for signed-in people has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from orgs.actors import Actor
from orgs.authentication import actor_of
from orgs.models import User

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request of somebody who is signed in."""

    user: User
    actor: Actor


def page(
    view: Callable[Concatenate[PageRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """For a view of signed-in people only.

    Strangers are sent to the sign-in, the view gets `request.actor`, caches keep no answer.
    """

    @wraps(view)
    def wrapped(request: PageRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        request.actor = actor_of(request, request.user)
        return view(request, *args, **kwargs)

    return never_cache(login_required(wrapped))  # type: ignore[return-value]  # login_required has let nobody else through

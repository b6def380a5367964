"""How often one address may come, where anybody may."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.http import HttpRequest, HttpResponse

from orgs.authentication import client_ip
from orgs.errors import TooManyRequests
from rest.limits import take

P = ParamSpec("P")
R = TypeVar("R", bound=HttpRequest)


def limited(
    view: Callable[Concatenate[R, P], HttpResponse],
) -> Callable[Concatenate[R, P], HttpResponse]:
    """Count requests per address, as the Admin API does for callers it does not know."""

    @wraps(view)
    def wrapped(request: R, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        budget = take("sso", client_ip(request))
        if budget is not None and not budget.taken:
            raise TooManyRequests(
                f"Too many requests from your address. Try again in {budget.retry_after} s.",
                retry_after=budget.retry_after,
            )
        return view(request, *args, **kwargs)

    return wrapped  # type: ignore[return-value]  # the request is handed on as it came

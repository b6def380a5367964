"""The base of every `/admin/...` view: which organization is meant, and who acts in it."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, cast
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import authentication
from rest_framework.request import Request

from orgs.actors import Actor
from orgs.authentication import actor_of, client_ip
from orgs.errors import InvalidArgument, no_such
from orgs.models import User
from rest.views import ORGANIZATION_HEADER, AdminView
from rest.wording import shown


class PersonPrincipal:
    """What REST framework calls the user: a person who is signed in."""

    is_authenticated = True

    def __init__(self, user: User, actor: Actor) -> None:
        self.user = user
        self.actor = actor


class SessionAuthentication(authentication.SessionAuthentication):
    """Accepts a signed-in person's session; what changes something needs the CSRF token too."""

    def authenticate(self, request: Request) -> tuple[PersonPrincipal, None] | None:
        """The person, or None where nobody is signed in.

        Raises:
            PermissionDenied: the CSRF token is missing or wrong.
        """
        http: HttpRequest = request._request
        user = getattr(http, "user", None)
        if not isinstance(user, User) or not user.is_active:
            return None
        self.enforce_csrf(request)
        return PersonPrincipal(user, actor_of(http, user)), None

    def authenticate_header(self, request: Request) -> str:
        """Makes REST framework answer 401 rather than 403."""
        return "Bearer"


class OrganizationView(AdminView):
    """A view within one organization."""

    # The header that names the organization may be malformed, missing or foreign.
    common_errors = (400, 404)
    common_parameters: ClassVar[tuple[OpenApiParameter, ...]] = (
        OpenApiParameter(
            ORGANIZATION_HEADER,
            OpenApiTypes.UUID,
            OpenApiParameter.HEADER,
            description="Which organization is meant, for people who belong to several.",
        ),
    )

    @property
    def address(self) -> str:
        """Where the request comes from, as the gateway saw it."""
        return client_ip(self.request._request)

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return cast("Actor", self.caller)

    @cached_property
    def organization_id(self) -> UUID:
        """The organization meant: a service account's own; for people the one that the header
        names, or their only one.

        Raises:
            InvalidArgument: the header is no id, or is missing and there are several.
            NotFound: an organization that the caller has nothing to do with.
        """
        own = self.actor.organization_id
        belongs = {own} if own else {b.organization_id for b in self.actor.bindings}
        given = self.request.headers.get(ORGANIZATION_HEADER)
        if given is None:
            if len(belongs) == 1:
                return next(iter(belongs))
            raise InvalidArgument(
                f"You belong to {len(belongs)} organizations: say which one is meant with the"
                f" header {ORGANIZATION_HEADER}: <organization id>."
            )
        try:
            named = UUID(given)
        except ValueError:
            raise InvalidArgument(
                f"{ORGANIZATION_HEADER} {shown(given)} is no organization id: send a UUID."
            ) from None
        if named not in belongs:
            raise no_such(f"organization {named}")
        return named

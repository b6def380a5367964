"""The directory of an organization: its switch and its tokens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE
from rest.schema import PAGING, errors, page_of
from rest.views import rendered
from sso.api.connections import shown
from sso.api.inputs import NewScimToken, NoFilter, ScimSwitch
from sso.api.outputs import (
    NewScimTokenSerializer,
    ScimTokenSerializer,
    SsoConnectionSerializer,
)
from sso.selectors.scim import scim_tokens_of
from sso.services.scim_tokens import create_scim_token, revoke_scim_token, set_scim


class ScimView(OrganizationView):
    """`/admin/sso/connections/{id}/scim`"""

    @extend_schema(
        operation_id="set_scim",
        request=ScimSwitch,
        responses={200: SsoConnectionSerializer, **errors(412)},
    )
    def put(self, request: Request, connection_id: UUID) -> Response:
        """Let a directory keep people and groups, or no longer, which revokes its tokens."""
        enabled: bool = self.body(ScimSwitch)["enabled"]
        return shown(self, set_scim(actor=self.actor, connection_id=connection_id, enabled=enabled))


class ScimTokensView(OrganizationView):
    """`/admin/sso/connections/{id}/scim-tokens`"""

    @extend_schema(
        operation_id="list_scim_tokens",
        parameters=[*PAGING],
        responses={200: page_of(ScimTokenSerializer)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The directory's tokens; their texts are not shown again."""
        self.query(NoFilter)
        return self.page(scim_tokens_of(self.actor, connection_id), ScimTokenSerializer)

    @extend_schema(
        operation_id="create_scim_token",
        request=NewScimToken,
        responses={201: NewScimTokenSerializer},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """A token for the directory, at most two at once. Its text is shown this once."""
        row, token = create_scim_token(
            actor=self.actor, connection_id=connection_id, **self.body(NewScimToken)
        )
        found: dict[str, Any] = {**rendered(row, ScimTokenSerializer), "token": token}
        return self.answer(found, status=201)


class ScimTokenView(OrganizationView):
    """`/admin/sso/connections/{id}/scim-tokens/{token_id}`"""

    @extend_schema(
        operation_id="revoke_scim_token",
        request=None,
        responses={202: DONE},
    )
    def delete(self, request: Request, connection_id: UUID, token_id: UUID) -> Response:
        """Have the token count no more, at once."""
        revoke_scim_token(actor=self.actor, connection_id=connection_id, token_id=token_id)
        return self.answer(status=202)

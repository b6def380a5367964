"""Links for the identity provider's administrator."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from rest.schema import PAGING, errors, page_of
from rest.views import rendered
from sso.api.inputs import NoFilter
from sso.api.outputs import (
    NewSetupLinkSerializer,
    SetupLinkSerializer,
)
from sso.selectors.connections import setup_links_of
from sso.services.setup_links import create_setup_link


class SetupLinksView(OrganizationView):
    """`/admin/sso/connections/{id}/setup-links`"""

    @extend_schema(
        operation_id="list_sso_setup_links",
        parameters=[*PAGING],
        responses={200: page_of(SetupLinkSerializer)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The set-up links, used and over ones too; their addresses are not shown again."""
        self.query(NoFilter)
        return self.page(setup_links_of(self.actor, connection_id), SetupLinkSerializer)

    @extend_schema(
        operation_id="create_sso_setup_link",
        request=None,
        responses={201: NewSetupLinkSerializer, **errors(409, 412)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """A link for the identity provider's administrator, who needs no account here."""
        self.body(NoFilter)
        row, token = create_setup_link(actor=self.actor, connection_id=connection_id)
        url = settings.TAMARACK_PUBLIC_URL + reverse("sso:setup", args=[token])
        found: dict[str, Any] = {**rendered(row, SetupLinkSerializer), "url": url}
        return self.answer(found, status=201)

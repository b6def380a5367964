"""Taking over the metadata of an identity provider."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.errors import InvalidArgument
from rest.schema import errors
from sso.api.connections import shown
from sso.api.inputs import MetadataSource
from sso.api.outputs import SsoConnectionSerializer
from sso.services.metadata import import_metadata, set_metadata_url


class MetadataView(OrganizationView):
    """`/admin/sso/connections/{id}/metadata`"""

    @extend_schema(
        operation_id="import_sso_metadata",
        request=MetadataSource,
        responses={200: SsoConnectionSerializer, **errors(409, 412)},
    )
    def put(self, request: Request, connection_id: UUID) -> Response:
        """Take entity id, addresses and certificates from the identity provider's metadata.

        From an address they are fetched now, and every hour from then on.
        """
        body = self.body(MetadataSource)
        if set(body) == {"xml"}:
            xml = body["xml"].encode()
            row = import_metadata(actor=self.actor, connection_id=connection_id, xml=xml)
        elif set(body) == {"url"}:
            url: str = body["url"]
            row = set_metadata_url(actor=self.actor, connection_id=connection_id, url=url)
        else:
            raise InvalidArgument("Give xml or url, one of them: the metadata, or where it is.")
        return shown(self, row)

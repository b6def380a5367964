"""What a connection's two sides know each other by: metadata, certificates and keys."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE
from rest.schema import PAGING, errors, page_of
from rest.views import rendered
from sso.api.inputs import NewCertificate, NoFilter
from sso.api.outputs import IdpCertificateSerializer, SpKeySerializer
from sso.selectors.connections import certificates_of, sp_keys_of
from sso.services.certificates import add_certificate, remove_certificate
from sso.services.sp_keys import drop_previous_sp_key, prepare_sp_key, rotate_sp_key


class CertificatesView(OrganizationView):
    """`/admin/sso/connections/{id}/certificates`"""

    @extend_schema(
        operation_id="list_sso_certificates",
        parameters=[*PAGING],
        responses={200: page_of(IdpCertificateSerializer)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The certificates that the identity provider may sign with."""
        self.query(NoFilter)
        return self.page(certificates_of(self.actor, connection_id), IdpCertificateSerializer)

    @extend_schema(
        operation_id="add_sso_certificate",
        request=NewCertificate,
        responses={201: IdpCertificateSerializer, **errors(409)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Believe signatures by this certificate too."""
        row = add_certificate(
            actor=self.actor, connection_id=connection_id, pem=self.body(NewCertificate)["pem"]
        )
        return self.answer(rendered(row, IdpCertificateSerializer), status=201)


class CertificateView(OrganizationView):
    """`/admin/sso/connections/{id}/certificates/{certificate_id}`"""

    @extend_schema(
        operation_id="remove_sso_certificate",
        request=None,
        responses={202: DONE, **errors(412)},
    )
    def delete(self, request: Request, connection_id: UUID, certificate_id: UUID) -> Response:
        """Believe signatures by the certificate no more."""
        remove_certificate(
            actor=self.actor, connection_id=connection_id, certificate_id=certificate_id
        )
        return self.answer(status=202)


class SpKeysView(OrganizationView):
    """`/admin/sso/connections/{id}/sp-keys`"""

    @extend_schema(
        operation_id="list_sso_sp_keys",
        parameters=[*PAGING],
        responses={200: page_of(SpKeySerializer)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """This side's key pairs; only their certificates are shown."""
        self.query(NoFilter)
        return self.page(sp_keys_of(self.actor, connection_id), SpKeySerializer)

    @extend_schema(
        operation_id="prepare_sso_sp_key",
        request=None,
        responses={201: SpKeySerializer, **errors(409)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Make the next key and publish it in the metadata beside the current one."""
        self.body(NoFilter)
        row = prepare_sp_key(actor=self.actor, connection_id=connection_id)
        return self.answer(rendered(row, SpKeySerializer), status=201)


class RotateSpKeyView(OrganizationView):
    """`/admin/sso/connections/{id}/sp-keys/rotate`"""

    @extend_schema(
        operation_id="rotate_sso_sp_key",
        request=None,
        responses={200: SpKeySerializer, **errors(412)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Sign with the next key from now on; the one until now still opens assertions."""
        self.body(NoFilter)
        row = rotate_sp_key(actor=self.actor, connection_id=connection_id)
        return self.answer(rendered(row, SpKeySerializer))


class PreviousSpKeyView(OrganizationView):
    """`/admin/sso/connections/{id}/sp-keys/previous`"""

    @extend_schema(
        operation_id="drop_previous_sso_sp_key",
        request=None,
        responses={202: DONE, **errors(412)},
    )
    def delete(self, request: Request, connection_id: UUID) -> Response:
        """Delete the key from before the last rotation."""
        drop_previous_sp_key(actor=self.actor, connection_id=connection_id)
        return self.answer(status=202)

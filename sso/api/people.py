"""Who came in by a connection: the sign-in log and the links to people."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE
from rest.schema import PAGING, errors, page_of
from sso.api.inputs import AttemptFilter, NoFilter
from sso.api.outputs import SsoAttemptSerializer, SsoIdentitySerializer
from sso.selectors.connections import attempts_of, identities_of
from sso.services.identities import unlink_identity


class AttemptsView(OrganizationView):
    """`/admin/sso/connections/{id}/attempts`"""

    @extend_schema(
        operation_id="list_sso_attempts",
        parameters=[AttemptFilter, *PAGING],
        responses={200: page_of(SsoAttemptSerializer)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The sign-in log, latest first."""
        rows = attempts_of(self.actor, connection_id).filter(**self.query(AttemptFilter))
        return self.page(rows, SsoAttemptSerializer, order=("-created_at", "-id"))


class IdentitiesView(OrganizationView):
    """`/admin/sso/connections/{id}/identities`"""

    @extend_schema(
        operation_id="list_sso_identities",
        parameters=[*PAGING],
        responses={200: page_of(SsoIdentitySerializer)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """The people who are linked to the identity provider."""
        self.query(NoFilter)
        return self.page(identities_of(self.actor, connection_id), SsoIdentitySerializer)


class IdentityView(OrganizationView):
    """`/admin/sso/connections/{id}/identities/{identity_id}`"""

    @extend_schema(
        operation_id="unlink_sso_identity",
        request=None,
        responses={202: DONE, **errors(409)},
    )
    def delete(self, request: Request, connection_id: UUID, identity_id: UUID) -> Response:
        """Forget the link, and end the sessions that it opened. Place and roles stay."""
        unlink_identity(actor=self.actor, connection_id=connection_id, identity_id=identity_id)
        return self.answer(status=202)

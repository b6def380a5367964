"""`/admin/sso/domains`: whose people an identity provider may sign in."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE
from rest.schema import IF_MATCH, PAGING, errors, page_of
from rest.views import rendered
from sso.api.inputs import DomainChange, NewDomain, NoFilter
from sso.api.outputs import DomainSerializer
from sso.models import Domain
from sso.selectors.domains import domains_of, get_domain
from sso.services.domains import add_domain, assign_domain, remove_domain, verify_domain


class DomainsView(OrganizationView):
    """`/admin/sso/domains`"""

    @extend_schema(
        operation_id="list_sso_domains",
        parameters=[*PAGING],
        responses={200: page_of(DomainSerializer)},
    )
    def get(self, request: Request) -> Response:
        """The organization's domains, proven or not, oldest first."""
        self.query(NoFilter)
        return self.page(domains_of(self.actor, self.organization_id), DomainSerializer)

    @extend_schema(
        operation_id="add_sso_domain",
        request=NewDomain,
        responses={201: DomainSerializer, **errors(409)},
    )
    def post(self, request: Request) -> Response:
        """Claim a domain. It counts when its DNS record is there and `verify` has seen it."""
        row = add_domain(
            actor=self.actor, organization_id=self.organization_id, **self.body(NewDomain)
        )
        return self.answer(rendered(row, DomainSerializer), status=201, version=row.version)


class DomainView(OrganizationView):
    """`/admin/sso/domains/{id}`"""

    @extend_schema(operation_id="get_sso_domain", responses={200: DomainSerializer})
    def get(self, request: Request, domain_id: UUID) -> Response:
        """The domain, with the record that proves it."""
        self.query(NoFilter)
        return _shown(self, get_domain(self.actor, domain_id))

    @extend_schema(
        operation_id="update_sso_domain",
        parameters=[IF_MATCH],
        request=DomainChange,
        responses={200: DomainSerializer, **errors(412)},
    )
    def patch(self, request: Request, domain_id: UUID) -> Response:
        """Say by which connection the domain's people sign in."""
        row = assign_domain(
            actor=self.actor,
            domain_id=domain_id,
            check=self.check_version,
            **self.body(DomainChange),
        )
        return _shown(self, row)

    @extend_schema(
        operation_id="remove_sso_domain",
        parameters=[IF_MATCH],
        request=None,
        responses={202: DONE, **errors(412)},
    )
    def delete(self, request: Request, domain_id: UUID) -> Response:
        """Give the domain up; its people sign in by single sign-on no more."""
        remove_domain(actor=self.actor, domain_id=domain_id, check=self.check_version)
        return self.answer(status=202)


class VerifyDomainView(OrganizationView):
    """`/admin/sso/domains/{id}/verify`"""

    # Asking DNS must not wait inside a transaction, and asking again is no harm.
    is_idempotent = False

    @extend_schema(
        operation_id="verify_sso_domain",
        request=None,
        responses={200: DomainSerializer, **errors(409, 412)},
    )
    def post(self, request: Request, domain_id: UUID) -> Response:
        """Look for the DNS record now. 412 says what was found and what is expected."""
        self.body(NoFilter)
        return _shown(self, verify_domain(actor=self.actor, domain_id=domain_id))


def _shown(view: OrganizationView, row: Domain) -> Response:
    return view.answer(rendered(row, DomainSerializer), version=row.version)

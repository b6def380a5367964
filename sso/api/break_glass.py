"""`/admin/sso/break-glass-…`: who may come in without the identity provider, and who did."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.organizations import DONE
from rest.schema import PAGING, errors, page_of
from rest.views import rendered
from sso.api.inputs import NewBreakGlassOwner, NoFilter
from sso.api.outputs import BreakGlassAccessSerializer, BreakGlassOwnerSerializer
from sso.selectors.break_glass import accesses_of, get_access, owners_of
from sso.services.break_glass import approve_access, end_access, name_owner, remove_owner


class BreakGlassOwnersView(OrganizationView):
    """`/admin/sso/break-glass-owners`"""

    @extend_schema(
        operation_id="list_break_glass_owners",
        parameters=[*PAGING],
        responses={200: page_of(BreakGlassOwnerSerializer)},
    )
    def get(self, request: Request) -> Response:
        """The owners who may come in by password and second factor in an emergency."""
        self.query(NoFilter)
        return self.page(owners_of(self.actor, self.organization_id), BreakGlassOwnerSerializer)

    @extend_schema(
        operation_id="name_break_glass_owner",
        request=NewBreakGlassOwner,
        responses={201: BreakGlassOwnerSerializer, **errors(409, 412)},
    )
    def post(self, request: Request) -> Response:
        """Name an owner, who needs a password and a second factor."""
        row = name_owner(
            actor=self.actor, organization_id=self.organization_id, **self.body(NewBreakGlassOwner)
        )
        return self.answer(rendered(row, BreakGlassOwnerSerializer), status=201)


class BreakGlassOwnerView(OrganizationView):
    """`/admin/sso/break-glass-owners/{user id}`"""

    @extend_schema(
        operation_id="remove_break_glass_owner",
        request=None,
        responses={202: DONE, **errors(409, 412)},
    )
    def delete(self, request: Request, owner_id: UUID) -> Response:
        """Name the owner, known by their user id, no longer."""
        remove_owner(actor=self.actor, organization_id=self.organization_id, user_id=owner_id)
        return self.answer(status=202)


class BreakGlassAccessesView(OrganizationView):
    """`/admin/sso/break-glass-accesses`"""

    @extend_schema(
        operation_id="list_break_glass_accesses",
        parameters=[*PAGING],
        responses={200: page_of(BreakGlassAccessSerializer)},
    )
    def get(self, request: Request) -> Response:
        """All accesses that were asked for, exercises too, latest first."""
        self.query(NoFilter)
        rows = accesses_of(self.actor, self.organization_id)
        return self.page(rows, BreakGlassAccessSerializer, order=("-created_at", "id"))


class ApproveAccessView(OrganizationView):
    """`/admin/sso/break-glass-accesses/{id}/approve`"""

    @extend_schema(
        operation_id="approve_break_glass_access",
        request=None,
        responses={200: BreakGlassAccessSerializer, **errors(412)},
    )
    def post(self, request: Request, access_id: UUID) -> Response:
        """Let another owner in, as a second owner. Only people do this."""
        self.body(NoFilter)
        row = approve_access(actor=self.actor, access_id=access_id)
        return self.answer(rendered(row, BreakGlassAccessSerializer))


class EndAccessView(OrganizationView):
    """`/admin/sso/break-glass-accesses/{id}/end`"""

    @extend_schema(
        operation_id="end_break_glass_access",
        request=None,
        responses={200: BreakGlassAccessSerializer},
    )
    def post(self, request: Request, access_id: UUID) -> Response:
        """End an access with its session, or refuse one that waits. Only people do this."""
        self.body(NoFilter)
        end_access(actor=self.actor, access_id=access_id)
        return self.answer(rendered(get_access(self.actor, access_id), BreakGlassAccessSerializer))

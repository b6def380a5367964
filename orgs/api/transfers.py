"""`/admin/ownership-transfers`: handing an organization over, with the other person's consent."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.models import OwnershipTransfer
from orgs.selectors.transfers import get_transfer, list_transfers
from orgs.services.transfers import (
    accept_ownership,
    cancel_offer,
    decline_ownership,
    offer_ownership,
)
from rest.schema import PAGING, errors, page_of
from rest.serializers import Input


class NoFilter(Input):
    """Nothing to narrow the list to."""


class OfferOwnership(Input):
    """The member who is to own the organization."""

    user_id = serializers.UUIDField()


class OwnershipTransferSerializer(serializers.Serializer[OwnershipTransfer]):
    """An offer of ownership; the other person has 72 hours to accept or decline."""

    id = serializers.UUIDField()
    organization_id = serializers.UUIDField()
    offered_by = serializers.UUIDField(source="offered_by_id")
    offered_to = serializers.UUIDField(source="offered_to_id")
    status = serializers.ChoiceField(OwnershipTransfer.Status.choices)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class TransferView(OrganizationView):
    """Offering an organization."""

    @extend_schema(
        operation_id="offer_ownership",
        request=OfferOwnership,
        responses={201: OwnershipTransferSerializer, **errors(400, 403, 404, 409, 412)},
    )
    def post(self, request: Request, organization_id: UUID) -> Response:
        """Ask a member to own the organization in one's place."""
        made = offer_ownership(
            actor=self.actor,
            organization_id=organization_id,
            user_id=self.body(OfferOwnership)["user_id"],
        )
        return self.answer(OwnershipTransferSerializer(made).data, status=201)


class OwnershipTransfersView(OrganizationView):
    """All offers."""

    @extend_schema(
        operation_id="list_ownership_transfers",
        parameters=[*PAGING],
        responses={200: page_of(OwnershipTransferSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """One's own offers, given and received; all of them for who may change roles."""
        self.query(NoFilter)
        rows = list_transfers(self.actor, self.organization_id)
        return self.page(rows, OwnershipTransferSerializer)


class OwnershipTransferView(OrganizationView):
    """One offer."""

    @extend_schema(
        operation_id="get_ownership_transfer",
        responses={200: OwnershipTransferSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, transfer_id: UUID) -> Response:
        """The offer."""
        self.query(NoFilter)
        return self.answer(OwnershipTransferSerializer(get_transfer(self.actor, transfer_id)).data)


class AcceptTransferView(OrganizationView):
    """Saying yes."""

    @extend_schema(
        operation_id="accept_ownership_transfer",
        request=None,
        responses={200: OwnershipTransferSerializer, **errors(400, 403, 404, 409, 412)},
    )
    def post(self, request: Request, transfer_id: UUID) -> Response:
        """Become the owner; who offered it becomes a plain member."""
        offer = accept_ownership(actor=self.actor, transfer_id=transfer_id)
        return self.answer(OwnershipTransferSerializer(offer).data)


class DeclineTransferView(OrganizationView):
    """Saying no."""

    @extend_schema(
        operation_id="decline_ownership_transfer",
        request=None,
        responses={200: OwnershipTransferSerializer, **errors(400, 403, 404, 412)},
    )
    def post(self, request: Request, transfer_id: UUID) -> Response:
        """Leave everything as it is."""
        offer = decline_ownership(actor=self.actor, transfer_id=transfer_id)
        return self.answer(OwnershipTransferSerializer(offer).data)


class CancelTransferView(OrganizationView):
    """Taking an offer back."""

    @extend_schema(
        operation_id="cancel_ownership_transfer",
        request=None,
        responses={200: OwnershipTransferSerializer, **errors(400, 403, 404, 412)},
    )
    def post(self, request: Request, transfer_id: UUID) -> Response:
        """Take the offer back, before it is accepted; any owner can."""
        offer = cancel_offer(actor=self.actor, transfer_id=transfer_id)
        return self.answer(OwnershipTransferSerializer(offer).data)

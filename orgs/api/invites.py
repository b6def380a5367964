"""`/admin/invites`: asking people in by e-mail."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.api.bindings import ROLE_LENGTH
from orgs.api.organizations import DONE, NoQuery
from orgs.models import Invitation, ResourceType
from orgs.selectors.invitations import get_invitation, list_invitations
from orgs.services import invitations as services
from orgs.services.checks import EMAIL_LENGTH
from rest.schema import PAGING, errors, page_of
from rest.serializers import Input


class InviteRole(Input):
    """A role that comes with the invitation. `resource_id` may be left out for the organization."""

    resource_type = serializers.ChoiceField(ResourceType.choices)
    resource_id = serializers.UUIDField(required=False, allow_null=True)
    role = serializers.CharField(
        max_length=ROLE_LENGTH,
        help_text="A predefined role, or the id or the name of one of the organization's own.",
    )


class CreateInvite(Input):
    """Whom to ask in, and as what: at least one role on the organization."""

    email = serializers.EmailField(max_length=EMAIL_LENGTH)
    role_bindings = serializers.ListField(
        child=InviteRole(), min_length=1, max_length=services.MAX_ROLES
    )


class InviteSerializer(serializers.Serializer[Invitation]):
    """An invitation. What comes with it stands in role bindings of the principal type `invite`."""

    id = serializers.UUIDField()
    email = serializers.EmailField()
    status = serializers.ChoiceField(Invitation.Status.choices)
    invited_by = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    processed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class InvitesView(OrganizationView):
    """All invitations."""

    @extend_schema(
        operation_id="list_invites",
        parameters=[*PAGING],
        responses={200: page_of(InviteSerializer), **errors(400, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """The invitations that nobody accepted, pending and expired, oldest first."""
        self.query(NoQuery)
        return self.page(list_invitations(self.actor, self.organization_id), InviteSerializer)

    @extend_schema(
        operation_id="create_invite",
        request=CreateInvite,
        responses={200: InviteSerializer, **errors(400, 403, 404, 409, 429)},
    )
    def post(self, request: Request) -> Response:
        """Send an invitation, good for 7 days."""
        form = self.body(CreateInvite)
        made = services.create_invitation(
            actor=self.actor,
            organization_id=self.organization_id,
            email=form["email"],
            roles=[
                services.InvitedRole(
                    role=each["role"],
                    resource_type=ResourceType(each["resource_type"]),
                    resource_id=each.get("resource_id"),
                )
                for each in form["role_bindings"]
            ],
        )
        return self.answer(InviteSerializer(made).data)


class InviteView(OrganizationView):
    """One invitation."""

    @extend_schema(
        operation_id="get_invite",
        responses={200: InviteSerializer, **errors(400, 403, 404)},
    )
    def get(self, request: Request, invite_id: UUID) -> Response:
        """The invitation, accepted ones too."""
        self.query(NoQuery)
        return self.answer(InviteSerializer(get_invitation(self.actor, invite_id)).data)

    @extend_schema(
        operation_id="delete_invite",
        responses={202: DONE, **errors(400, 403, 404, 409)},
    )
    def delete(self, request: Request, invite_id: UUID) -> Response:
        """Take it back; its link is dead at once. 409 once it is accepted."""
        services.delete_invitation(actor=self.actor, invitation_id=invite_id)
        return self.answer(status=202)


class ResendInviteView(OrganizationView):
    """Sending an invitation again."""

    @extend_schema(
        operation_id="resend_invite",
        request=None,
        responses={200: InviteSerializer, **errors(400, 403, 404, 409, 429)},
    )
    def post(self, request: Request, invite_id: UUID) -> Response:
        """Send a new link, good for 7 more days; the old one is dead."""
        sent = services.resend_invitation(actor=self.actor, invitation_id=invite_id)
        return self.answer(InviteSerializer(sent).data)

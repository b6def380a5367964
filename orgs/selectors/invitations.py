"""Reading invitations, and the links that lead to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.db.models import QuerySet
from django.utils import timezone

from orgs import registry
from orgs.actors import Actor
from orgs.errors import no_such
from orgs.models import Invitation, PrincipalType, ResourceType, RoleBinding
from orgs.permissions import (
    PERMISSION_HELP,
    ROLE_HELP,
    Permission,
    Role,
    authorize,
    permissions_in,
)
from orgs.selectors.bindings import as_binding

SALT = "orgs.invitations"
HEX = 32


class LinkState(StrEnum):
    """What a link out of a mail is good for."""

    OPEN = "open"
    UNKNOWN = "unknown"
    REPLACED = "replaced"
    EXPIRED = "expired"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class InvitedAs:
    """One role that comes with an invitation, in words.

    Attributes:
        where: such as `the project Search`.
        help: what the role lets one do.
    """

    role: str
    where: str
    help: str


def list_invitations(actor: Actor, organization_id: UUID) -> QuerySet[Invitation]:
    """The invitations that nobody accepted yet, pending and expired.

    Raises:
        NotFound, PermissionDenied: the actor may not see the organization's people.
    """
    authorize(
        actor,
        Permission.MEMBER_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
    return Invitation.objects.filter(organization_id=organization_id, processed_at=None)


def get_invitation(actor: Actor, invitation_id: UUID) -> Invitation:
    """The invitation, accepted or not.

    Raises:
        NotFound: no such invitation, or none that the actor may see.
        PermissionDenied: the actor may not see the organization's people.
    """
    what = f"invitation {invitation_id}"
    invitation = Invitation.objects.filter(pk=invitation_id).first()
    if invitation is None:
        raise no_such(what)
    authorize(actor, Permission.MEMBER_READ, organization_id=invitation.organization_id, what=what)
    return invitation


def pending(organization_id: UUID) -> QuerySet[Invitation]:
    """The invitations that can be accepted now: each holds a seat."""
    return Invitation.objects.filter(
        organization_id=organization_id, processed_at=None, expires_at__gt=timezone.now()
    )


def link_token(invitation: Invitation) -> str:
    """What the link in the mail holds: signed, and worthless once the nonce is another."""
    text = f"{invitation.pk.hex}{invitation.nonce.hex}"
    return Signer(salt=SALT, sep=".").sign(text)


def read_token(token: str) -> tuple[UUID, UUID] | None:
    """The id and the nonce in a link; None: not signed by us."""
    try:
        text = Signer(salt=SALT, sep=".").unsign(token)
    except BadSignature:
        return None
    return UUID(text[:HEX]), UUID(text[HEX:])


def state_of(invitation: Invitation | None, nonce: UUID) -> LinkState:
    """What a link with that nonce is good for now."""
    if invitation is None:
        return LinkState.UNKNOWN
    if invitation.processed_at is not None:
        return LinkState.ACCEPTED
    if invitation.nonce != nonce:
        return LinkState.REPLACED
    is_over = invitation.status == Invitation.Status.EXPIRED
    return LinkState.EXPIRED if is_over else LinkState.OPEN


def find_by_nonce(invitation_id: UUID, nonce: UUID) -> tuple[Invitation | None, LinkState]:
    """The invitation with its organization, and what a link with that nonce is good for now."""
    rows = Invitation.objects.select_related("organization")
    invitation = rows.filter(pk=invitation_id).first()
    return invitation, state_of(invitation, nonce)


def bindings_of(invitation: Invitation) -> QuerySet[RoleBinding]:
    """The role bindings that come with it, in the order in which they were given."""
    rows = RoleBinding.objects.filter(
        principal_type=PrincipalType.INVITE, principal_id=invitation.pk
    )
    return rows.select_related("custom_role").order_by("created_at", "id")


def roles_in_words(invitation: Invitation) -> list[InvitedAs]:
    """What the invited person will be able to do, for the page where they decide."""
    return [
        InvitedAs(row.role_name, _where(invitation, row), _help(row))
        for row in bindings_of(invitation)
    ]


def _where(invitation: Invitation, row: RoleBinding) -> str:
    if row.resource_type == ResourceType.ORGANIZATION:
        return f"the organization {invitation.organization.name}"
    found = registry.find_resource(row.resource_type, row.resource_id)
    return f"the {row.resource_type} {found.label if found else row.resource_id}"


def _help(row: RoleBinding) -> str:
    if row.custom_role is None:
        return ROLE_HELP[Role(row.role)]
    held = permissions_in(as_binding(row))
    return ", ".join(PERMISSION_HELP[each] for each in Permission if each in held)

"""People, organizations, the roles that tie them together, and what was refused."""

from __future__ import annotations

from orgs.models.invitations import Invitation
from orgs.models.mail import OutgoingMail
from orgs.models.organizations import Membership, Organization, OwnershipTransfer, SecurityBaseline
from orgs.models.people import User, UserManager
from orgs.models.roles import (
    CustomRole,
    Decision,
    Group,
    GroupMembership,
    PrincipalType,
    ResourceType,
    RoleBinding,
)

__all__ = [
    "CustomRole",
    "Decision",
    "Group",
    "GroupMembership",
    "Invitation",
    "Membership",
    "Organization",
    "OutgoingMail",
    "OwnershipTransfer",
    "PrincipalType",
    "ResourceType",
    "RoleBinding",
    "SecurityBaseline",
    "User",
    "UserManager",
]

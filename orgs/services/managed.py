"""What an identity provider or a directory decides, people leave alone."""

from __future__ import annotations

from uuid import UUID

from orgs.actors import Actor
from orgs.errors import Aborted
from orgs.identity_providers import identity_providers


def check_unmanaged(actor: Actor, organization_id: UUID, user_id: UUID) -> None:
    """Let pass where the organization's owners decide on the person's roles and place.

    Raises:
        Aborted: an identity provider or a directory does, and would undo the change.
    """
    _refuse(actor, identity_providers().manager_of(organization_id, user_id), f"user {user_id}")


def check_unmanaged_group(actor: Actor, group_id: UUID) -> None:
    """The same for a group, and for who is in it."""
    _refuse(actor, identity_providers().manager_of_group(group_id), f"group {group_id}")


def _refuse(actor: Actor, manager: str, what: str) -> None:
    if manager and actor.kind not in {"sso", "scim", "system"}:
        raise Aborted(
            f"{manager} decides on the {what} and would undo this. Change it there, or switch that"
            " off in the organization's single sign-on."
        )

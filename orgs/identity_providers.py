"""What this room has to ask of single sign-on, which lives in a room above and registers itself.

As long as nobody did, there is no single sign-on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RequiredSignIn:
    """The sign-in that an organization demands of the people of one of its domains.

    Attributes:
        url: a page of ours, for a plain GET, that leads to it.
        exempt: the people who may come in another way in an emergency (break-glass owners).
    """

    organization_id: UUID
    organization_name: str
    url: str
    exempt: frozenset[UUID] = frozenset()


class IdentityProviders(Protocol):
    """What the room of single sign-on answers."""

    def required_sign_in(self, email: str) -> RequiredSignIn | None:
        """The sign-in that the address's domain demands; None: any is good.

        Depends on the domain alone, so it tells nobody whether the address has an account.
        """

    def sign_in_page(self, organization_id: UUID) -> str:
        """The page of ours that leads to the organization's sign-in; with `?fresh=1` it has the
        identity provider ask anew who is there.
        """

    def manager_of(self, organization_id: UUID, user_id: UUID) -> str:
        """What decides on the person's roles in the organization, such as `the SCIM directory of
        Okta`; empty: its owners.
        """

    def manager_of_group(self, group_id: UUID) -> str:
        """What decides on the group and who is in it; empty: the organization's owners."""

    def people_with_a_way_in(self, organization_id: UUID) -> frozenset[UUID]:
        """The members who can come in by the organization's own sign-in."""

    def people_for_emergencies(self, organization_id: UUID) -> frozenset[UUID]:
        """The people with a second factor who are named to come in by password where the
        organization's own sign-in is required and not to be had. Whether they own it is not asked.
        """

    def emergency_lasts(self, access_id: UUID, user_id: UUID) -> bool:
        """Whether the person is still let in by that access (`method="break_glass"`)."""

    def sign_in_stands(self, connection_id: UUID, user_id: UUID) -> bool:
        """Whether the connection still signs the person in, whose second factor came later."""

    def page_after_sign_out(self, session_key: str) -> str:
        """The page of ours that goes on to the session's identity provider, to sign out there, too;
        empty: there is none to tell.
        """

    def why_not_invitable(self, organization_id: UUID, email: str) -> str:
        """Why somebody with the address could not come in, in words; empty: they could."""


class _None:
    """No single sign-on."""

    def required_sign_in(self, email: str) -> RequiredSignIn | None:
        return None

    def sign_in_page(self, organization_id: UUID) -> str:
        return ""

    def manager_of(self, organization_id: UUID, user_id: UUID) -> str:
        return ""

    def manager_of_group(self, group_id: UUID) -> str:
        return ""

    def people_with_a_way_in(self, organization_id: UUID) -> frozenset[UUID]:
        return frozenset()

    def people_for_emergencies(self, organization_id: UUID) -> frozenset[UUID]:
        return frozenset()

    def emergency_lasts(self, access_id: UUID, user_id: UUID) -> bool:
        return False

    def sign_in_stands(self, connection_id: UUID, user_id: UUID) -> bool:
        return False

    def page_after_sign_out(self, session_key: str) -> str:
        return ""

    def why_not_invitable(self, organization_id: UUID, email: str) -> str:
        return ""


_current: list[IdentityProviders] = [_None()]


def register_identity_providers(found: IdentityProviders) -> None:
    """Ask this one from now on. Called once, when the app is ready."""
    _current[0] = found


def identity_providers() -> IdentityProviders:
    """Whom to ask."""
    return _current[0]

"""Who is doing something: built once per request or task, handed to every service as `actor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

ActorKind = Literal["user", "api_key", "service_account", "sso", "scim", "system"]


@dataclass(frozen=True, slots=True)
class Binding:
    """One role on an organization, on a project of it (`project_id`), or on an index of that
    (`index_id` too).

    Attributes:
        permissions: what a role of the organization's own includes; None: look the predefined
            `role` up.
        id: of the role binding, where there is one.
        group: the id of the group that the actor holds it through; empty: directly.
    """

    role: str
    organization_id: UUID
    project_id: UUID | None = None
    index_id: UUID | None = None
    permissions: frozenset[str] | None = None
    id: UUID | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """Why an actor's roles in an organization don't count at the moment, and the way out.

    Attributes:
        url: a page of ours where a person can mend it by signing in there; empty: none can.
    """

    organization_id: UUID
    reason: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a key or the platform itself, with the roles in force when the request arrived.

    Attributes:
        organization_id: set for actors that live in one organization (keys, service accounts,
            identity providers, directories); None for people, who may belong to several.
        bars: organizations that don't let the actor in as it came: their security baseline, their
            single sign-on, a place that is suspended.
        is_operator: whether the person looks after the installation. No right in any organization
            comes with it.
        has_mfa: whether the person showed a second factor or a passkey of their own.
        authenticated_at: when the person last proved who they are, by signing in or again since;
            None: never, or no person.
    """

    kind: ActorKind
    id: str
    label: str
    organization_id: UUID | None = None
    bindings: tuple[Binding, ...] = ()
    bars: tuple[Bar, ...] = ()
    is_operator: bool = False
    has_mfa: bool = False
    authenticated_at: datetime | None = None
    ip: str = ""
    request_id: str = ""

    @property
    def is_system(self) -> bool:
        """Whether this is the platform acting on its own account."""
        return self.kind == "system"

    def bar(self, organization_id: UUID) -> Bar | None:
        """What keeps the actor out of the organization, if anything does."""
        return next((bar for bar in self.bars if bar.organization_id == organization_id), None)

    def barred_from(self, organization_id: UUID) -> str:
        """Why the actor's roles in the organization don't count; empty: they do."""
        bar = self.bar(organization_id)
        return bar.reason if bar else ""


def system(label: str) -> Actor:
    """The platform itself, such as `system("provisioning")`."""
    return Actor(kind="system", id="system", label=label)

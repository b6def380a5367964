"""Who is doing something: built once per request or task, handed to every service as `actor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

ActorKind = Literal["user", "api_key", "service_account", "scim", "system"]


@dataclass(frozen=True, slots=True)
class Binding:
    """One role on an organization (`project_id` is None) or on a project of it."""

    role: str
    organization_id: UUID
    project_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a key or the platform itself, with the roles in force when the request arrived.

    `organization_id` is set for actors that live in one organization (keys, service accounts) and
    None for people, who may belong to several.
    """

    kind: ActorKind
    id: str
    label: str
    organization_id: UUID | None = None
    bindings: tuple[Binding, ...] = ()
    ip: str = ""
    request_id: str = ""

    @property
    def is_system(self) -> bool:
        """Whether this is the platform acting on its own account."""
        return self.kind == "system"


def system(label: str) -> Actor:
    """The platform itself, such as `system("provisioning")`."""
    return Actor(kind="system", id="system", label=label)

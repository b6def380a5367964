"""How this room learns of what stands above it: rooms above register how their objects are found.

Role bindings name projects, indexes, API keys and service accounts, which live in rooms that this
one must not import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Found:
    """An object that a role binding can name.

    Attributes:
        project_id: the project that it is or is in; None where it belongs to the organization.
        label: what people call it.
    """

    id: UUID
    organization_id: UUID
    project_id: UUID | None
    label: str


Finder = Callable[[UUID], Found | None]
Lister = Callable[[UUID], list[Found]]
Namer = Callable[[Collection[UUID]], dict[UUID, str]]
_resources: dict[str, Finder] = {}
_principals: dict[str, Finder] = {}
_listers: dict[str, Lister] = {}
_namers: dict[str, Namer] = {}


def register_resource(kind: str, finder: Finder) -> None:
    """Tell how resources of this `ResourceType` are found. Called once, when the app is ready."""
    _resources[kind] = finder


def register_lister(kind: str, lister: Lister) -> None:
    """Tell which resources of this `ResourceType` an organization has. Called once, when the app is
    ready.
    """
    _listers[kind] = lister


def register_namer(kind: str, namer: Namer) -> None:
    """Tell what resources of this `ResourceType` are called. Called once, when the app is ready."""
    _namers[kind] = namer


def register_principal(kind: str, finder: Finder) -> None:
    """Tell how principals of this `PrincipalType` are found. Called once, when the app is ready."""
    _principals[kind] = finder


def find_resource(kind: str, pk: UUID) -> Found | None:
    """The resource, or None where there is none of that id."""
    return _resources[kind](pk)


def list_resources(kind: str, organization_id: UUID) -> list[Found]:
    """The organization's resources of the kind, by what people call them. One query."""
    return _listers[kind](organization_id)


def names_of_resources(kind: str, pks: Collection[UUID]) -> dict[UUID, str]:
    """What people call the resources of the kind, those that are gone left out. One query."""
    return _namers[kind](pks)


def find_principal(kind: str, pk: UUID) -> Found | None:
    """The principal, or None where there is none of that id. People are found by membership."""
    return _principals[kind](pk)
